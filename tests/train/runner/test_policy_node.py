"""The policy node over real DDS: a robot follows a served policy and a person first, and holds after each fault."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo import ros
from waldo.collect.recorder.node import RecorderNode
from waldo.collect.recorder.recorder import Recorder
from waldo.collect.recorder.state_rate import MIN_RATE_SAMPLES
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import make_rows
from waldo.robots.control.arbiter import SOURCE_OF_LABEL, Source
from waldo.robots.description import Robot, load_robot
from waldo.robots.diagnostics import ComponentStatus, component_message, components_from_message
from waldo.robots.event import Event
from waldo.robots.node import NodeConfig, RobotNode
from waldo.train.runner.attempts import AttemptConfig, Attempts
from waldo.train.runner.inference import Inference
from waldo.train.runner.node import PolicyNode
from waldo.train.runner.policy_loop import REPORTED, LoopConfig, PolicyLoop
from waldo.train.runner.robot_policy import ContractError, robot_policy
from waldo.train.serving.client import PolicyClient
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.server import PolicyServer

pytestmark = pytest.mark.usefixtures("ros_domain")

FPS = 20
ACTIONS = 30
SPEED = 0.3
"""Speed of the fake policy [rad/s]."""


class FakePolicy:
    """Moves the first joint to a goal at a constant speed; the others stay at 0."""

    def __init__(self) -> None:
        self.goal = 0.5
        self.broken = False
        self.tasks: list[str] = []

    def predict(self, observations: Sequence[Mapping[str, Any]]) -> np.ndarray:
        self.tasks += [observation["task"] for observation in observations]
        return np.stack([self._chunk(observation["observation.state"]) for observation in observations])

    def _chunk(self, state: np.ndarray) -> np.ndarray:
        travel = SPEED * np.arange(ACTIONS) / FPS
        actions = np.zeros((ACTIONS, len(state)))
        actions[:, 0] = state[0] + np.clip(self.goal - state[0], -travel, travel)
        if self.broken:
            actions[3, 0] = np.nan
        return actions


def described(joints: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of a server."""
    contract = {"fps": FPS, "joints": list(joints), "state": list(joints), "unit": "rad"}
    return {"policy": "fake", "images": {}, "replan_after": 10, "contract": contract}


class Serving:
    """A policy server on a thread, which can be stopped and started again at the same port."""

    def __init__(self, policy: FakePolicy, joints: Sequence[str]) -> None:
        self.policy, self.joints, self.port = policy, joints, 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        listening = threading.Event()
        inputs = PolicyInputs(vectors={"observation.state": len(self.joints)}, images={})
        server = PolicyServer(self.policy, inputs, described(self.joints))

        def on_listening(port: int) -> None:
            self.port = port
            listening.set()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await server.run("127.0.0.1", self.port, self._stop, on_listening=on_listening)

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self._thread.start()
        assert listening.wait(60)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def robot(toy_robot: Robot) -> Robot:
    """Two joints and no camera."""
    return replace(toy_robot, cameras=())


@pytest.fixture
def driver(robot: Robot, make_toy_driver: Callable[[], Any]) -> Any:
    driver = make_toy_driver()
    driver.robot = robot
    return driver


@pytest.fixture
def serving(robot: Robot) -> Iterator[Serving]:
    serving = Serving(FakePolicy(), robot.joint_names)
    serving.start()
    yield serving
    serving.stop()


@contextmanager
def on_thread(run: Callable[[Callable[[Any], None], Callable[[], bool]], None]) -> Iterator[Any]:
    """Run a function on a thread for as long as the block runs; yield what it passes to its first argument."""
    ended, ready, found, errors = threading.Event(), threading.Event(), list[Any](), list[BaseException]()

    def pass_on(value: Any) -> None:
        found.append(value)
        ready.set()

    def work() -> None:
        try:
            run(pass_on, ended.is_set)
        except BaseException as error:
            errors.append(error)
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        if errors:
            raise errors[0]
        yield found[0]
    finally:
        ended.set()
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def running(driver: Any) -> Any:
    """Run a robot node on a thread."""

    def run(pass_on: Callable[[Any], None], done: Callable[[], bool]) -> None:
        with ros.join_graph("robot", "toy") as graph:
            node = RobotNode(graph, driver, NodeConfig())
            pass_on(node)
            node.run(done)

    return on_thread(run)


