"""`waldo record` records episodes from a running robot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from waldo import console
from waldo.datasets.streams import CRF
from waldo.errors import ConflictingOptionsError, InvalidValueError, count

if TYPE_CHECKING:
    from waldo.collect.console.view import ConsoleView
    from waldo.collect.recorder.uploader import Uploader
    from waldo.datasets.dataset import Dataset
    from waldo.robots.description import Robot

EXTRA_KEYS = {"t": "next_task", "m": "mark"}
"""Keys of the recorder beside those of the devices -> their requests."""
EXTRA_HELP = "t: next task   m: next subtask"
"""These keys, for the operator."""

UPLOAD_TIMEOUT_S = 600.0
"""Timeout of the last uploads when a recording ends [s]; Ctrl-C ends it earlier, and nothing is lost."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record a robot into a dataset, every stream at its own rate. Start and save with keys here or in `waldo teleop`.

    Any machine on the network can publish what is recorded: docs/guide/securing-dds.md explains how to restrict that.
    """

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset; created if it does not exist."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; by default its name."""
    operator: str = ""
    """Name of the operator; stored in each episode."""
    task: tuple[str, ...] = ()
    """Instructions of the episodes, unless the robot publishes a task; the key t selects the next one."""
    episodes: int = 0
    """Number of episodes to record, for the display; 0 for no goal."""
    camera: tuple[str, ...] = ()
    """Cameras outside the robot's namespace as NAME=/TOPIC: front=/camera/color/image_raw, depth/front=/depth/image."""
    without: tuple[str, ...] = ()
    """Cameras that are not recorded: front, depth/front."""
    stamps: tuple[str, ...] = ()
    """Streams whose publishers stamp with a clock of their own, to be stamped at receipt: cameras/front=receipt."""
    joint_map: tuple[str, ...] = ()
    """Joints that the robot publishes under other names as PUBLISHED=JOINT: j1=shoulder_pan; 0=... if without names."""
    video: Literal["h264", "lossless", "jpeg"] = "h264"
    """Codec of the cameras: h264 (small), lossless (exact RGB, many times as large), jpeg (as the camera encodes)."""
    crf: int = CRF
    """Quality of h264, 0 to 51: lower is better and larger."""
    encoder: str = "auto"
    """Encoder of h264: auto (a GPU if there is one), libx264, h264_nvenc or h264_vaapi."""
    rules: Path | None = None
    """YAML file with the limits of a good episode, and with what blocks its save, as for `waldo check`; by default
    rules.yaml in the dataset's folder."""
    plan: Path | None = None
    """YAML file with the plan of a session: tasks, instructions, scenes, operators and numbers of episodes."""
    upload: str = ""
    """Object store to which each saved episode is also pushed, such as s3://bucket/dataset."""
    lockstep: bool = False
    """Simulated time: the simulation waits until everything has been received."""

    def run(self) -> int:
        """Record until SIGINT, SIGTERM, or escape."""
        return self._record(lambda robot: contextlib.nullcontext())

    def _record(
        self,
        open_console: Callable[[Robot], AbstractContextManager[ConsoleView | None]],
        on_key: Callable[[str], bool] = lambda key: False,
    ) -> int:
        """Record; the operator sees it in the terminal and, if there is one, in the console that is opened.

        Args:
            open_console: Opens the console.
            on_key: Called for a key that calls no service; returns whether the key has a function.
        """
        from waldo import __version__
        from waldo.cli.support.config import load_file
        from waldo.cli.support.rules import load_rules
        from waldo.cli.support.terminal_view import TerminalView
        from waldo.collect.recorder.joint_values import parse_joint_map
        from waldo.collect.recorder.node import NodeConfig, RecorderNode
        from waldo.collect.recorder.operator_view import OperatorViews
        from waldo.collect.recorder.recorder import Recorder, RecorderConfig
        from waldo.collect.recorder.task import parse_task
        from waldo.collect.recorder.topics import parse_cameras, parse_stamps, parse_without
        from waldo.collect.sessions.plan import SessionPlan
        from waldo.collect.sessions.session import RecordingSession
        from waldo.datasets.dataset import Dataset
        from waldo.process import limit_arenas, until_signaled
        from waldo.robots.description import load_robot
        from waldo.ros import join_graph

        if self.plan is not None and self.task:
            raise ConflictingOptionsError("--task", "--plan", "list the instructions in the plan")
        limit_arenas()
        done = until_signaled()
        robot = load_robot(self.robot)
        attributes = {"robot": robot.name, "operator": self.operator, "software": f"waldo {__version__}"}
        cameras = parse_cameras(self.camera)
        node_config = NodeConfig(
            joint_map=parse_joint_map(self.joint_map, robot.joint_names),
            without=parse_without(self.without),
            receipt_stamps=parse_stamps(self.stamps),
            tasks=[parse_task(task) for task in self.task],
        )
        plan = None if self.plan is None else load_file(SessionPlan, self.plan)
        known = Dataset.open(self.dataset) if (self.dataset / "dataset.json").exists() else None
        if known is not None:
            known.check_robot(robot.name)
        config = RecorderConfig(
            codec=self.video,
            crf=self.crf,
            encoder=self.encoder,
            lockstep=self.lockstep,
            rules=load_rules(self.rules, known),
        )
        # After the options have been checked: a wrong one leaves no folder.
        dataset = Dataset.create(self.dataset, robot=robot.name) if known is None else known
        terminal = TerminalView(EXTRA_KEYS, EXTRA_HELP, plan.episodes if plan else self.episodes, on_key)
        with dataset.lock(), open_console(robot) as page:
            for recovered in dataset.recover():
                terminal.warn(f"recovered after an interruption: {recovered}")
            uploader = _uploader(dataset, self.upload, terminal.warn)
            try:
                with join_graph("recorder", self.namespace or robot.name) as graph:
                    recorder = Recorder(dataset, robot, attributes, config)
                    view = OperatorViews(terminal, *([page] if page else []))
                    if plan is not None:
                        session = RecordingSession(plan, recorder, view.notice)
                        view = OperatorViews(view, session)
                        if page is not None:
                            page.session = session.state
                    node = RecorderNode(graph, recorder, cameras, config=node_config, view=view)
                    terminal.open()
                    node.run(lambda: done() or terminal.finished)
            finally:
                terminal.close()
            dataset.wait(_report_pending)
            if uploader is not None:
                uploader.close(UPLOAD_TIMEOUT_S)
        return 0


def _report_pending(episodes: int) -> None:
    """Report how far finalization is behind."""
    console.err().print(
        f"finalizing: {count(episodes, 'saved episode')} remaining; "
        "press Ctrl-C to leave them to the next start, which recovers them"
    )


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
