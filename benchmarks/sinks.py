"""Recorders that the benchmarks feed with the same rows and frames: waldo's and others.

Each sink records with the default settings of its library, and `stored_frames.stored` reads the frames back. Names:
`waldo`, `waldo:23` (crf), `lerobot`, `lerobot-stream`, `mcap:95` (JPEG quality), `hdf5-jpeg:95`, `hdf5-raw`, `none`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from workload import HEAT, QUANTITIES, Image, Workload

from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.schema import feature_key

os.environ["HF_HUB_OFFLINE"] = "1"

TASK = "lift the red cube"

QUEUE = 200
"""Queue depth of waldo's subscriptions, also used for the other recorders [messages]."""


class Sink(Protocol):
    """A recorder of episodes."""

    depth: int
    """Queue depth of a subscription: messages beyond it replace the oldest."""

    def begin(self) -> None:
        """Start an episode."""
        ...

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Record a row."""
        ...

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Record a frame."""
        ...

    def waiting(self) -> int:
        """Return the number of frames that are not encoded yet, of the slowest camera or of all."""
        ...

    def save(self) -> None:
        """Save the episode."""
        ...

    def finish(self) -> None:
        """End the session."""
        ...


def make(system: str, root: Path, work: Workload) -> Sink:
    """Return the sink with a name such as `waldo:23`; it writes to the folder `root`."""
    name, _, number = system.partition(":")
    if name not in SINKS or not (number.isdigit() or not number):
        raise SystemExit(f"unknown recorder {system!r} (known: {', '.join(SINKS)}, with :crf or :quality)")
    return SINKS[name](root, work, int(number) if number else None)


class Nothing:
    """Discards everything, to measure the cost of feeding."""

    depth = QUEUE

    def __init__(self, root: Path, work: Workload, _: int | None) -> None:
        self.work = work
        self.total = 0

    def begin(self) -> None:
        """Do nothing."""

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Fetch the row."""
        self.total += len(self.work.row(stream, number))

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Fetch the frame."""
        self.total += len(self.work.image(camera, number))

    def waiting(self) -> int:
        """Return 0."""
        return 0

    def save(self) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class Waldo:
    """waldo's episode store."""

    depth = QUEUE

    def __init__(self, root: Path, work: Workload, crf: int | None) -> None:
        """Create the dataset and acquire its lock."""
        self.work = work
        self._streams = work.robot.streams(**({} if crf is None else {"crf": crf}))
        self._open = ExitStack()
        self.dataset = Dataset.open(root) if root.exists() else Dataset.create(root, robot="humanoid")
        self._open.enter_context(self.dataset.lock())
        self._writer: EpisodeWriter | None = None

    @property
    def writer(self) -> EpisodeWriter:
        """The writer of the open episode."""
        if self._writer is None:
            raise RuntimeError("no episode is open")
        return self._writer

    def begin(self) -> None:
        """Start an episode."""
        self._writer = self.dataset.begin(self._streams, {"task": TASK})

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Record a row."""
        values = self.work.row(stream, number)
        self.writer.row(stream, header_ns=stamp_ns, receipt_ns=stamp_ns, sequence=number + 1, values=values)

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Record a frame; the store counts those that it drops."""
        image = self.work.image(camera, number)
        self.writer.frame(camera, header_ns=stamp_ns, receipt_ns=stamp_ns, sequence=number + 1, image=image)

    def waiting(self) -> int:
        """Return the number of frames in the encoders' queues."""
        return self.writer.waiting

    def save(self) -> None:
        """Save the episode."""
        self.writer.save("success")

    def finish(self) -> None:
        """Release the lock."""
        self._open.close()


