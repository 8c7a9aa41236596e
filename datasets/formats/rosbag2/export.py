"""Episode store -> ROS 2 bags, an episode a bag, standard messages on waldo's topics. Without ROS.

The time of a message in the bag is the recorder's stamp, the one in its header the publisher's. What bags have no
place for stands as JSON in their custom data, which other readers pass over.
"""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats import rows_out
from waldo.datasets.formats.cameras_in import MEASURED, psnr_db
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2 import metadata
from waldo.datasets.formats.rosbag2.messages import MOTOR_KEYS, text_of
from waldo.datasets.formats.rosbag2.metadata import Place
from waldo.datasets.formats.rosbag2.topics import BagConfig, is_motors, kind_of, places_of
from waldo.datasets.jobs import Jobs, run
from waldo.datasets.lerobot.export import ExportResult, camera_streams
from waldo.datasets.store_path import StorePath
from waldo.datasets.streams import DepthStream, ScalarStream, VideoStream
from waldo.datasets.video import h264, images
from waldo.errors import FileError, WaldoError
from waldo.robots.diagnostics import level_of

VERSION = 8
"""Version of the bags' metadata: the newest that keeps qualities of service as text, as ROS 2 has since Foxy."""

AT_ONCE = 20
"""Frames that are decoded at a time."""


class Message(NamedTuple):
    """One message on its way into a bag."""

    log_ns: int
    """The time that it has in the bag."""
    order: int
    """Which generator it came from: messages of one instant keep an order."""
    topic: str
    kind: str
    message: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one episode."""

    why: str = ""
    """Why it could not be exported; empty if it was."""
    rows: int = 0
    copied: int = 0
    encoded: int = 0
    psnr_db: Mapping[str, float] = field(default_factory=dict)
    """Camera that became JPEGs -> what that cost, over a few frames [dB]."""


def export(
    dataset: Dataset,
    out: Path,
    config: BagConfig,
    advance: Callable[[int, int], None] = lambda done, total: None,
    jobs: Jobs | None = None,
) -> ExportResult:
    """Export a dataset to bags in the folder `out`; `advance` hears how many are done and how many there are."""
    rows_out.need_absent(out)
    chosen = rows_out.choose(dataset, config.selection)
    camera_streams(dataset.episode(chosen[0]), config.cameras)  # an unknown name is no episode's fault
    done: dict[int, Written] = {}
    with rows_out.building(out) as place:
        place.mkdir()
        for index, written in run(partial(_write, dataset.path, place, config), chosen, jobs or Jobs()):
            done[index] = written
            advance(len(done), len(chosen))
        if all(one.why for one in done.values()):
            why = "; ".join(f"episode {index}: {one.why}" for index, one in done.items())
            raise FileError(dataset.path, f"has no episode that could be exported ({why})", "run waldo check")
    whole = [one for one in done.values() if not one.why]
    return ExportResult(
        path=out,
        episodes=len(whole),
        rows=sum(one.rows for one in whole),
        frames_copied=sum(one.copied for one in whole),
        frames_encoded=sum(one.encoded for one in whole),
        frame_error_ms={},
        skipped=len(dataset.indices) - len(chosen),
        left_out={index: one.why for index, one in done.items() if one.why},
        notes=_notes(dataset.episode(chosen[0]), config, whole),
    )


def _write(dataset: StorePath, folder: Path, config: BagConfig, index: int) -> Written:
    """Write the bag of an episode, in whichever process; say why where it cannot be written."""
    episode = Dataset.open(dataset).episode(index)
    try:
        return write_bag(episode, folder / f"episode_{index:06d}", config)
    except WaldoError as error:
        if isinstance(error, FileError):
            raise
        shutil.rmtree(folder / f"episode_{index:06d}", ignore_errors=True)
        return Written(why=str(error))


def write_bag(episode: Episode, path: Path, config: BagConfig) -> Written:
    """Write an episode as a bag."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    cameras = camera_streams(episode, config.cameras)
    places = places_of(episode, cameras, config)
    counts: Counter[str] = Counter()
    losses: dict[str, list[float]] = {}
    generators = [_task(episode)]
    for order, name in enumerate(places, 1):
        stream = episode.streams[name]
        if isinstance(stream, ScalarStream):
            generators.append(_rows(episode, stream, places[name], order))
        elif isinstance(stream, DepthStream):
            generators.append(_depth(episode, stream, places[name][""][0], order))
        else:
            generators.append(_frames(episode, stream, places[name][""][0], order, config, losses))
    plugin = StoragePlugin.MCAP if config.storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=VERSION, storage_plugin=plugin) as bag:
        bag.set_custom_data(metadata.KEY, metadata.to_text(episode, places))
        connections = _connections(bag, episode, places, config)
        for one in heapq.merge(*generators):
            data = types.typestore().serialize_cdr(one.message, one.kind)
            bag.write(connections[one.topic], one.log_ns, data)
            counts[one.kind] += 1
    rows = sum(episode.count(name) for name in places if isinstance(episode.streams[name], ScalarStream))
    frames = {name: episode.count(name) for name in places if not isinstance(episode.streams[name], ScalarStream)}
    anew = sum(frames[name] for name in frames if _is_encoded(episode, name, config))
    return Written(
        rows=rows,
        copied=sum(frames.values()) - anew,
        encoded=anew,
        psnr_db={name: float(np.mean(values)) for name, values in losses.items() if values},
    )


