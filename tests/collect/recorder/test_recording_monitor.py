"""Each finding is reported once, and is an event of the episode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from waldo.collect.recorder.recorder import Recorder, RecorderConfig, State
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.robot_condition import ABSENT, DISCONNECTED
from waldo.datasets.dataset import Dataset
from waldo.datasets.reading import following
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, OK, WARN, ComponentStatus, MotorStatus

S = 1_000_000_000
WALL = 1_700_000_000 * S
PLENTY = 10**15


@pytest.fixture
def recorder(tmp_path: Path, toy_robot: Robot) -> Iterator[Recorder]:
    """A recorder on a new dataset; saving waits until the episode is finalized."""
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        yield Recorder(dataset, toy_robot, {}, RecorderConfig(lockstep=True))


def add(recorder: Recorder, monitor: RecordingMonitor, at_s: float, *, camera: bool = True) -> list[str]:
    """Add a state and a frame at an instant; return the texts of the notices."""
    wall, now = WALL + round(at_s * S), round(at_s * S)
    both = np.array([1.0, 2.0])
    stamps = {"header_ns": wall, "receipt_ns": wall, "sequence": -1}
    recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
    notices = monitor.received("joints/state", now, wall)
    if camera:
        image = np.full((48, 64, 3), round(at_s * 10) % 100, np.uint8)
        image[:24] += 100
        recorder.frame("cameras/front", image, **stamps)
        notices += monitor.received("cameras/front", now, wall)
    return [notice.text for notice in notices]


def test_a_camera_that_stops_is_reported_at_once(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    recorder.start()
    for k in range(1, 9):
        add(recorder, monitor, k / 10, camera=k < 3)
        if k % 3 == 0:
            assert monitor.check(WALL + k * S // 10, k * S // 10, PLENTY) == []
    (lost,) = monitor.check(WALL + 9 * S // 10, 9 * S // 10, PLENTY)
    assert (lost.level, lost.text) == (ERROR, "no message on cameras/front for 0.7 s; check its cable and its driver")
    assert monitor.check(WALL + S, S, PLENTY) == []
    status = monitor.status(S)
    assert status.stopped == ["cameras/front"]
    assert status.level == ERROR
    assert "NO MESSAGES: cameras/front" in str(status)
    assert add(recorder, monitor, 1.2) == ["cameras/front resumed after 1.0 s"]
    assert monitor.status(2 * S).level == OK
    recorder.save("success")
    episode = recorder.dataset.episodes[0]
    assert [(event["kind"], event["stream"]) for event in episode.events] == [
        ("stream_lost", "cameras/front"),
        ("stream_back", "cameras/front"),
    ]
    assert episode.events[0]["at_ns"] == WALL + 9 * S // 10


def test_a_clock_jump_is_an_event(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    recorder.start()
    add(recorder, monitor, 0.1)
    assert monitor.check(WALL + S // 10 + 4_000_000, S // 10, PLENTY) == []
    (jump,) = monitor.check(WALL + S // 5 - 2 * S, S // 5, PLENTY)
    assert jump.level == ERROR
    assert jump.text.startswith("the system clock jumped by -2.004 s: ")
    recorder.save("success")
    (event,) = recorder.dataset.episodes[0].events
    assert (event["kind"], event["jump_ns"]) == ("clock_jump", -2_004_000_000)


def test_a_full_disk_ends_the_episode_and_saves_it(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    recorder.start()
    for k in range(1, 21):
        add(recorder, monitor, k / 10)
        monitor.check(WALL + k * S // 10, k * S // 10, PLENTY)
    assert monitor.status(2 * S).level == OK
    (low,) = monitor.check(WALL + 2 * S, 2 * S, 65_000_000)
    assert low.level == WARN
    assert "min remaining; free some space" in low.text
    (full,) = monitor.check(WALL + 2 * S, 2 * S, 1_000_000)
    assert full.level == ERROR
    assert "episode_000000.zarr saved as unknown" in full.text
    assert recorder.state is State.IDLE
    episode = recorder.dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("unknown", "disk_full")
    assert [event["kind"] for event in episode.events] == ["disk_full"]
    assert len(episode.time_ns("joints/state")) == 20


def test_in_simulated_time_the_clocks_of_the_machine_are_not_checked(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0, lockstep=True)
    add(recorder, monitor, 0.0)
    assert monitor.check(WALL + 60 * S, 90 * S, PLENTY) == []
    assert add(recorder, monitor, 90.0) == []


def test_the_status_is_one_line(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    recorder.task = {"task": "lift the cube"}
    add(recorder, monitor, 0.0)
    recorder.start()
    for k in range(1, 31):
        add(recorder, monitor, k / 30)
    monitor.check(WALL + S, S, PLENTY)
    line = str(monitor.status(S))
    assert line.startswith("recording lift the cube  0:00  1 camera 31 Hz  joints 31 Hz  lost 0  disk")


def motors(level: int, message: str) -> dict[str, MotorStatus]:
    return {"a": MotorStatus(level=level, message=message), "b": MotorStatus(message="winding at 30.0 °C")}


def components(*statuses: ComponentStatus) -> dict[str, ComponentStatus]:
    return {status.component: status for status in statuses}


def test_a_motor_fault_is_one_event_and_one_notice_until_it_ends(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    assert monitor.motors(motors(OK, "winding at 40.0 °C"), WALL) == []
    recorder.start()
    monitor.episode_started(WALL)
    add(recorder, monitor, 0.1)
    notices = []
    for tick in range(50):
        level, text = (
            (WARN, f"winding at {41 + tick / 10:.1f} °C; overload")
            if 5 <= tick < 20
            else (OK, f"winding at {tick}.0 °C")
        )
        notices += monitor.motors(motors(level, text), WALL + tick * S // 10)
        assert monitor.status(S).faults == (("a",) if 5 <= tick < 30 else ())
    assert [(notice.level, notice.text) for notice in notices] == [
        (WARN, "a: winding at 41.5 °C; overload"),
        (OK, "a: winding at 30.0 °C"),
    ]
    recorder.save("success")
    assert recorder.dataset.episodes[0].events == [
        {
            "at_ns": WALL + S // 2,
            "kind": "motor_status",
            "text": "a: winding at 41.5 °C; overload",
            "joint": "a",
            "level": "warning",
        },
        {"at_ns": WALL + 3 * S, "kind": "motor_status", "text": "a: winding at 30.0 °C", "joint": "a", "level": "ok"},
    ]


def test_component_changes_are_events_and_only_faults_are_notices(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    holding = ComponentStatus(component="control", message="holding: no command for 0.2 s")
    following = ComponentStatus(component="control", message="following")
    lost = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    restored = ComponentStatus(component="camera front", message="30 Hz")
    assert monitor.components(components(holding, restored), WALL) == []
    recorder.start()
    monitor.episode_started(WALL)
    add(recorder, monitor, 0.1)
    assert monitor.components(components(following, restored), WALL + S) == []
    (fault,) = monitor.components(components(following, lost), WALL + 2 * S)
    assert (fault.level, fault.text) == (ERROR, "camera front: no frame for 3.0 s")
    assert "FAULTS: camera front" in str(monitor.status(2 * S))
    assert monitor.components(components(following, restored), WALL + 3 * S) == []
    (end,) = monitor.components(components(following, restored), WALL + 4 * S)
    assert (end.level, end.text) == (OK, "camera front: 30 Hz")
    recorder.save("success")
    found = [(event["kind"], event["text"], event["level"]) for event in recorder.dataset.episodes[0].events]
    assert found == [
        ("control_mode", "holding: no command for 0.2 s", "ok"),
        ("control_mode", "following", "ok"),
        ("component_status", "camera front: no frame for 3.0 s", "error"),
        ("component_status", "camera front: 30 Hz", "ok"),
    ]


def test_an_episode_starts_with_the_present_faults(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    (first,) = monitor.motors(motors(WARN, "winding at 40.0 °C; overload"), WALL)
    assert first.text == "a: winding at 40.0 °C; overload"
    stopped = ComponentStatus(component="control", level=ERROR, message="stopped: joint a beyond its limit")
    governor = ComponentStatus(component="governor", message="full speed")
    lost = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    monitor.components(components(stopped, governor, lost), WALL + 5)
    recorder.start()
    monitor.episode_started(WALL + 10)
    add(recorder, monitor, 0.1)
    recorder.save("success")
    assert recorder.dataset.episodes[0].events == [
        {
            "at_ns": WALL + 10,
            "kind": "control_mode",
            "text": "stopped: joint a beyond its limit",
            "mode": "",
            "level": "error",
        },
        {
            "at_ns": WALL,
            "kind": "motor_status",
            "text": "a: winding at 40.0 °C; overload",
            "joint": "a",
            "level": "warning",
        },
        {
            "at_ns": WALL + 5,
            "kind": "component_status",
            "text": "camera front: no frame for 3.0 s",
            "component": "camera front",
            "level": "error",
        },
    ]


def test_a_status_without_a_text_is_reported_by_its_level(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    notices = monitor.components(components(ComponentStatus(component="gripper", level=ERROR)), WALL)
    notices += monitor.motors(motors(WARN, ""), WALL)
    assert [(notice.level, notice.text) for notice in notices] == [(ERROR, "gripper: error"), (WARN, "a: warning")]


def control(level: int, mode: str, reason: str = "") -> dict[str, ComponentStatus]:
    message = f"{mode}: {reason}" if reason else mode
    return components(ComponentStatus(component="control", level=level, message=message, values={"mode": mode}))


def test_a_stretch_without_following_is_measured_and_recorded(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    monitor.components(control(OK, "following"), WALL)
    recorder.start()
    monitor.episode_started(WALL)
    for k in range(1, 90):
        add(recorder, monitor, k / 30)
        if 30 <= k < 45:
            monitor.components(control(ERROR, "stopped", f"robot state is {k / 30:.2f} s old"), WALL + k * S // 30)
        else:
            monitor.components(control(OK, "following"), WALL + k * S // 30)
    seconds, reason = monitor.lapse(WALL + 3 * S)
    assert seconds == pytest.approx(0.5)
    assert reason.startswith("stopped: robot state is")
    recorder.save("success")
    episode = recorder.dataset.episodes[0]
    assert [(event["mode"], event["level"]) for event in episode.events] == [
        ("following", "ok"),
        ("stopped", "error"),
        ("following", "ok"),
    ]
    (lapse,) = following.lapses(episode)
    assert lapse.seconds == pytest.approx(0.5)
    assert "the robot did not follow its commands for 0.5 s (stopped: robot state is" in following.describe([lapse])


def test_a_stretch_without_following_that_began_before_the_episode_counts_from_its_start(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    monitor.components(control(WARN, "holding", "no command for 0.2 s"), WALL)
    recorder.start()
    monitor.episode_started(WALL + 2 * S)
    add(recorder, monitor, 2.1)
    assert monitor.lapse(WALL + 3 * S) == (1.0, "holding: no command for 0.2 s")
    monitor.components(control(WARN, "holding", "no command for 0.2 s"), WALL + 3 * S)
    monitor.components(control(OK, "following"), WALL + 4 * S)
    assert monitor.lapse(WALL + 9 * S) == (2.0, "holding: no command for 0.2 s")
    recorder.save("success")
    # A later episode in which the robot follows has none.
    recorder.start()
    monitor.episode_started(WALL + 10 * S)
    assert monitor.lapse(WALL + 11 * S)[0] == 0.0
    recorder.discard()


def test_a_robot_node_that_is_gone_counts_as_not_following(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    monitor.components(control(OK, "following"), WALL)
    monitor.check(WALL, 0, PLENTY)
    recorder.start()
    monitor.episode_started(WALL)
    texts: list[str] = []
    for k in range(1, 21):
        at = k * S // 4
        texts += add(recorder, monitor, at / S)  # a robot whose other topics continue
        texts += [notice.text for notice in monitor.check(WALL + at, at, PLENTY) if notice.level == ERROR]
    assert texts == [
        "robot disconnected: no status for 3 s from the robot node; check that waldo robot is running",
    ]
    assert monitor.lapse(WALL + 5 * S)[0] == pytest.approx(2.0)
    assert monitor.condition(5 * S) != DISCONNECTED


def test_a_robot_whose_states_stop_is_disconnected_within_a_second(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    assert monitor.condition(0) == ABSENT
    add(recorder, monitor, 0.0)
    monitor.components(control(OK, "following"), WALL)
    recorder.start()
    monitor.episode_started(WALL)
    assert monitor.condition(0).word == "FOLLOWING"
    texts = [notice.text for k in range(1, 4) for notice in monitor.check(WALL + k * S // 4, k * S // 4, PLENTY)]
    assert [text for text in texts if "joints/state" in text] == [
        "no message on joints/state for 0.8 s; check that waldo robot is running"
    ]
    assert monitor.condition(3 * S // 4) == DISCONNECTED
    assert monitor.lapse(WALL + S) == (pytest.approx(0.25), "disconnected: no state from the robot node")
    # A robot node that reports why it sends no states is not gone.
    monitor.components(control(ERROR, "stopped: robot disconnected"), WALL + S)
    monitor.check(WALL + S, S, PLENTY)
    assert monitor.control is not None
    assert monitor.control.message == "stopped: robot disconnected"
    assert monitor.condition(S).reason == "stopped: robot disconnected"
    for tenths in range(11, 21):
        monitor.check(WALL + tenths * S // 10, tenths * S // 10, PLENTY)
    assert monitor.condition(2 * S).reason == "stopped: robot disconnected"
    assert monitor.condition(4 * S) == DISCONNECTED


def test_a_recorder_that_was_late_has_not_lost_its_streams(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    assert monitor.check(WALL + S // 4, S // 4, PLENTY) == []
    assert monitor.check(WALL + S, S, PLENTY) == []  # 0.75 s without looking: the messages still wait
    (notice, *_) = monitor.check(WALL + 27 * S // 20, 27 * S // 20, PLENTY)
    assert notice.text.startswith("no message on ")


def test_stamps_of_another_clock_are_part_of_each_episode(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    recorder.start()
    notices = [monitor.received("joints/state", k, WALL + k, WALL - 60 * S) for k in range(5)]
    recorder.save("success")
    assert [notice.text[:45] for found in notices for notice in found] == [
        "the stamps of joints/state are 60.0 s behind "
    ]
    assert [notice.level for found in notices for notice in found] == [ERROR]
    (event,) = recorder.dataset.episodes[0].events
    assert (event["kind"], event["stream"], event["offset_ns"] // S) == ("stamp_offset", "joints/state", 60)
    assert monitor.received("joints/command", 6, WALL + 6, WALL) == []
    recorder.start()
    monitor.episode_started(WALL)
    recorder.save("success")
    (event,) = [event for event in recorder.dataset.episodes[1].events if event["kind"] == "stamp_offset"]
    assert event["stream"] == "joints/state"
    assert event["level"] == "error"


def test_a_recorder_that_was_paused_reports_itself_and_not_the_cables(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)
    recorder.start()
    monitor.check(WALL + S // 4, S // 4, PLENTY)
    (notice,) = monitor.check(WALL + 5 * S, 5 * S, PLENTY)
    assert notice.text.startswith("the recorder did not run for 4.8 s: messages of that time may be lost or late")
    recorder.save("unknown")
    assert [event["kind"] for event in recorder.dataset.episodes[0].events] == ["recorder_paused"]


def test_what_is_not_in_order_before_an_episode_is_that_of_every_check(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    assert monitor.gates() == []
    for k in range(3):
        monitor.motors(motors(WARN, "no response"), WALL + k * S)
        monitor.motors(motors(OK, ""), WALL + k * S + S // 2)
    stamps = {"header_ns": WALL, "receipt_ns": WALL, "sequence": -1}
    both = recorder.robot.upper + 0.2
    recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
    recorder.frame("cameras/front", np.zeros((48, 64, 3), np.uint8), **stamps)
    assert [gate.name for gate in monitor.gates()] == ["camera front", "calibration a", "calibration b", "bus a"]


def test_a_breach_of_the_rules_is_noticed_once_in_each_episode(recorder: Recorder) -> None:
    monitor = RecordingMonitor(recorder, wall_ns=WALL, monotonic_ns=0)
    add(recorder, monitor, 0.0)

    def record(first_s: float) -> list[str]:
        recorder.start()
        monitor.episode_started(WALL + round(first_s * S))
        found: list[str] = []
        for k in range(60):
            at_s = first_s + k / 10
            both = np.array([k / 10, 0.0])
            stamps = {"header_ns": WALL + round(at_s * S), "receipt_ns": WALL + round(at_s * S), "sequence": -1}
            recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
            recorder.frame("cameras/front", np.full((48, 64, 3), 90, np.uint8), **stamps)
            found += [one.text for one in monitor.check(WALL + round(at_s * S), round(at_s * S), PLENTY)]
        recorder.save("failure")
        return [text.partition(": the")[0] for text in found if text.startswith(("frozen", "dark"))]

    assert sorted(record(1.0)) == sorted(record(10.0)) == ["dark: cameras/front", "frozen: cameras/front"]
    for episode in recorder.dataset.episodes:
        noted = [event["finding"] for event in episode.events if event["kind"] == "quality"]
        assert [kind for kind in noted if kind in ("frozen", "dark")] == ["dark", "frozen"]