class LeRobot:
    """LeRobotDataset as used by `lerobot-record`: one row per camera frame, with the latest values.

    Its loop reads the robot once per cycle, so a late cycle loses the frame: a queue depth of one.
    """

    depth = 1

    def __init__(self, root: Path, work: Workload, _: int | None, *, streaming: bool = False) -> None:
        """Create the dataset with the defaults of lerobot-record."""
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        robot = work.robot
        size = (robot.height, robot.width, 3)
        features: dict[str, Any] = {
            key: {"dtype": "float32", "shape": (robot.joints,), "names": list(robot.joint_names)}
            for key in ("observation.state", "action", "observation.velocity", "observation.effort")
        }
        features |= {
            feature_key(camera): {"dtype": "video", "shape": size, "names": ["height", "width", "channels"]}
            for camera in robot.camera_names
        }
        # lerobot-record: four PNG writers per camera, or one streaming encoder per camera.
        writers: dict[str, Any] = (
            {"streaming_encoding": True} if streaming else {"image_writer_threads": 4 * robot.cameras}
        )
        self.dataset = LeRobotDataset.create(
            "local/peer", robot.fps, features, root=root, robot_type="humanoid", **writers
        )
        self.work = work
        self._latest = work.row("joints/state", 0)
        self._last = robot.camera_names[-1]
        self._streaming = streaming

    def begin(self) -> None:
        """Do nothing: the first row starts the episode."""

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Keep the values for the next row; motors and other rates are not supported."""
        if stream == "joints/state":
            self._latest = self.work.row(stream, number)

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Add a row when the frame of the last camera arrives."""
        if camera != self._last:
            return
        row: dict[str, Any] = {
            feature_key(name): self.work.image(name, number) for name in self.work.robot.camera_names
        }
        row |= {"observation.state": self._latest["position"], "action": self._latest["position"], "task": TASK}
        row |= {f"observation.{name}": self._latest[name] for name in ("velocity", "effort")}
        self.dataset.add_frame(row)

    def waiting(self) -> int:
        """Return the length of the PNG writers' queue per camera."""
        writer: Any = self.dataset.writer
        images = getattr(writer, "image_writer", None)
        return 0 if images is None else images.queue.qsize() // self.work.robot.cameras

    def save(self) -> None:
        """Save the episode."""
        self.dataset.save_episode()

    def finish(self) -> None:
        """Write the footers."""
        self.dataset.finalize()


class LeRobotStreaming(LeRobot):
    """LeRobotDataset with its streaming encoder."""

    def __init__(self, root: Path, work: Workload, number: int | None) -> None:
        """Create the dataset."""
        super().__init__(root, work, number, streaming=True)


class Mcap:
    """One MCAP file per episode: sensor_msgs/CompressedImage (JPEG) and JointState in CDR, like rosbag2."""

    depth = QUEUE

    def __init__(self, root: Path, work: Workload, quality: int | None) -> None:
        """Create the folder; the JPEG quality is 95 by default."""
        from rosbags.typesys import Stores, get_typestore

        self._types = get_typestore(Stores.ROS2_JAZZY)
        self.work, self._root, self._quality = work, root, 95 if quality is None else quality
        self._count = 0
        root.mkdir()

    def begin(self) -> None:
        """Open the next file with the defaults of the library: chunks of 1 MiB, zstd."""
        from mcap.writer import Writer

        self._file = (self._root / f"episode_{self._count}.mcap").open("wb")
        self._writer = Writer(self._file)
        self._writer.start(profile="ros2", library="benchmark")
        self._count += 1
        kinds = dict.fromkeys(self.work.robot.camera_names, "sensor_msgs/msg/CompressedImage")
        kinds |= dict.fromkeys(("joints/state", *(f"motors/{name}" for name in HEAT)), "sensor_msgs/msg/JointState")
        schemas = {
            kind: self._writer.register_schema(kind, "ros2msg", self._types.generate_msgdef(kind)[0].encode())
            for kind in set(kinds.values())
        }
        self._channels = {
            topic: self._writer.register_channel(topic, "cdr", schemas[kind]) for topic, kind in kinds.items()
        }

    def _header(self, stamp_ns: int) -> Any:
        time = self._types.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
        return self._types.types["std_msgs/msg/Header"](time, "")

    def _add(self, topic: str, kind: str, message: Any, number: int, stamp_ns: int) -> None:
        data = bytes(self._types.serialize_cdr(message, kind))
        self._writer.add_message(self._channels[topic], stamp_ns, data, stamp_ns, number)

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Record the joints as one JointState, and each motor quantity as another one."""
        kind = "sensor_msgs/msg/JointState"
        state, values = self._types.types[kind], self.work.row(stream, number)
        names, header, none = list(self.work.robot.joint_names), self._header(stamp_ns), np.empty(0)
        if stream == "joints/state":
            columns = [values[name].astype(np.float64) for name in QUANTITIES]
            self._add(stream, kind, state(header, names, *columns), number, stamp_ns)
            return
        for name in HEAT:
            message = state(header, names, values[name].astype(np.float64), none, none)
            self._add(f"motors/{name}", kind, message, number, stamp_ns)

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Encode the frame as JPEG and record it."""
        kind = "sensor_msgs/msg/CompressedImage"
        data = encode_jpeg(self.work.image(camera, number), self._quality)
        message = self._types.types[kind](self._header(stamp_ns), "jpeg", data)
        self._add(camera, kind, message, number, stamp_ns)

    def waiting(self) -> int:
        """Return 0: frames are encoded in the call."""
        return 0

    def save(self) -> None:
        """Write the index."""
        self._writer.finish()
        self._file.close()

    def finish(self) -> None:
        """Do nothing."""