def driving(url: str, robot: Robot, events: list[Event] | None = None) -> Any:
    """Run a policy node on a thread."""
    events = [] if events is None else events

    def run(pass_on: Callable[[Any], None], done: Callable[[], bool]) -> None:
        client = PolicyClient(url)
        policy = robot_policy(client.metadata, url)
        with ros.join_graph("policy", "toy") as graph:
            try:
                policy.require_robot(robot, {})
                inference = Inference(client, lambda: PolicyClient(url), lambda metadata: None)
            except ContractError:
                client.close()
                raise
            loop = PolicyLoop(robot, inference, policy.observation, fps=FPS, replan_s=policy.replan_s)
            node = PolicyNode(graph, loop, robot.joint_names, {}, on_event=events.append)
            pass_on(node)
            try:
                node.run(done)
            finally:
                inference.close()

    return on_thread(run)


class Observer:
    """A node that receives what the robot publishes, and that commands it as a person does."""

    def __init__(self, graph: ros.Graph, driver: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState

        self.graph, self.driver, self._joint_state = graph, driver, JointState
        self.applied: list[tuple[int, str]] = []
        self.control: ComponentStatus | None = None
        self.commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        graph.subscribe(JointState, "joint_commands_sent", self._on_applied, ros.stream_qos())
        graph.subscribe(DiagnosticArray, "status", self._on_status, ros.stream_qos())

    def _on_applied(self, message: Any) -> None:
        self.applied.append((ros.stamp_to_ns(message.header.stamp), message.header.frame_id))

    def _on_status(self, message: Any) -> None:
        self.control = components_from_message(message).get("control", self.control)

    @property
    def source(self) -> str:
        """Who controls the robot at present."""
        return self.applied[-1][1] if self.applied else ""

    @property
    def position(self) -> float:
        return float(self.driver.position[0])

    def until(self, condition: Callable[[], object]) -> None:
        assert self.graph.spin_until(lambda: bool(condition()), 120), (self.source, self.control, self.position)

    def until_moving(self) -> None:
        """Wait until the policy moves the robot."""
        before = self.position
        self.until(lambda: self.source == "policy" and abs(self.position - before) > 0.01)

    def until_holding(self, reason: str) -> None:
        """Wait until the robot holds for a reason that starts with a text, and assert that it stands still."""
        self.until(lambda: self.source == "hold" and self.control and self.control.values["reason"].startswith(reason))
        # The robot brakes within its limits, which takes 0.005 s per cycle at this speed.
        cycles = len(self.applied)
        self.until(lambda: len(self.applied) > cycles + 5)
        before, cycles = self.position, len(self.applied)
        self.until(lambda: len(self.applied) > cycles + 20)
        assert self.position == before
        assert {source for _, source in self.applied[cycles:]} == {"hold"}

    def push(self, position: float | None) -> None:
        """Command the first joint as a person; None to release the robot."""
        joints = {} if position is None else {"name": [self.driver.robot.joint_names[0]], "position": [position]}
        message = self._joint_state(**joints)
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        self.commands.publish(message)

    def pushed(self, position: float, condition: Callable[[], object]) -> None:
        """Command as a person until a condition holds."""

        def push() -> bool:
            self.push(position)
            self.graph.spin_for(0.01)
            return bool(condition())

        assert self.graph.spin_until(push, 120), (self.source, self.control, self.position)


@contextmanager
def observing(driver: Any) -> Iterator[Observer]:
    with ros.join_graph("observer", "toy") as graph:
        yield Observer(graph, driver)


def test_the_robot_follows_the_policy(driver: Any, robot: Robot, serving: Serving) -> None:
    from sensor_msgs.msg import JointState

    events: list[Event] = []
    statements: list[Any] = []
    with running(driver), observing(driver) as observer:
        observer.graph.subscribe(JointState, "policy", statements.append, ros.stream_qos())
        with driving(serving.url, robot, events) as node:
            observer.until(lambda: abs(observer.position - 0.5) < 1e-3)
            assert observer.source == "policy"
            assert driver.position[1] == 0.0
        observer.until_holding("policy: the policy has ended")
    totals = node.totals
    assert totals.commands > 50
    assert totals.chunks == len(totals.inference_s) >= 3
    assert len(totals.jumps) <= totals.chunks - 1
    assert totals.takeovers == 0
    assert "the policy drives: lift the cube" in [event.text for event in events]
    assert set(serving.policy.tasks) == {"lift the cube"}
    stated = dict(zip(statements[-1].name, statements[-1].position, strict=True))
    assert list(stated) == list(REPORTED)
    assert stated["chunk"] == totals.chunks
    assert 0 < stated["observation_age_s"] <= stated["action_age_s"]


def test_a_server_that_stops_makes_the_robot_hold_until_it_is_back(driver: Any, robot: Robot, serving: Serving) -> None:
    with running(driver), observing(driver) as observer, driving(serving.url, robot):
        for goal in (1.5, -1.5, 1.5):
            serving.policy.goal = goal
            observer.until_moving()
            serving.stop()
            observer.until_holding("policy: ")
            serving.start()
        observer.until_moving()


def test_actions_that_are_not_finite_make_the_robot_hold(driver: Any, robot: Robot, serving: Serving) -> None:
    with running(driver), observing(driver) as observer, driving(serving.url, robot):
        for goal in (1.5, -1.5, 1.5):
            serving.policy.goal, serving.policy.broken = goal, False
            observer.until_moving()
            serving.policy.broken = True
            observer.until_holding(f"policy: {serving.url}: action 3 of the policy is not finite")
            assert np.isfinite(driver.position).all()


def test_a_policy_of_another_robot_is_refused_and_the_robot_is_not_moved(driver: Any, robot: Robot) -> None:
    serving = Serving(FakePolicy(), ("b", "a"))
    serving.start()
    try:
        with running(driver), observing(driver) as observer:
            observer.until(lambda: len(observer.applied) > 5)
            for _ in range(3):
                with pytest.raises(ContractError) as caught, driving(serving.url, robot):
                    pass
                assert caught.value.differences == [
                    "it commands the joints b, a, the robot has a, b",
                    "it observes the joints b, a, the robot has a, b",
                ]
            cycles = len(observer.applied)
            observer.until(lambda: len(observer.applied) > cycles + 20)
            assert {source for _, source in observer.applied} == {"hold"}
            np.testing.assert_array_equal(driver.position, [0.0, 0.0])
    finally:
        serving.stop()
    assert not serving.policy.tasks


def test_a_policy_process_that_is_stopped_makes_the_robot_hold(make_toy_driver: Callable[[], Any]) -> None:
    """The robot's watchdog does not depend on the process that commands it."""
    driver = make_toy_driver()
    driver.robot = replace(load_robot("so101"), cameras=())
    driver.position = np.zeros(6)
    driver.winding = np.full(6, 30.0)
    driver.reset(0)
    driver.write(driver.position)
    serving = Serving(FakePolicy(), driver.robot.joint_names)
    serving.start()
    command = [sys.executable, "-m", "waldo", "run", "--server", serving.url, "--namespace", "toy", "--task", "reach"]
    try:
        with running(driver), observing(driver) as observer, subprocess.Popen(command) as process:
            try:
                for goal in (1.2, -1.2, 1.2):
                    serving.policy.goal = goal
                    observer.until_moving()
                    os.kill(process.pid, signal.SIGSTOP)
                    observer.until_holding("no command for 0.2 s")
                    os.kill(process.pid, signal.SIGCONT)
                observer.until_moving()
                process.terminate()
                observer.until_holding("policy: the policy has ended")
                assert process.wait(60) == 130
            finally:
                process.kill()
    finally:
        serving.stop()
    assert set(serving.policy.tasks) == {"reach"}


def test_a_person_takes_over_and_hands_back_and_the_recording_states_who_controls(
    tmp_path: Path, driver: Any, robot: Robot, serving: Serving
) -> None:
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    serving.policy.goal = 1.5

    def record(pass_on: Callable[[Any], None], done: Callable[[], bool]) -> None:
        with dataset.lock(), ros.join_graph("recorder", "toy") as graph:
            node = RecorderNode(graph, Recorder(dataset, robot, {}))
            pass_on(node)
            node.run(done)

    with (
        running(driver),
        on_thread(record) as recorder,
        observing(driver) as observer,
        driving(serving.url, robot) as node,
    ):
        graph = observer.graph
        observer.until_moving()
        observer.until(lambda: len(recorder.recorder._rate) >= MIN_RATE_SAMPLES)
        observer.until(lambda: {"policy", "motors"} <= recorder.recorder._received)
        started = graph.call(graph.node.create_client(Trigger, "recorder/start"), Trigger.Request(), 120)
        assert started.success, started.message
        # The rows of an episode begin when all of its streams have begun.
        observer.until(lambda: recorder.recorder._writer is None or all(recorder.recorder._writer._counts.values()))
        observer.until_moving()
        cycles, here = len(observer.applied), observer.position
        observer.pushed(here - 0.3, lambda: observer.source == "person")
        observer.pushed(0.2, lambda: abs(observer.position - 0.2) < 1e-3)
        chunks = node.totals.chunks
        serving.policy.goal = 0.2
        observer.pushed(0.2, lambda: len(observer.applied) > cycles + 60)
        assert node.totals.takeovers >= 1
        assert node._loop.player.has_chunk is False
        assert abs(observer.position - 0.2) < 1e-3
        observer.push(None)
        observer.until(lambda: observer.source == "policy")
        serving.policy.goal = 1.0
        observer.until_moving()
        assert node.totals.chunks > chunks
        cycles = len(observer.applied)
        observer.until(lambda: len(observer.applied) > cycles + 30)
        saved = graph.call(graph.node.create_client(Trigger, "recorder/save"), Trigger.Request(), 120)
        assert saved.success, saved.message
    episode = dataset.episodes[0]
    control = episode.values("control", "value")[:, 0]
    # A machine that is busy may make the robot hold for a moment.
    assert [value for value, _ in groupby(control[control != Source.HOLD])] == [2, 1, 2]
    stamps = episode.time_ns("control", "header")
    np.testing.assert_array_equal(stamps, episode.time_ns("joints/sent", "header"))
    received = {stamp: SOURCE_OF_LABEL[label] for stamp, label in observer.applied}
    assert [received[stamp] for stamp in stamps.tolist()] == control.tolist()
    assert episode.lost("control") == 0
    assert set(episode.streams["policy"].fields[0].labels) == set(REPORTED)
    rows = make_rows(episode, RowConfig(fps=30, keep_not_following=True, max_staleness_s=10.0))
    column = rows.columns["control"]
    assert column.names == ("control",)
    assert {2.0, 1.0} <= set(column.values[:, 0].tolist()) <= {0.0, 1.0, 2.0}
    assert [value for value, _ in groupby(one for one in column.values[:, 0] if one)] == [2.0, 1.0, 2.0]
    config = LeRobotConfig(rows=RowConfig(keep_not_following=True, max_staleness_s=10.0))
    export_dataset(dataset, tmp_path / "out", config)
    import pandas as pd

    (table,) = (tmp_path / "out" / "data").rglob("*.parquet")
    exported = [float(np.ravel(one)[0]) for one in pd.read_parquet(table)["control"]]
    assert exported == column.values[:, 0].tolist()


# messages


@contextmanager
def node_of(robot: Robot, **options: Any) -> Iterator[PolicyNode]:
    """A policy node whose callbacks the test calls."""

    class Silent:
        is_busy, error = False, ""

        def ask(self, question: Any) -> None: ...

        def answer(self) -> None: ...

    with ros.join_graph("policy", "toy") as graph:
        loop = PolicyLoop(robot, Silent(), lambda *_: {}, fps=FPS, replan_s=0.5, config=LoopConfig())
        yield PolicyNode(graph, loop, robot.joint_names, {}, **options)


def test_states_are_read_by_the_names_of_their_joints(robot: Robot) -> None:
    from sensor_msgs.msg import JointState

    with node_of(robot) as node:
        message = JointState(name=["b", "gripper", "a"], position=[0.2, 9.0, 0.1])
        message.header.stamp = ros.ns_to_stamp(5)
        node._on_state(message)
        np.testing.assert_array_equal(node.view.position, [0.1, 0.2])
        assert node.view.state_ns == 5
        for names, positions in ((["a"], [0.5]), (["a", "b"], [0.5])):
            message = JointState(name=names, position=positions)
            message.header.stamp = ros.ns_to_stamp(6)
            node._on_state(message)
        np.testing.assert_array_equal(node.view.position, [0.1, 0.2])
        assert node.view.state_ns == 5


def test_the_source_of_the_applied_commands_is_who_controls_the_robot(robot: Robot) -> None:
    from sensor_msgs.msg import JointState

    with node_of(robot) as node:
        seen = []
        for label in ("hold", "person", "person", "hold", "policy", "person", "", "other"):
            message = JointState()
            message.header.frame_id = label
            node._on_applied(message)
            seen.append(int(node.view.control))
        assert seen == [0, 1, 1, 0, 2, 1, 0, 0]
        assert node.totals.takeovers == 2


@pytest.mark.parametrize(
    ("text", "ratio"), [("0.3", 0.3), ("1", 1.0), ("0", 1.0), ("-1", 1.0), ("nan", 1.0), ("", 1.0), ("inf", 1.0)]
)
def test_the_speed_ratio_is_that_of_the_governor(robot: Robot, text: str, ratio: float) -> None:
    with node_of(robot) as node:
        control = ComponentStatus(component="control", message="holding", values={"reason": "stopped by the operator"})
        governor = ComponentStatus(component="governor", message="slow", values={"speed_ratio": text})
        node._on_status(component_message("toy", [control, governor], 0))
        assert (node.view.speed_ratio, node.view.hold_reason) == (ratio, "stopped by the operator")


def test_an_instruction_comes_from_the_robot_or_from_the_option(robot: Robot) -> None:
    from std_msgs.msg import String

    for task, expected in (("", "lift the cube"), ("push it", "push it")):
        with node_of(robot, task=task) as node:
            assert node.view.task == (task, None)
            node._on_task(String(data='{"task": "lift the cube", "seed": 3}'))
            assert node.view.task == (expected, (3, "lift the cube"))
            for text in ("no JSON", "[1, 2]", "3", '"text"'):
                node._on_task(String(data=text))
            assert node.view.task == (expected, (3, "lift the cube"))


def test_each_change_between_following_and_holding_is_reported_once(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensor_msgs.msg import JointState

    monkeypatch.setattr("waldo.train.runner.node.STARTING_S", 0.0)

    events: list[Event] = []
    with node_of(robot, task="lift the cube", on_event=events.append) as node:

        def add_state(age_s: float) -> None:
            message = JointState(name=["a", "b"], position=[0.0, 0.0])
            message.header.stamp = ros.ns_to_stamp(time.time_ns() - int(age_s * 1e9))
            node._on_state(message)

        node.totals.commands = 1  # as after the start
        for _ in range(3):
            node._cycle(0.02)
        for age_s in (1.0, 1.3, 2.0):
            add_state(age_s)
            node._cycle(0.02)
        add_state(0.0)
        node._cycle(0.02)
    texts = [event.text for event in events]
    assert texts[0] == "holding: no joint_states received"
    assert texts[1].startswith("holding: the robot's state is 1.")
    assert texts[2:] == ["holding: waiting for the policy's first actions"]
    assert list(node.totals.holds.values()) == [1, 1, 1]


def test_a_run_ends_with_a_command_without_joints(robot: Robot) -> None:
    from sensor_msgs.msg import JointState

    received: list[Any] = []
    with node_of(robot) as node, ros.join_graph("robot", "toy") as graph:
        graph.subscribe(JointState, "joint_commands", received.append, ros.stream_qos())
        assert graph.spin_until(lambda: node._commands.get_subscription_count() > 0, 120)

        def fail(period_s: float) -> None:
            raise RuntimeError("a bug")

        node._cycle = fail  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="a bug"):
            node.run(lambda: False)
        assert graph.spin_until(lambda: bool(received), 120)
    assert (list(received[-1].name), received[-1].header.frame_id) == ([], "policy: the policy has ended")


def test_an_attempt_counts_a_person_of_another_process(robot: Robot) -> None:
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Header

    attempts = Attempts(AttemptConfig(episodes=1, strategy="dagger"), lambda name: (name != "task_done", ""), True)
    with node_of(robot, attempts=attempts) as node:
        for label in ("policy", "person", "person", "policy"):
            node._on_applied(JointState(header=Header(frame_id=label)))
            node._cycle(0.02)
        attempts.config = AttemptConfig(episodes=1, strategy="dagger", time_limit=0.001)
        node._cycle(0.02)
    (attempt,) = attempts.results
    assert (attempt.saved, attempt.person_s) == (True, pytest.approx(0.04))


def test_the_first_actions_of_an_attempt_may_take_a_moment(robot: Robot) -> None:
    from sensor_msgs.msg import JointState

    events: list[Event] = []
    with node_of(robot, task="lift the cube", on_event=events.append) as node:
        node.totals.commands = 1  # as after the start
        message = JointState(name=["a", "b"], position=[0.0, 0.0])
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        node._on_state(message)
        node._cycle(0.02)
        assert events == []
        node._active_s -= 3.0
        node._cycle(0.02)
    assert [event.text for event in events] == ["holding: waiting for the policy's first actions"]
