"""What must be in order before an episode starts, and how an operator overrides it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.damaged_files import huge_jpeg
from tests.dashboards import motor_status
from waldo.collect.recorder.checks.camera_watch import DARK_NS, CameraWatch
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.checks.start_gates import OVERRIDE_S, StartGates, camera_gates, check_gates
from waldo.collect.recorder.recorder import Recorder, RecorderError
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.recorder.requests import RecorderRequests
from waldo.collect.status_watch import StatusChange
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.rules import Rules
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, WARN

FINE = {"stopped": (), "offsets_ns": {}, "space": Space(3600.0), "faults": (), "motors": {}}


def test_nothing_is_wrong_with_a_robot_that_is_in_order() -> None:
    assert check_gates(**FINE) == []  # type: ignore[arg-type]
    cool = {"elbow": motor_status(time_to_limit_seconds=np.inf), "wrist": motor_status()}
    assert check_gates(**FINE | {"motors": cool}) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "name", "reason"),
    [
        ({"stopped": ("cameras/front",)}, "stream cameras/front", "its messages have stopped; check its driver"),
        ({"offsets_ns": {"cameras/front": 5_000_000_000}}, "clock", "are 5.0 s behind this machine's clock"),
        ({"space": Space(500.0)}, "disk", "free some space or record to another disk"),
        (
            {"faults": (StatusChange(name="elbow", level=ERROR, text="overload", at_ns=0),)},
            "fault elbow",
            "overload",
        ),
        (
            {"motors": {"elbow": motor_status(time_to_limit_seconds=12.0)}},
            "heat elbow",
            "elbow reaches its temperature limit in 12 s",
        ),
    ],
)
def test_each_gate_has_a_name_and_a_reason(wrong: dict[str, object], name: str, reason: str) -> None:
    (gate,) = check_gates(**FINE | wrong)  # type: ignore[arg-type]
    assert gate.name == name
    assert reason in gate.reason


def test_a_warning_does_not_prevent_a_start() -> None:
    warning = StatusChange(name="elbow", level=WARN, text="no response for 40 ms", at_ns=0)
    assert check_gates(**FINE | {"faults": (warning,)}) == []  # type: ignore[arg-type]


def image(value: int, noise: int = 0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.clip(value + rng.integers(-noise, noise + 1, (96, 128, 1)).repeat(3, 2), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.mark.parametrize("encode", [jpeg, np.asarray])
def test_a_camera_that_shows_nothing_is_named(encode: object) -> None:
    watch = CameraWatch(Rules())

    def add(camera: str, shown: object, at_ns: int) -> None:
        watch.image(camera, shown, at_ns, 0)  # type: ignore[arg-type]

    add("cameras/front", encode(image(3, 2)), 0)  # type: ignore[operator]
    add("cameras/wrist", encode(image(128)), 0)  # type: ignore[operator]
    add("cameras/top", encode(cv2.resize(image(128, 90)[::16, ::16], (128, 96))), 0)  # type: ignore[operator]
    add("depth/front", np.zeros((96, 128), dtype=np.uint16), 0)
    add("cameras/broken", b"no image", 0)
    add("cameras/huge", huge_jpeg(), 0)
    assert [(gate.name, gate.reason.split(";")[0]) for gate in camera_gates(watch)] == [
        ("camera front", "its image is black"),
        ("camera wrist", "its image shows one even area"),
    ]
    # Images are looked at once a second.
    bright = encode(cv2.resize(image(128, 90)[::16, ::16], (128, 96)))  # type: ignore[operator]
    add("cameras/front", bright, DARK_NS // 2)
    assert len(camera_gates(watch)) == 2
    add("cameras/front", bright, DARK_NS)
    add("cameras/wrist", bright, DARK_NS)
    assert camera_gates(watch) == []


def test_a_camera_whose_image_does_not_change_while_the_robot_moves_is_named() -> None:
    watch, bright = CameraWatch(Rules()), cv2.resize(image(128, 90)[::16, ::16], (128, 96))
    for k in range(30):  # the robot stands still
        watch.state(np.zeros(2))
        watch.image("cameras/front", bright, k * 10**8, 0)
    assert camera_gates(watch) == []
    watch.state(np.array([0.0, 0.2]))
    watch.image("cameras/front", bright.copy(), 3 * 10**9, 0)
    (gate,) = camera_gates(watch)
    assert gate.name == "camera front"
    assert gate.reason.startswith("its image does not change while the robot moves")
    watch.image("cameras/front", bright + np.uint8(1), 3 * 10**9 + 1, 0)
    assert camera_gates(watch) == []


def test_a_second_start_overrides_what_the_first_one_named() -> None:
    closed = [Gate(name="disk", reason="full soon")]
    gates = StartGates(lambda: closed)
    text, _ = gates.refusal(0.0)
    assert text == "disk: full soon. Start again to record anyway, which is noted in the episode"
    # Another gate has closed meanwhile.
    closed.append(Gate(name="heat", reason="hot"))
    assert gates.refusal(1.0)[0]
    assert gates.refusal(1.0 + OVERRIDE_S) == ("", closed)
    # The next episode is asked for again, and a late second start too.
    assert gates.refusal(20.0)[0]
    assert gates.refusal(20.1 + OVERRIDE_S)[0]
    closed.clear()
    assert gates.refusal(40.0) == ("", [])


def test_an_override_is_noted_in_the_episode(tmp_path: Path, toy_robot: Robot) -> None:
    recorder = Recorder(Dataset.create(tmp_path / "set", robot="toy"), toy_robot, {})
    monitor = RecordingMonitor(recorder, wall_ns=0, monotonic_ns=0)
    operator = RecorderRequests(
        recorder,
        monitor,
        expected=lambda: (),
        drain=lambda: None,
        now_ns=lambda: 10**9,
        gates=lambda: [Gate(name="heat", reason="elbow reaches its temperature limit in 12 s")],
    )
    both = np.zeros(2)
    values = {"position": both, "velocity": both, "effort": both}
    with recorder.dataset.lock():
        for k in range(6):
            recorder.row("joints/state", values=values, header_ns=k * 10**7, receipt_ns=k * 10**7, sequence=k + 1)
        with pytest.raises(RecorderError, match=r"^cannot start: heat: elbow reaches its temperature limit in 12 s"):
            operator.start()
        operator.start()
        recorder.row("joints/state", values=values, header_ns=10**9, receipt_ns=10**9, sequence=7)
        operator.save()
        recorder.close()
        recorder.dataset.wait()
    (episode,) = recorder.dataset.episodes
    (event,) = [one for one in episode.events if one["kind"] == "gate_overridden"]
    assert event["text"] == "heat: elbow reaches its temperature limit in 12 s"
    assert event["gate"] == "heat"


def test_an_override_counts_for_one_start() -> None:
    gates = StartGates(lambda: [Gate(name="disk", reason="full soon")])
    assert gates.refusal(0.0)[0]
    assert gates.refusal(1.0)[0] == ""
    assert gates.refusal(2.0)[0]


def test_the_motion_before_an_image_changed_does_not_count() -> None:
    watch, first = CameraWatch(Rules()), np.repeat(np.arange(64, dtype=np.uint8), 48 * 3).reshape(64, 48, 3)
    watch.image("cameras/front", first, 0, 0)
    for position in (0.0, 1.0):
        watch.state(np.array([position, np.nan if position else 0.0]))
    watch.image("cameras/front", first + np.uint8(1), 10**8, 0)
    watch.state(np.zeros(2))
    watch.image("cameras/front", first + np.uint8(1), 10**9, 0)
    assert camera_gates(watch) == []
    watch.state(np.array([0.2, np.nan]))  # an unknown position hides no motion
    watch.image("cameras/front", first + np.uint8(1), 2 * 10**9, 0)
    assert len(camera_gates(watch)) == 1


def test_the_brightness_is_checked_after_a_clock_was_set_back() -> None:
    watch, bright = CameraWatch(Rules()), np.repeat(np.arange(64, dtype=np.uint8), 48 * 3).reshape(64, 48, 3)
    watch.image("cameras/front", bright, 10**12, 0)
    watch.image("cameras/front", np.zeros_like(bright), 10**9, 0)
    assert [gate.reason for gate in camera_gates(watch)] == ["its image is black; check its lens cap and exposure"]