class Hdf5:
    """One HDF5 file per episode: JPEG as variable-length bytes, or raw frames with gzip and one chunk per frame."""

    depth = QUEUE

    def __init__(self, root: Path, work: Workload, quality: int | None, *, raw: bool = False) -> None:
        """Create the folder; the JPEG quality is 95 by default, unless frames are stored `raw`."""
        self.work, self._root, self._quality, self._raw = work, root, 95 if quality is None else quality, raw
        self._count = 0
        root.mkdir()

    def begin(self) -> None:
        """Open the next file, with datasets that grow by one element per row."""
        import h5py

        robot = self.work.robot
        self._file: Any = h5py.File(self._root / f"episode_{self._count}.h5", "w")
        self._count += 1
        for camera in robot.camera_names:
            if self._raw:
                size = (robot.height, robot.width, 3)
                how: Any = {"dtype": "u1", "chunks": (1, *size), "compression": "gzip"}
                self._file.create_dataset(f"{camera}/image", (0, *size), maxshape=(None, *size), **how)
            else:
                kind = h5py.vlen_dtype(np.uint8)
                self._file.create_dataset(f"{camera}/image", (0,), maxshape=(None,), dtype=kind)
        for stream, names in (("joints/state", QUANTITIES), ("motors", HEAT)):
            for name in names:
                shape = (0, robot.joints)
                how = {"maxshape": (None, robot.joints), "dtype": "f4", "chunks": (256, robot.joints)}
                self._file.create_dataset(f"{stream}/{name}", shape, **how)
        for stream in robot.rates:
            self._file.create_dataset(f"{stream}/time", (0,), maxshape=(None,), dtype="i8", chunks=(1024,))

    def _append(self, path: str, value: Any) -> None:
        dataset = self._file[path]
        dataset.resize(len(dataset) + 1, axis=0)
        dataset[-1] = value

    def row(self, stream: str, number: int, stamp_ns: int) -> None:
        """Append a row to each array."""
        for name, value in self.work.row(stream, number).items():
            self._append(f"{stream}/{name}", value)
        self._append(f"{stream}/time", stamp_ns)

    def frame(self, camera: str, number: int, stamp_ns: int) -> None:
        """Append a frame."""
        image = self.work.image(camera, number)
        self._append(f"{camera}/image", image if self._raw else encode_jpeg(image, self._quality))
        self._append(f"{camera}/time", stamp_ns)

    def waiting(self) -> int:
        """Return 0: frames are encoded in the call."""
        return 0

    def save(self) -> None:
        """Close the file."""
        self._file.close()

    def finish(self) -> None:
        """Do nothing."""


class Hdf5Raw(Hdf5):
    """HDF5 with raw frames."""

    def __init__(self, root: Path, work: Workload, number: int | None) -> None:
        """Create the folder."""
        super().__init__(root, work, number, raw=True)


SINKS: dict[str, Any] = {
    "waldo": Waldo,
    "lerobot": LeRobot,
    "lerobot-stream": LeRobotStreaming,
    "mcap": Mcap,
    "hdf5-jpeg": Hdf5,
    "hdf5-raw": Hdf5Raw,
    "none": Nothing,
}
"""Recorders by name."""


def encode_jpeg(image: Image, quality: int) -> Image:
    """Return an RGB image as JPEG (4:2:0), encoded by libjpeg-turbo."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], np.uint8)
