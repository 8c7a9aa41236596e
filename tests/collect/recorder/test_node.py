"""The recorder node over real DDS: image types, stamps, reliability, statuses, and a camera that disconnects."""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.damaged_files import huge_jpeg
from waldo import ros
from waldo.collect.notice import Notice
from waldo.collect.recorder.node import RecorderNode
from waldo.collect.recorder.operator_view import OperatorView
from waldo.collect.recorder.recorder import Recorder, RecorderConfig, RecorderError, State
from waldo.collect.recorder.state_rate import MIN_RATE_SAMPLES
from waldo.collect.recorder.task import MAX_INSTRUCTION
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.recording.journal import JournalError
from waldo.errors import WaldoError
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, OK, RATE_KEY, WARN, ComponentStatus, component_message, to_message
from waldo.robots.motor_readings import MotorReadings

pytestmark = pytest.mark.usefixtures("ros_domain")

DEPTH_MM = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


@pytest.fixture
def toy_robot(toy_robot: Robot) -> Robot:
    """The robot with wide limits: its positions are the numbers of the ticks."""
    joints = tuple(replace(joint, lower=-1e6, upper=1e6) for joint in toy_robot.joints)
    return replace(toy_robot, joints=joints)


class Shown(OperatorView):
    """Keeps what is shown."""

    def __init__(self, notices: list[Notice]) -> None:
        self._notices = notices
        self.images: list[str] = []

    def notice(self, notice: Notice) -> None:
        self._notices.append(notice)

    def image(self, stream: str, image: Any, stamp_ns: int) -> None:
        self.images.append(stream)


