"""`waldo record` records episodes from a running robot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from waldo import console
from waldo.datasets.streams import CRF
from waldo.errors import InvalidValueError

if TYPE_CHECKING:
    from waldo.collect.recorder.uploader import Uploader
    from waldo.datasets.dataset import Dataset

UPLOAD_TIMEOUT_S = 600.0
"""Timeout of the last uploads when a recording ends [s]; Ctrl-C ends it earlier, and nothing is lost."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record a robot into a dataset, every stream at its own rate. Start and save from the teleoperation device."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset; created if it does not exist."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; by default its name."""
    operator: str = ""
    """Name of the operator; stored in each episode."""
    task: str = ""
    """Instruction of the episodes, unless the robot publishes a task."""
    camera: tuple[str, ...] = ()
    """Cameras outside the robot's namespace as NAME=/TOPIC: front=/camera/color/image_raw, depth/front=/depth/image."""
    joint_map: tuple[str, ...] = ()
    """Joints that the robot publishes under other names as PUBLISHED=JOINT: j1=shoulder_pan; 0=... if without names."""
    video: Literal["h264", "lossless", "jpeg"] = "h264"
    """Codec of the cameras: h264 (small), lossless (exact RGB, many times as large), jpeg (as the camera encodes)."""
    crf: int = CRF
    """Quality of h264, 0 to 51: lower is better and larger."""
    encoder: str = "auto"
    """Encoder of h264: auto (a GPU if there is one), libx264, h264_nvenc or h264_vaapi."""
    upload: str = ""
    """Object store to which each saved episode is also pushed, such as s3://bucket/dataset."""
    lockstep: bool = False
    """Simulated time: the simulation waits until everything has been received."""

    def run(self) -> int:
        """Record until SIGINT or SIGTERM."""
        from waldo import __version__
        from waldo.cli.support.notices import show_notices
        from waldo.collect.notice import Notice
        from waldo.collect.recorder.joint_values import parse_joint_map
        from waldo.collect.recorder.node import RecorderNode
        from waldo.collect.recorder.recorder import Recorder, RecorderConfig
        from waldo.collect.recorder.task import parse_task
        from waldo.collect.recorder.topics import parse_cameras
        from waldo.datasets.dataset import Dataset
        from waldo.process import until_signaled
        from waldo.robots.description import load_robot
        from waldo.robots.diagnostics import WARN
        from waldo.ros import join_graph

        done = until_signaled()
        robot = load_robot(self.robot)
        attributes = {"robot": robot.name, "operator": self.operator, "software": f"waldo {__version__}"}
        config = RecorderConfig(codec=self.video, crf=self.crf, encoder=self.encoder, lockstep=self.lockstep)
        cameras = parse_cameras(self.camera)
        joint_map = parse_joint_map(self.joint_map, robot.joint_names)
        exists = (self.dataset / "dataset.json").exists()
        dataset = Dataset.open(self.dataset) if exists else Dataset.create(self.dataset, robot=robot.name)
        show = show_notices("recorder: ")
        line = console.StatusLine()

        def warn(text: str) -> None:
            show(Notice(level=WARN, text=text))

        with dataset.lock():
            for recovered in dataset.recover():
                warn(f"recovered after an interruption: {recovered}")
            uploader = _uploader(dataset, self.upload, warn)
            try:
                with join_graph("recorder", self.namespace or robot.name) as graph:
                    recorder = Recorder(dataset, robot, attributes, config)
                    recorder.task = parse_task(self.task) if self.task else {}
                    RecorderNode(
                        graph,
                        recorder,
                        cameras,
                        joint_map=joint_map,
                        on_notice=show,
                        on_status=lambda status: line.show(str(status)),
                    ).run(done)
            finally:
                line.close()
            if uploader is not None:
                dataset.wait()
                uploader.close(UPLOAD_TIMEOUT_S)
        return 0


def _uploader(dataset: Dataset, address: str, notify: Callable[[str], None]) -> Uploader | None:
    """Return the uploader of saved episodes; None without an address."""
    from waldo.datasets.storage.store_path import ObjectPath, open_path

    if not address:
        return None
    target = open_path(address)
    if not isinstance(target, ObjectPath):
        raise InvalidValueError("--upload", address, "the address of an object store, such as s3://bucket/dataset")
    from waldo.collect.recorder.uploader import Uploader

    return Uploader(dataset, target, notify)
