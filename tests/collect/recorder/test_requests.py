from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.recorder import Recorder, RecorderConfig, RecorderError
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.recorder.requests import RecorderRequests
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.rules import Rules
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, ComponentStatus


def requests(recorder: Recorder, *tasks: str) -> RecorderRequests:
    return RecorderRequests(
        recorder,
        RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0),
        expected=lambda: (),
        drain=lambda: None,
        now_ns=lambda: 0,
        tasks=[{"task": task} for task in tasks],
    )


@pytest.fixture
def recorder(tmp_path: Path, toy_robot: Robot) -> Recorder:
    return Recorder(Dataset.create(tmp_path / "set", robot="toy"), toy_robot, {})


def test_the_operator_selects_among_the_instructions(recorder: Recorder) -> None:
    operator = requests(recorder, "lift the cube", "open the drawer")
    assert recorder.task == {"task": "lift the cube"}
    assert [operator.next_task() for _ in range(3)] == ["open the drawer", "lift the cube", "open the drawer"]
    assert recorder.task == {"task": "open the drawer"}


def test_after_an_instruction_of_the_robot_the_first_one_follows(recorder: Recorder) -> None:
    operator = requests(recorder, "lift the cube", "open the drawer")
    recorder.task = {"task": "of the simulation"}
    assert operator.next_task() == "lift the cube"


def test_one_instruction_has_no_next(recorder: Recorder) -> None:
    with pytest.raises(RecorderError, match='there is no other instruction; pass several: --task "lift'):
        requests(recorder, "lift the cube").next_task()


def test_a_robot_that_is_stopped_when_the_episode_is_saved_needs_a_confirmation(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0)
    operator = RecorderRequests(recorder, monitor, expected=lambda: (), drain=lambda: None, now_ns=lambda: 10**9)
    both = np.zeros(2)
    values = {"position": both, "velocity": both, "effort": both}
    with recorder.dataset.lock():
        for k in range(6):
            recorder.row("joints/state", values=values, header_ns=k * 10**7, receipt_ns=k * 10**7, sequence=k + 1)
        operator.start()
        recorder.row("joints/state", values=values, header_ns=10**9, receipt_ns=10**9, sequence=7)
        stopped = ComponentStatus(
            component="control",
            level=ERROR,
            message="stopped: unplugged",
            values={"mode": "stopped", "reason": "unplugged"},
        )
        monitor.components({"control": stopped}, 10**9)  # in the instant of the request
        with pytest.raises(RecorderError, match=r"^the robot is stopped: unplugged: fail or discard the episode"):
            operator.save()
        assert operator.save() == "episode_000000.zarr saved as success"


@pytest.mark.parametrize("is_stopped", [True, False])
def test_the_robot_at_the_end_of_the_episode_counts_and_not_at_its_saving(recorder: Recorder, is_stopped: bool) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0)
    operator = RecorderRequests(recorder, monitor, expected=lambda: (), drain=lambda: None, now_ns=lambda: 10**9)
    both = np.zeros(2)
    values = {"position": both, "velocity": both, "effort": both}
    following = ComponentStatus(component="control", message="following", values={"mode": "following"})
    stopped = ComponentStatus(
        component="control", level=ERROR, message="stopped: unplugged", values={"mode": "stopped"}
    )
    with recorder.dataset.lock():
        for k in range(6):
            recorder.row("joints/state", values=values, header_ns=k * 10**7, receipt_ns=k * 10**7, sequence=k + 1)
        operator.start()
        recorder.row("joints/state", values=values, header_ns=10**9, receipt_ns=10**9, sequence=7)
        monitor.components({"control": stopped if is_stopped else following}, 10**9)
        assert operator.stop() == "stopped; save, fail or discard the episode"
        monitor.components({"control": following if is_stopped else stopped}, 10**9)
        if is_stopped:
            with pytest.raises(RecorderError, match=r"^the robot is stopped: unplugged: fail or discard the episode"):
                operator.save()
        assert operator.save() == "episode_000000.zarr saved as success"


def test_a_robot_without_a_status_that_is_disconnected_is_noticed(recorder: Recorder) -> None:
    """A robot of another project publishes states, and no status of its control."""
    second = 10**9
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0)
    now = [0]
    operator = RecorderRequests(
        recorder,
        monitor,
        expected=lambda: (),
        drain=lambda: None,
        now_ns=lambda: now[0],
        monotonic_ns=lambda: now[0],
    )
    both = np.zeros(2)
    with recorder.dataset.lock():

        def receive(seconds: float) -> None:
            now[0] = round(seconds * second)
            stamps = {"header_ns": now[0], "receipt_ns": now[0], "sequence": round(seconds * 60) + 1}
            recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
            monitor.received("joints/state", now[0], now[0], now[0])

        for k in range(12):
            receive(k / 60)
        operator.start()
        receive(0.25)
        for k in range(11):
            now[0] = k * second // 10
            monitor.check(now[0], now[0], 10**15)
        with pytest.raises(RecorderError, match=r"^the robot is disconnected: no state from the robot node: fail or"):
            operator.save()
        operator.fail()
        with pytest.raises(RecorderError, match=r"^cannot start: the robot is disconnected: no state from the robot"):
            operator.start()
        for k in range(12):
            receive(1.5 + k / 60)
        assert operator.start() == "recording"
        recorder.discard()