@contextmanager
def recording(
    dataset: Dataset, robot: Robot, config: RecorderConfig | None = None, view: OperatorView | None = None
) -> Iterator[RecorderNode]:
    """Run a recorder node on a thread until the block ends."""
    ended, ready = threading.Event(), threading.Event()
    nodes: list[RecorderNode] = []

    def work() -> None:
        with dataset.lock(), ros.join_graph("recorder", "toy") as graph:
            recorder = Recorder(dataset, robot, {}, config)
            nodes.append(RecorderNode(graph, recorder, {"cameras/side": "/elsewhere/image"}, view=view))
            ready.set()
            nodes[0].run(ended.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield nodes[0]
    finally:
        ended.set()
        thread.join(120)
        assert not thread.is_alive()


HALVES = np.repeat(np.array([[0] * 32 + [40] * 32], np.uint8)[..., None].repeat(3, 2), 48, axis=0)
"""An image (48, 64, 3) whose halves differ: one without contrast would be refused."""


class FakeRobot:
    """Publishes the topics of a robot, one tick at a time."""

    def __init__(self, graph: ros.Graph, *, best_effort: bool = False) -> None:
        from rclpy.qos import ReliabilityPolicy
        from sensor_msgs.msg import CompressedImage, Image, JointState

        qos = ros.stream_qos()
        if best_effort:
            qos.reliability = ReliabilityPolicy.BEST_EFFORT

        self.texture = HALVES
        """Contrast of the camera's images (48, 64, 3)."""
        self._graph = graph
        self._kinds = {
            "joint_states": JointState,
            "cameras/front/image_raw/compressed": CompressedImage,
            "cameras/front/depth/image_raw/compressedDepth": CompressedImage,
            "/elsewhere/image": Image,
        }
        self._publishers = {name: graph.node.create_publisher(kind, name, qos) for name, kind in self._kinds.items()}

    def wait_for_the_recorder(self) -> None:
        assert self._graph.spin_until(lambda: all(p.get_subscription_count() for p in self._publishers.values()), 120)

    def publish(self, tick: int, *, camera: bool = True) -> None:
        """Publish the state and, while the camera is connected, the images of a tick."""
        state = self._kinds["joint_states"](name=["b", "a"], position=[-float(tick), float(tick)])
        self._send("joint_states", state)
        if not camera:
            return
        jpeg = cv2.imencode(".jpg", self.texture + np.uint8(8 * tick % 200))[1].tobytes()
        self._send("cameras/front/image_raw/compressed", self._compressed("jpeg", jpeg))
        png = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", DEPTH_MM + tick)[1].tobytes()
        depth = self._compressed("16UC1; compressedDepth png", png)
        self._send("cameras/front/depth/image_raw/compressedDepth", depth)
        raw = self._kinds["/elsewhere/image"](width=64, height=48, step=192, encoding="bgr8")
        raw.data = ((HALVES + np.uint8(180 + tick % 2)) * np.array([0, 0, 1], np.uint8)).tobytes()
        self._send("/elsewhere/image", raw)

    def _compressed(self, name: str, data: bytes) -> Any:
        return self._kinds["cameras/front/image_raw/compressed"](format=name, data=data)

    def _send(self, topic: str, message: Any) -> None:
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        self._publishers[topic].publish(message)


def received(node: RecorderNode, streams: int) -> bool:
    """Return whether the streams, and enough states to measure their rate, have been received."""
    return len(node.recorder._received) == streams and len(node.recorder._rate) >= MIN_RATE_SAMPLES


def until(condition: Callable[[], object], act: Callable[[], None]) -> None:
    """Act thirty times a second until a condition holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        act()
        time.sleep(1 / 30)


def test_a_session_is_recorded_completely(tmp_path: Path, toy_robot: Robot) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    statuses: list[Any] = []
    with recording(dataset, toy_robot) as node, ros.join_graph("robot", "toy") as graph:
        graph.node.create_subscription(DiagnosticArray, "/diagnostics", statuses.append, ros.stream_qos(10))
        robot = FakeRobot(graph)
        robot.wait_for_the_recorder()
        clients = {name: graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save")}
        ticks = iter(range(100_000))
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        started = graph.call(clients["start"], Trigger.Request(), 120)
        assert started.success, started.message
        first = next(ticks)
        robot.publish(first)
        until(lambda: node.recorder.seconds > 0.5, lambda: robot.publish(next(ticks)))
        until(
            lambda: len(node._monitor.status(time.monotonic_ns()).stopped) == 3,
            lambda: robot.publish(next(ticks), camera=False),
        )
        robot.publish(next(ticks))
        last = next(ticks)
        robot.publish(last)
        expected = last - first + 1
        assert graph.spin_until(lambda: node.recorder._writer.counts["joints/state"] == expected, 120)
        assert graph.spin_until(lambda: node.recorder._writer.counts["depth/front"] > 2, 120)
        saved = graph.call(clients["save"], Trigger.Request(), 120)
        assert saved.success, saved.message
        assert graph.spin_until(lambda: bool(statuses), 120)
    episode = dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("success", "operator")
    # By name, in the order of the robot's joints.
    position = episode.values("joints/state", "position")
    np.testing.assert_array_equal(position[:, 0], np.arange(first, last + 1))
    np.testing.assert_array_equal(position[:, 1], -position[:, 0])
    for name in episode.streams:
        header, published, receipt = (episode.time_ns(name, clock) for clock in ("header", "publish", "receipt"))
        assert np.all(header <= published)
        assert np.all(published <= receipt)
        assert episode.lost(name) == 0
    depth = episode.frames("depth/front", [0])[0].astype(int) - DEPTH_MM
    assert depth.min() == depth.max()
    assert first <= depth[0, 0] <= first + 1
    side = episode.frames("cameras/side", [0])[0].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(side, (200, 0, 0), atol=4)
    kinds = [(event["kind"], event["stream"]) for event in episode.events if event["kind"] != "quality"]
    assert sorted(kinds[:3]) == [("stream_lost", s) for s in ("cameras/front", "cameras/side", "depth/front")]
    assert ("stream_back", "cameras/front") in kinds[3:]
    status = next(s for s in statuses[-1].status if s.name == "toy: recorder")
    assert {pair.key for pair in status.values} >= {"state", "lost_messages", "disk_seconds_left", "silent"}


def motors_message(notes: str, stamp_ns: int) -> Any:
    """Return a `motors` message with a fault of the first joint."""
    arrays = {name: np.full(2, np.nan) for name in MotorReadings.__slots__ if name != "notes"}
    arrays |= {"winding_c": np.array([41.0, 30.0]), "limit_c": np.full(2, 70.0)}
    return to_message("toy", ["a", "b"], ["1", "2"], MotorReadings(**arrays, notes=(notes, "")), stamp_ns)


def test_best_effort_publishers_are_recorded_with_the_statuses_of_the_robot(tmp_path: Path, toy_robot: Robot) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import ReliabilityPolicy
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    control = ComponentStatus(component="control", message="following", values={RATE_KEY: "100"})
    lost = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    with recording(dataset, toy_robot, view=Shown(notices)) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph, best_effort=True)
        qos = ros.stream_qos()
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
        create = graph.node.create_publisher
        motors, status = (create(DiagnosticArray, name, qos) for name in ("motors", "status"))
        robot.wait_for_the_recorder()
        assert graph.spin_until(lambda: all(p.get_subscription_count() for p in (motors, status)), 120)
        ticks = iter(range(100_000))
        fault = [""]
        components = [control]

        def publish() -> None:
            robot.publish(next(ticks))
            motors.publish(motors_message(fault[0], time.time_ns()))
            status.publish(component_message("toy", components, time.time_ns()))

        until(lambda: received(node, 5) and node._monitor.control, publish)
        start, save = (graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save"))
        started = graph.call(start, Trigger.Request(), 120)
        assert started.success, started.message
        fault[0] = "overload"
        components.append(lost)
        texts = {"a: winding at 41.0 °C; overload", "camera front: no frame for 3.0 s"}
        until(lambda: {notice.text for notice in notices} >= texts, publish)
        until(
            lambda: min(node.recorder._writer.counts[name] for name in ("joints/state", "cameras/front")) > 5, publish
        )
        assert graph.call(save, Trigger.Request(), 120).success
    assert {notice.text: notice.level for notice in notices if notice.text in texts} == {
        "a: winding at 41.0 °C; overload": WARN,
        "camera front: no frame for 3.0 s": ERROR,
    }
    episode = dataset.episodes[0]
    assert set(episode.streams) >= {"joints/state", "motors", "cameras/front", "cameras/side", "depth/front"}
    # The rate that the robot states, not the one at which it publishes here.
    assert episode.streams["joints/state"].rate_hz == 100.0
    events = {event["text"]: event["level"] for event in episode.events if event["kind"].endswith("_status")}
    assert events == {
        "a: winding at 41.0 °C; overload": "warning",
        "camera front: no frame for 3.0 s": "error",
    }
    confirmations = [notice for notice in notices if notice.confirmation]
    assert [(notice.level, notice.text) for notice in confirmations] == [
        (OK, "start: recording"),
        (OK, "save: episode_000000.zarr saved as success"),
    ]


def test_what_is_not_in_order_is_named_before_an_episode(tmp_path: Path, toy_robot: Robot) -> None:
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    view = Shown([])
    with (
        recording(dataset, toy_robot, view=view) as node,
        ros.join_graph("robot", "toy") as graph,
    ):
        robot = FakeRobot(graph)
        robot.texture = np.zeros_like(HALVES)
        ticks = iter(range(10**6))
        until(lambda: bool(node._monitor.gates()), lambda: robot.publish(next(ticks) % 2))
        assert [gate.name for gate in node._monitor.gates()] == ["camera front"]
        start = graph.node.create_client(Trigger, "recorder/start")
        response = graph.call(start, Trigger.Request(), 120)
        assert response is not None
        assert (response.success, response.message.startswith("cannot start: camera front: ")) == (False, True)
        assert "cameras/front" in view.images


def test_one_bad_message_costs_one_message(tmp_path: Path, toy_robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is published, the episode continues, and each kind of bad message is counted and reported once."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from sensor_msgs.msg import CompressedImage, Image, JointState
    from std_msgs.msg import String
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    with recording(dataset, toy_robot, view=Shown(notices)) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph)
        qos = ros.stream_qos()
        environment = graph.node.create_publisher(JointState, "environment_state", qos)
        motors = graph.node.create_publisher(DiagnosticArray, "motors", qos)
        task = graph.node.create_publisher(String, "task", ros.latched_qos())
        robot.wait_for_the_recorder()
        assert graph.spin_until(lambda: environment.get_subscription_count() and motors.get_subscription_count(), 120)
        ticks = iter(range(100_000))

        def publish() -> None:
            robot.publish(next(ticks))
            environment.publish(JointState(name=["cube.x"], position=[0.1]))
            motors.publish(motors_message("", time.time_ns()))

        until(lambda: received(node, 6), publish)
        start, save = (graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save"))
        assert graph.call(start, Trigger.Request(), 120).success
        writer = node.recorder._writer
        bad = {
            "cameras/front": ("cameras/front/image_raw/compressed", CompressedImage(format="jpeg", data=huge_jpeg())),
            "cameras/side": ("/elsewhere/image", Image(width=1, height=1, step=3, encoding="bgr8", data=bytes(3))),
            "joints/state": ("joint_states", JointState(name=["a", "b"], position=[1.0])),
        }
        for topic, message in bad.values():
            robot._send(topic, message)
        robot._send("/elsewhere/image", Image(width=2**15, height=2**15, step=3 * 2**15, encoding="bgr8"))
        environment.publish(JointState(name=["other"], position=[0.2]))
        broken = DiagnosticStatus(name="toy: a", values=[KeyValue(key="winding_celsius", value="1e400 x")])
        motors.publish(DiagnosticArray(status=[broken, DiagnosticStatus()]))
        for text in ("[" * 100_000, '{"task": "\\ud800"}', "{" * 5000):
            task.publish(String(data=text))
        before = dict(writer.counts)
        until(
            lambda: all(
                writer.counts[name] > before[name] + 5
                for name in writer.counts
                if name != "joints/sent" and name != "joints/command"
            ),
            publish,
        )
        add = node.recorder.named_values

        def fail_once(*_: Any, **__: Any) -> None:
            monkeypatch.setattr(node.recorder, "named_values", add)
            raise MemoryError

        monkeypatch.setattr(node.recorder, "named_values", fail_once)
        refusals = "/toy/environment_state: "
        until(lambda: sum(notice.text.startswith(refusals) for notice in notices) == 2, publish)
        # The topic keeps its last message only, so the others may not have been seen.
        limit = f"expected at most {MAX_INSTRUCTION} characters"
        too_long = f"task: the length of the task is 5000, {limit}; the task before stays"
        until(lambda: Notice(level=ERROR, text=too_long) in notices, publish)
        saved = graph.call(save, Trigger.Request(), 120)
        assert saved.success, saved.message
    episode = dataset.episodes[0]
    lost = {name: episode.lost(name) for name in ("joints/state", "cameras/front", "cameras/side", "environment")}
    assert lost == {"joints/state": 1, "cameras/front": 1, "cameras/side": 2, "environment": 2}
    refused = sorted({event["stream"] for event in episode.events if event["kind"] in ("refused", "dropped")})
    assert refused == ["cameras/front", "cameras/side", "environment", "joints/state"]
    assert np.isfinite(episode.values("joints/state", "position")).all()
    assert not any("the episode ends here" in notice.text for notice in notices)
    errors = [notice.text for notice in notices if notice.level == ERROR]
    assert [text for text in errors if text.startswith(refusals)] == [
        f"{refusals}the names are other, expected cube.x as at the start of the episode",
        # An error of another library may have no text.
        f"{refusals}MemoryError()",
    ]


def test_publishers_that_start_during_an_episode_are_reported(tmp_path: Path, toy_robot: Robot) -> None:
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    topic = "/toy/joint_commands"
    restarted = f"the publisher of {topic} was restarted"
    added = f"{topic} has a further publisher (2 at present)"
    with recording(dataset, toy_robot, view=Shown(notices)) as node, ros.join_graph("robot", "toy") as graph:

        def add_publisher() -> None:
            """Create a publisher of commands and wait until the recorder has found it."""
            publisher = graph.node.create_publisher(JointState, topic, ros.stream_qos())
            commands.append(publisher)
            assert graph.spin_until(
                lambda: publishers() == len(commands) and publisher.get_subscription_count() > 0, 120
            )

        def publishers() -> int:
            return node.graph.node.count_publishers(topic)

        states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
        commands: list[Any] = []
        add_publisher()

        def publish() -> None:
            stamp = ros.ns_to_stamp(time.time_ns())
            for publisher in (states, *commands):
                message = JointState(name=["a", "b"], position=[0.0, 0.0])
                message.header.stamp = stamp
                publisher.publish(message)

        until(lambda: received(node, 2), publish)
        start, save = (graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save"))
        assert graph.call(start, Trigger.Request(), 120).success
        until(lambda: node.recorder._writer.counts["joints/command"] > 2, publish)
        add_publisher()
        until(lambda: Notice(level=WARN, text=added) in notices, publish)
        # Numbers that the next publisher does not continue by chance.
        until(lambda: node.recorder._writer.counts["joints/command"] > 40, publish)
        while commands:
            graph.node.destroy_publisher(commands.pop())
        until(lambda: publishers() == 0, publish)
        add_publisher()
        until(lambda: Notice(level=WARN, text=restarted) in notices, publish)
        assert graph.call(save, Trigger.Request(), 120).success
    assert [notice.text for notice in notices if topic in notice.text] == [added, restarted]
    episode = dataset.episodes[0]
    events = [event for event in episode.events if topic in event["text"]]
    assert [(event["kind"], event["text"], event["stream"]) for event in events] == [
        ("publisher", added, "joints/command"),
        ("publisher", restarted, "joints/command"),
    ]
    assert episode.lost("joints/command") == 0


def test_a_journal_that_cannot_be_written_ends_the_episode_and_is_recovered(
    tmp_path: Path, toy_robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from std_srvs.srv import Trigger

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    with recording(dataset, toy_robot, view=Shown(notices)) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph)
        robot.wait_for_the_recorder()
        start = graph.node.create_client(Trigger, "recorder/start")
        ticks = iter(range(100_000))
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        assert graph.call(start, Trigger.Request(), 120).success
        journal = node.recorder._writer._journal
        until(lambda: node.recorder._writer.counts["joints/state"] > 5, lambda: robot.publish(next(ticks)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", fail)
            until(lambda: node.recorder.state is State.IDLE, lambda: robot.publish(next(ticks)))
        # The next episode can be recorded.
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        again = graph.call(start, Trigger.Request(), 120)
        assert again.success, again.message
        robot.publish(next(ticks))
    (ended,) = [notice for notice in notices if "the episode ends here" in notice.text]
    assert (ended.level, ended.text) == (
        ERROR,
        f"{journal.path}: cannot be written (Input/output error); its first {journal.nbytes} bytes are intact; "
        "fix the disk, then run waldo recover; "
        "the episode ends here, and the next start of the recorder recovers its data",
    )
    with dataset.lock():
        (recovered,) = dataset.recover()
    assert recovered.path is not None
    assert recovered.counts["joints/state"] > 5
    assert [episode.reason for episode in dataset.episodes] == ["interrupted", "interrupted"]


@pytest.mark.parametrize("call", ["check", "components"])
def test_an_event_that_cannot_be_written_ends_the_episode_and_not_the_recorder(
    tmp_path: Path, toy_robot: Robot, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    with recording(dataset, toy_robot, view=Shown(notices)) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph)
        robot.wait_for_the_recorder()
        start = graph.node.create_client(Trigger, "recorder/start")
        ticks = iter(range(100_000))
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        assert graph.call(start, Trigger.Request(), 120).success

        def fail(*_: Any) -> list[Notice]:
            raise JournalError(tmp_path, "cannot be written (Input/output error)")

        with monkeypatch.context() as patch:
            patch.setattr(node._monitor, call, fail)
            if call == "components":
                node._on_components(DiagnosticArray(), {})
            until(lambda: node.recorder.state is State.IDLE, lambda: robot.publish(next(ticks)))
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        assert graph.call(start, Trigger.Request(), 120).success
        robot.publish(next(ticks))
    assert len([notice for notice in notices if "the episode ends here" in notice.text]) == 1
    with dataset.lock():
        assert len(dataset.recover()) == 1


def test_a_request_that_fails_with_the_disk_is_refused(
    tmp_path: Path, toy_robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    with recording(dataset, toy_robot, view=Shown(notices)) as node:
        monkeypatch.setattr(node.recorder, "undo", full)
        assert node._fulfill("undo") == (False, "[Errno 28] No space left on device")


def test_an_episode_of_a_robot_that_does_not_follow_must_be_confirmed(tmp_path: Path, toy_robot: Robot) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    stopped = ComponentStatus(component="control", level=ERROR, message="stopped: a fault", values={"mode": "stopped"})
    following = ComponentStatus(component="control", message="following", values={"mode": "following"})
    with recording(dataset, toy_robot) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph)
        status = graph.node.create_publisher(DiagnosticArray, "status", ros.stream_qos())
        robot.wait_for_the_recorder()
        assert graph.spin_until(lambda: status.get_subscription_count() > 0, 120)
        mode = [stopped]
        ticks = iter(range(100_000))

        def publish() -> None:
            robot.publish(next(ticks))
            status.publish(component_message("toy", mode, time.time_ns()))

        def call(name: str) -> Any:
            return graph.call(graph.node.create_client(Trigger, f"recorder/{name}"), Trigger.Request(), 120)

        until(lambda: received(node, 4) and node._monitor.control, publish)
        refused = call("start")
        assert (refused.success, refused.message) == (False, "cannot start: the robot is stopped: a fault")
        mode[0] = following
        until(lambda: node._monitor.control.level == OK, publish)
        assert call("start").success
        mode[0] = stopped
        until(lambda: node._monitor.lapse(time.time_ns())[0] > 0.5, publish)
        mode[0] = following
        until(lambda: node._monitor.control.level == OK, publish)
        refused = call("save")
        assert not refused.success
        assert refused.message.startswith("the robot did not follow its commands for ")
        assert call("save").success
    (report,) = check_dataset(dataset)
    assert "not_following" in {finding.kind for finding in report.findings}
    with pytest.raises(WaldoError, match="the robot did not follow its commands for"):
        export_dataset(dataset, tmp_path / "out", LeRobotConfig())


def test_an_episode_contains_what_was_published_before_it_was_saved(tmp_path: Path, toy_robot: Robot) -> None:
    """The recorder is busy while states arrive; the request to save arrives after them, but is served first."""
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with recording(dataset, toy_robot) as node, ros.join_graph("robot", "toy") as graph:
        robot = FakeRobot(graph)
        robot.wait_for_the_recorder()
        ticks = iter(range(100_000))
        until(lambda: received(node, 4), lambda: robot.publish(next(ticks)))
        start, save = (graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save"))
        assert graph.call(start, Trigger.Request(), 120).success
        busy, spin = threading.Event(), node._spin

        def wait_and_spin() -> None:
            busy.wait(120)
            spin()

        node._spin = wait_and_spin  # type: ignore[method-assign]
        graph.spin_for(0.5)  # until the recorder's thread waits
        first = next(ticks)
        for tick in range(first, first + 50):
            robot.publish(tick, camera=False)
        saved = save.call_async(Trigger.Request())
        graph.spin_for(0.2)
        busy.set()
        assert graph.spin_until(saved.done, 120)
        assert saved.result().success
    last = dataset.episodes[0].values("joints/state", "position")[-1, 0]
    assert last == first + 49


def test_a_second_recorder_in_a_namespace_is_refused(tmp_path: Path, toy_robot: Robot) -> None:
    first, second = (Dataset.create(tmp_path / name, robot="toy") for name in ("first", "second"))
    with recording(first, toy_robot) as running:
        until(lambda: running._surroundings.looked, lambda: None)
        with second.lock(), ros.join_graph("recorder", "toy") as graph:
            node = RecorderNode(graph, Recorder(second, toy_robot, {}))
            with pytest.raises(RecorderError, match="another recorder runs in the namespace /toy; stop it"):
                node.run(lambda: node._surroundings.looked)


def test_an_absent_robot_is_reported_once(tmp_path: Path, toy_robot: Robot) -> None:
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    with recording(dataset, toy_robot, view=Shown(notices)):
        until(lambda: bool(notices), lambda: None)
        time.sleep(1.0)
    text = "no robot publishes /toy/joint_states; start one with: waldo robot toy"
    assert [notice.text for notice in notices] == [text]


def test_joints_with_other_names_are_refused_at_the_start(tmp_path: Path, toy_robot: Robot) -> None:
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with recording(dataset, toy_robot) as node, ros.join_graph("robot", "toy") as graph:
        states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
        start = graph.node.create_client(Trigger, "recorder/start")
        until(lambda: bool(node.recorder._refused), lambda: states.publish(JointState(name=["j1"], position=[1.0])))
        response = graph.call(start, Trigger.Request(), 120)
        assert not response.success
        expected = (
            "cannot start: /toy/joint_states: has the joints j1, but toy has a, b (missing: a, b); pass --joint-map"
        )
        assert response.message.startswith(expected)


def test_in_lockstep_every_topic_is_acknowledged_with_its_sequence_number(tmp_path: Path, toy_robot: Robot) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_msgs.msg import UInt64MultiArray

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    received: list[Any] = []

    def acknowledged() -> dict[str, int]:
        message = received[-1] if received else UInt64MultiArray()
        return dict(zip((one.label for one in message.layout.dim), message.data, strict=True))

    config = RecorderConfig(lockstep=True)
    with recording(dataset, toy_robot, config), ros.join_graph("robot", "toy") as graph:
        graph.node.create_subscription(UInt64MultiArray, "received", received.append, ros.stream_qos())
        states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
        status = graph.node.create_publisher(DiagnosticArray, "status", ros.stream_qos())
        assert graph.spin_until(lambda: all(p.get_subscription_count() for p in (states, status)), 120)
        for number in range(1, 4):
            states.publish(JointState(name=["a", "b"], position=[0.0, 0.0]))
            if number < 3:
                component = ComponentStatus(component="control", message="following")
                status.publish(component_message("toy", [component], number))
        assert graph.spin_until(lambda: acknowledged() == {"joint_states": 3, "status": 2}, 120)