def _is_encoded(episode: Episode, name: str, config: BagConfig) -> bool:
    """Whether a camera's pictures become JPEGs that were none."""
    stream = episode.streams[name]
    return isinstance(stream, VideoStream) and stream.codec != "jpeg" and config.images == "jpeg"


def _connections(
    bag: Any, episode: Episode, places: Mapping[str, Mapping[str, Place]], config: BagConfig
) -> dict[str, Any]:
    """Declare the topics."""
    found = {
        "/task": bag.add_connection(
            "/task", types.WORDS, typestore=types.typestore(), offered_qos_profiles=[types.latched()]
        )
    }
    for name, fields in places.items():
        kind = kind_of(episode.streams[name], config)
        for topic, _ in fields.values():
            if topic not in found:
                found[topic] = bag.add_connection(topic, kind, typestore=types.typestore())
    return found


# the messages of each stream


def _task(episode: Episode) -> Iterator[Message]:
    stamps = [int(episode.time_ns(name, "receipt")[0]) for name in episode.streams if episode.count(name)]
    yield Message(min(stamps, default=0), 0, "/task", types.WORDS, types.new(types.WORDS, data=episode.task))


def _rows(episode: Episode, stream: ScalarStream, places: Mapping[str, Place], order: int) -> Iterator[Message]:
    """Yield the messages of a stream of numbers: one a row, or one a row and field."""
    header, receipt = (episode.time_ns(stream.name, clock).tolist() for clock in ("header", "receipt"))
    values = {field.name: episode.values(stream.name, field.name) for field in stream.fields}
    topics = {topic: None for topic, _ in places.values()}
    for row, (header_ns, receipt_ns) in enumerate(zip(header, receipt, strict=True)):
        for topic in topics:
            here = {at: values[key][row] for key, (where, at) in places.items() if where == topic}
            labels = next(f.labels for f in stream.fields if places[f.name][0] == topic)
            if is_motors(stream):
                kind, message = types.MOTORS, motors_message(episode.robot, labels, here, header_ns)
            else:
                kind, message = types.JOINTS, joints_message(labels, here, header_ns)
            yield Message(receipt_ns, order, topic, kind, message)


def joints_message(labels: Sequence[str], values: Mapping[str, NDArray[Any]], stamp_ns: int) -> Any:
    """Return a JointState."""
    nothing = np.zeros(0)
    arrays = {name: values.get(name, nothing).astype(np.float64) for name in ("position", "velocity", "effort")}
    return types.new(types.JOINTS, header=types.header(stamp_ns), name=list(labels), **arrays)


def motors_message(robot: str, labels: Sequence[str], values: Mapping[str, NDArray[Any]], stamp_ns: int) -> Any:
    """Return a DiagnosticArray with a status for each motor and the keys of waldo's robot node; numbers are exact."""
    statuses: list[Any] = []
    for place, joint in enumerate(labels):
        winding_c = float(values["winding"][place]) if "winding" in values else float("nan")
        level, text = level_of(winding_c, float("nan"))
        pairs = [
            types.new("diagnostic_msgs/msg/KeyValue", key=MOTOR_KEYS[name], value=text_of(column[place]))
            for name, column in values.items()
        ]
        statuses.append(
            types.new(
                "diagnostic_msgs/msg/DiagnosticStatus",
                level=level,
                name=f"{robot}: {joint}",
                message=text,
                hardware_id="",
                values=pairs,
            )
        )
    return types.new(types.MOTORS, header=types.header(stamp_ns), status=statuses)