def test_a_breach_blocks_a_success_and_nothing_else(tmp_path: Path, toy_robot: Robot) -> None:
    config = RecorderConfig(lockstep=True, rules=Rules(frozen_s=0.4, block=("frozen",)))
    recorder = Recorder(Dataset.create(tmp_path / "set", robot="toy"), toy_robot, {}, config)
    operator = requests(recorder)
    image = np.full((48, 64, 3), 90, np.uint8)
    image[:24] = 160
    noisy = [np.where(np.arange(64)[None, :, None] == k, 0, image).astype(np.uint8) for k in range(64)]

    def record(*, frozen: bool) -> None:
        operator.start()
        for k in range(60):
            at = 10**9 + k * 10**8 // 6
            stamps = {"header_ns": at, "receipt_ns": at, "sequence": k + 1}
            values = {"position": np.full(2, k / 60), "velocity": np.zeros(2), "effort": np.zeros(2)}
            recorder.row("joints/state", values=values, **stamps)
            recorder.frame("cameras/front", noisy[0 if frozen else k], **stamps)

    with recorder.dataset.lock():
        stamps = {"header_ns": 1, "receipt_ns": 1, "sequence": 1}
        values = {name: np.zeros(2) for name in ("position", "velocity", "effort")}
        recorder.row("joints/state", values=values, **stamps)
        recorder.frame("cameras/front", image, **stamps)
        record(frozen=True)
        reason = r"frozen: cameras/front the image does not change for 0\.98 s .*: discard the episode, or save it as"
        for _ in range(2):  # a second request does not override it
            with pytest.raises(RecorderError, match=reason):
                operator.save()
        assert operator.fail() == "episode_000000.zarr saved as failure"
        record(frozen=False)
        assert operator.save() == "episode_000001.zarr saved as success"


@pytest.mark.parametrize("name", ["save", "fail", "keep", "stop"])
def test_what_was_published_before_the_end_of_an_episode_is_recorded_first(
    tmp_path: Path, toy_robot: Robot, name: str
) -> None:
    recorder = Recorder(Dataset.create(tmp_path / "set", robot="toy"), toy_robot, {}, RecorderConfig(lockstep=True))
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0, lockstep=True)
    both = np.zeros(2)

    def state(k: int) -> None:
        values = {"position": both, "velocity": both, "effort": both}
        recorder.row("joints/state", values=values, header_ns=k * 10**7, receipt_ns=k * 10**7, sequence=k)

    operator = RecorderRequests(
        recorder, monitor, expected=lambda: (), drain=lambda: state(9), now_ns=lambda: 9 * 10**7
    )
    with recorder.dataset.lock():
        state(1)
        operator.start()
        state(2)
        operator.actions[name]()
        recorder.close()
        assert recorder.dataset.episodes[0].count("joints/state") == 2


def test_an_episode_starts_with_its_first_subtask_and_the_faults_that_are_present(
    tmp_path: Path, toy_robot: Robot
) -> None:
    recorder = Recorder(Dataset.create(tmp_path / "set", robot="toy"), toy_robot, {}, RecorderConfig(lockstep=True))
    recorder.task = {"task": "lift", "subtasks": ["reach", "grasp"]}
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0, lockstep=True)
    following = ComponentStatus(component="control", message="following", values={"mode": "following"})
    monitor.components({"control": following}, 0)
    operator = RecorderRequests(recorder, monitor, expected=lambda: (), drain=lambda: None, now_ns=lambda: 10**7)
    both = np.zeros(2)
    values = {"position": both, "velocity": both, "effort": both}
    with recorder.dataset.lock():
        recorder.row("joints/state", values=values, header_ns=10**7, receipt_ns=10**7, sequence=1)
        operator.start()
        recorder.row("joints/state", values=values, header_ns=10**7, receipt_ns=10**7, sequence=2)
        assert operator.mark() == "grasp"
        operator.fail()
        episode = recorder.dataset.episodes[0]
    assert [(one["kind"], one["text"]) for one in episode.events] == [
        ("control_mode", "following"),
        ("subtask", "reach"),
        ("subtask", "grasp"),
    ]
    assert [one.text for one in episode.subtasks] == ["reach", "grasp"]


def test_an_episode_that_is_open_is_named_before_gates_that_can_be_overridden(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0)
    operator = RecorderRequests(
        recorder,
        monitor,
        expected=lambda: ("cameras/front",),
        drain=lambda: None,
        now_ns=lambda: 0,
        gates=lambda: [Gate(name="disk", reason="full")],
    )
    with pytest.raises(RecorderError, match="no message received yet on joints/state, cameras/front"):
        operator.start()