def _depth(episode: Episode, stream: DepthStream, topic: str, order: int) -> Iterator[Message]:
    """Yield the messages of a stream of depth."""
    header, receipt = (episode.time_ns(stream.name, clock).tolist() for clock in ("header", "receipt"))
    for number, (header_ns, receipt_ns) in enumerate(zip(header, receipt, strict=True)):
        pixels = np.ascontiguousarray(episode.frames(stream.name, [number])[0], "<u2")
        message = types.new(
            types.IMAGE,
            header=types.header(header_ns),
            height=stream.height,
            width=stream.width,
            encoding="16UC1",
            is_bigendian=0,
            step=2 * stream.width,
            data=pixels.view(np.uint8).reshape(-1),
        )
        yield Message(receipt_ns, order, topic, types.IMAGE, message)


def _frames(
    episode: Episode,
    stream: VideoStream,
    topic: str,
    order: int,
    config: BagConfig,
    losses: dict[str, list[float]],
) -> Iterator[Message]:
    """Yield the messages of a camera."""
    header, receipt = (episode.time_ns(stream.name, clock).tolist() for clock in ("header", "receipt"))
    kind = kind_of(stream, config)
    if not header:
        return
    parts = _bytes(episode, stream, config, losses)
    for header_ns, receipt_ns, data in zip(header, receipt, parts, strict=True):
        array = np.frombuffer(data, np.uint8)
        if kind == types.VIDEO:
            stamp = types.stamp(header_ns)
            message = types.new(kind, timestamp=stamp, frame_id="", data=array, format="h264")
        else:
            message = types.new(kind, header=types.header(header_ns), format="jpeg", data=array)
        yield Message(receipt_ns, order, topic, kind, message)


def _bytes(episode: Episode, stream: VideoStream, config: BagConfig, losses: dict[str, list[float]]) -> Iterator[bytes]:
    """Yield a camera's pictures as messages hold them; what JPEG costs is measured on a few."""
    shard, count = episode.shard(stream.name), episode.count(stream.name)
    if stream.codec == "jpeg" or config.images == "h264":
        for group in range(len(shard.index)):
            chunk = shard.chunk(group)
            yield from [chunk] if stream.codec == "jpeg" else (p.data for p in h264.split_samples(chunk))
        return
    measured = {round(at) for at in np.linspace(0, count - 1, MEASURED)}
    step = max(1, AT_ONCE // stream.gop) * stream.gop
    for start in range(0, count, step):
        for number, rgb in enumerate(shard.read(range(start, min(start + step, count))), start):
            data = images.encode_jpeg(rgb)
            if number in measured:
                losses.setdefault(stream.name, []).append(psnr_db(rgb, images.decode_jpeg(data)))
            yield data


def _notes(episode: Episode, config: BagConfig, whole: Sequence[Written]) -> list[str]:
    """Say what the target does not hold."""
    notes = ["Bags have no place for sequence numbers and publication stamps; losses and repeats are not kept."]
    for name in {name: None for one in whole for name in one.psnr_db}:
        values = [one.psnr_db[name] for one in whole if name in one.psnr_db]
        notes.append(
            f"{name} was encoded anew as JPEG of quality {images.JPEG_QUALITY}: {np.mean(values):.1f} dB PSNR on "
            "average over a few frames; --images h264 keeps the packets."
        )
    lossless = [name for name, camera in episode.cameras.items() if camera.codec == "lossless"]
    if lossless and config.images == "h264":
        notes.append(f"{', '.join(lossless)}: lossless H.264 of RGB, which few players but waldo read.")
    odd = [name for name, s in episode.streams.items() if isinstance(s, DepthStream) and s.unit_m != 0.001]
    if odd:
        notes.append(f"{', '.join(odd)}: ROS takes 16UC1 for millimetres; waldo's import reads the true unit.")
    return notes
