"""The headset: each fault stops the robot in its cycle with a reason, and the operator has to release and engage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from human_hand import tracked_hand
from tracking_source import TestedSource

from waldo.collect.devices import headset as headset_module
from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation, parse_device_options
from waldo.collect.devices.headset import Headset, HeadsetOptions
from waldo.collect.retargeting.frames import rotation_matrix
from waldo.collect.retargeting.retargeter import Retargeted, Retargeter
from waldo.collect.robot_condition import RobotCondition
from waldo.errors import InvalidValueError, MissingExtraError, UnknownNameError
from waldo.robots.description import Robot, load_robot

DT_S = 1 / 60


class Rig:
    """A headset, its source, and a robot that follows exactly."""

    def __init__(self, robot: Robot, source: TestedSource, **options: object) -> None:
        self.source, self.session = source, RecordingSession()
        self.device = Headset(robot, source=source, clock_ns=source.clock_ns, **options)
        self.position = robot.home.copy()
        self.heat: dict[str, float] = {}

    def step(self, cycles: int = 1) -> np.ndarray | None:
        """Run cycles with fresh samples and return the last command."""
        for _ in range(cycles):
            if self.source.sample is not None:
                self.source.change(stamp_ns=self.source.now_ns, number=self.source.sample.number + 1)
            command = self.stale_step()
        return command

    def stale_step(self) -> np.ndarray | None:
        """Run a cycle without a fresh sample."""
        observation = Observation(stamp_ns=0, position=self.position.copy(), environment={}, heat_margins=self.heat)
        command = self.device.step(observation, self.session, DT_S)
        self.source.now_ns += int(DT_S * 1e9)
        if command is not None:
            self.position = command.copy()
        return command

    def engage(self) -> None:
        """Release and squeeze both controllers."""
        self.source.squeeze(0.0)
        assert self.step() is None
        self.source.squeeze(1.0)
        assert self.step() is not None

    @property
    def last_text(self) -> str:
        assert self.session.texts == self.source.texts
        return self.session.texts[-1] if self.session.texts else ""


@pytest.fixture
def rig() -> Rig:
    return Rig(load_robot("bi_openarm"), TestedSource())


def effector(rig: Rig, side: str) -> np.ndarray:
    """Return the pose of an end effector at the robot's position."""
    retargeter = Retargeter(rig.device._retargeter.robot)
    retargeter.reset(rig.position, rig.position)
    return retargeter.pose(side)


def test_an_arm_follows_its_hand_and_the_other_one_stays(rig: Rig) -> None:
    rig.source.squeeze(0.0)
    rig.step()
    before = {side: effector(rig, side) for side in ("left", "right")}
    rig.source.squeeze(1.0, "right")
    assert rig.step() is not None
    for _ in range(20):
        rig.source.move("right", (0.0, 0.004, -0.002))  # up and forward
        rig.step()
    rig.step(60)
    moved = effector(rig, "right")[:3, 3] - before["right"][:3, 3]
    np.testing.assert_allclose(moved, [0.04, 0, 0.08], atol=2e-3)
    np.testing.assert_allclose(effector(rig, "left"), before["left"], atol=1e-9)


def test_the_operator_moves_on_after_releasing(rig: Rig) -> None:
    rig.engage()
    rig.source.squeeze(0.0)
    assert rig.step() is None
    assert rig.last_text == "released: the robot holds"
    held = rig.position.copy()
    rig.source.move("right", (0.3, 0.2, 0.1))  # the arm does not follow
    assert rig.step() is None
    rig.source.squeeze(1.0)
    command = rig.step()
    assert command is not None
    arms = [j for arm in rig.device._retargeter.arms.arms.values() for j in arm.joints]
    np.testing.assert_allclose(command[arms], held[arms], atol=2e-3)
    assert rig.last_text == "following: left and right"


def test_a_second_hand_engages_without_moving_the_first(rig: Rig) -> None:
    rig.source.squeeze(0.0)
    rig.step()
    rig.source.squeeze(1.0, "left")
    rig.step()
    rig.source.move("left", (0.0, 0.03, 0.0))
    rig.step(60)
    before = effector(rig, "left")
    rig.source.squeeze(1.0, "right")
    rig.step(5)
    assert rig.last_text == "following: left and right"
    np.testing.assert_allclose(effector(rig, "left"), before, atol=1e-3)


def lose_hand(rig: Rig) -> None:
    rig.source.change(hands={"left": rig.source.sample.hands["left"]})


def estimate_hand(rig: Rig) -> None:
    rig.source.hand("right", tracked=False)


def corrupt(rig: Rig) -> None:
    rig.source.hand("right", trigger=np.nan)


def delay_video(rig: Rig) -> None:
    rig.source.change(video_age_s=0.8)


def mirror(rig: Rig) -> None:
    pose = rig.source.sample.hands["right"].pose.copy()
    pose[:3, 0] *= -1
    rig.source.hand("right", pose=pose)


def recenter(rig: Rig) -> None:
    rig.source.move("right", (0.0, 0.0, -0.3))


def turn(rig: Rig) -> None:
    pose = rig.source.sample.hands["right"].pose.copy()
    pose[:3, :3] = rotation_matrix(np.array([0, 1.0, 0])) @ pose[:3, :3]
    rig.source.hand("right", pose=pose)


def put_down(rig: Rig) -> None:
    rig.source.hand("right", joints=tracked_hand("right", pose=rig.source.sample.hands["right"].pose, curl=1.0).joints)


FAULTS: dict[str, tuple[Callable[[Rig], None], str]] = {
    "hand lost": (lose_hand, "the right hand is not tracked"),
    "hand estimated": (estimate_hand, "the right hand is not tracked"),
    "not finite": (corrupt, "the pose of the right hand contains a number that is not finite"),
    "video late": (delay_video, "the video is 0.8 s old, more than 0.5 s"),
    "jumped": (recenter, "the right hand has jumped by 30 cm"),
    "turned": (turn, "the right hand has jumped by 57 degrees"),
    "controller put down": (put_down, "the right hand has changed to a bare hand"),
    "mirrored": (mirror, "the right hand's frame is mirrored"),
}
"""Name -> the fault and its reason."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_stops_within_its_cycle_and_has_to_be_cleared_by_releasing(name: str, rig: Rig) -> None:
    fault, reason = FAULTS[name]
    rig.engage()
    good = rig.source.sample
    fault(rig)
    assert rig.step() is None
    assert rig.last_text == f"{reason}: the robot holds; release and squeeze again"
    # The fault is over, and the operator still squeezes.
    rig.source.sample = replace(good, stamp_ns=rig.source.now_ns)
    assert rig.step(5) is None
    rig.engage()


def test_a_sample_older_than_two_cycles_stops_the_robot(rig: Rig) -> None:
    rig.engage()
    assert [rig.stale_step() is None for _ in range(4)] == [False, False, True, True]
    assert "the headset's last pose is 50 ms old, more than 33 ms: the robot holds" in rig.session.texts[-2]
    assert rig.step(5) is None
    rig.engage()


def test_the_largest_age_is_an_option() -> None:
    rig = Rig(load_robot("so101"), TestedSource(), max_age_s=0.1)
    rig.engage()
    assert [rig.stale_step() is None for _ in range(7)] == [False] * 6 + [True]


def test_a_hand_that_was_lost_while_squeezing_has_released_nothing(rig: Rig) -> None:
    rig.engage()
    good = rig.source.sample
    lose_hand(rig)
    assert rig.step(10) is None
    rig.source.sample = replace(good, stamp_ns=rig.source.now_ns)
    assert rig.step(5) is None


def test_a_switch_that_is_held_at_the_start_does_not_engage(rig: Rig) -> None:
    rig.source.squeeze(1.0)
    assert rig.step(10) is None
    rig.engage()


def test_before_the_first_sample_the_reason_is_shown(rig: Rig) -> None:
    rig.source.sample = None
    assert rig.step() is None
    assert rig.last_text == "the headset has sent no pose yet: the robot does not move"


def test_a_reason_is_shown_once_and_then_at_intervals(rig: Rig) -> None:
    rig.source.sample = None
    rig.step(60)
    assert len(rig.session.texts) == 1
    rig.step(200)
    assert len(rig.session.texts) == 2


def test_a_mirrored_bare_hand_does_not_move_the_arm() -> None:
    rig = Rig(load_robot("g1_dex3"), TestedSource(bare=True))
    assert rig.step() is None
    folded = tracked_hand("left", curl={"ring": 1.0, "pinky": 1.0})
    flip = np.array([-1, 1, 1])
    rig.source.hand("left", joints=(folded.joints - folded.pose[:3, 3]) * flip + folded.pose[:3, 3])
    assert rig.step(10) is None
    assert rig.session.texts == [
        "the left hand is mirrored: its palm is where the headset reports the back of the hand: the robot does not move"
    ]
    rig.source.hand("left", joints=tracked_hand("left").joints)
    rig.step()
    rig.source.hand("left", joints=folded.joints)
    assert rig.step() is not None


def test_a_bare_hand_engages_by_folded_fingers_and_pinches_a_dex3() -> None:
    robot = load_robot("g1_dex3")
    rig = Rig(robot, TestedSource(bare=True))
    rig.step()
    task = rig.device._retargeter.fingers["right"].task
    distances = []
    for pinch in (0.0, 1.0, 0.0):
        curl = {"ring": 1.0, "pinky": 1.0}
        rig.source.hand("right", joints=tracked_hand("right", curl=curl, pinch=pinch).joints)
        assert rig.step(60) is not None
        distances.append(task.distance("thumb", "index"))
    assert distances[1] < 0.02 < 0.06 < min(distances[0], distances[2])


def test_the_other_hand_can_be_the_dead_man_switch() -> None:
    rig = Rig(load_robot("so101"), TestedSource(), dead_man="other")
    rig.source.squeeze(0.0)
    rig.step()
    rig.source.squeeze(1.0, "right")
    assert rig.step() is None
    rig.source.squeeze(1.0, "left")
    assert rig.step() is not None
    rig.source.change(hands={"right": rig.source.sample.hands["right"]})
    assert rig.step() is None
    assert "the left hand is not tracked" in rig.last_text


def test_a_trigger_closes_the_gripper() -> None:
    robot = load_robot("so101")
    rig = Rig(robot, TestedSource())
    rig.engage()
    for trigger, expected in ((1.0, robot.lower[5]), (0.0, robot.upper[5])):
        rig.source.hand("right", trigger=trigger)
        rig.step(120)
        assert rig.position[5] == pytest.approx(expected)


def test_buttons_request_their_services_once_and_a_stop_disengages(rig: Rig) -> None:
    rig.engage()
    start = tuple(number == 4 for number in range(6))
    rig.source.hand("right", buttons=start)
    rig.source.hand("left", buttons=start)
    assert rig.step(3) is not None
    assert rig.session.services == ["save", "start"]
    rig.source.hand("right", buttons=tuple(number == 5 for number in range(6)))
    assert rig.step(3) is None
    assert rig.session.services == ["save", "start", "stop_motion"]
    rig.engage()


def test_the_operator_feels_and_reads_that_a_target_is_out_of_reach(rig: Rig) -> None:
    rig.engage()
    for _ in range(40):
        rig.source.move("right", (0.0, 0.0, -0.05))
        rig.step()
    rig.step(20)
    assert {side for side, _ in rig.source.vibrations} == {"right"}
    assert 1 <= len(rig.source.vibrations) <= 3  # at intervals
    assert rig.last_text == "right out of reach"


def test_the_operator_feels_and_reads_that_a_joint_is_hot(rig: Rig) -> None:
    rig.heat = {"left_joint_1": 0.1, "left_joint_2": 0.9}
    rig.engage()
    rig.step(2)
    assert {side for side, _ in rig.source.vibrations} == {"left", "right"}
    assert rig.last_text == "left_joint_1 near the heat limit"


def test_a_failed_retargeting_stops_and_names_the_reason(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.engage()

    def fail(*_: object) -> Retargeted:
        return Retargeted(command=rig.position, fault="the retargeting found no solution")

    monkeypatch.setattr(rig.device._retargeter, "step", fail)
    assert rig.step() is None
    assert rig.last_text == "the retargeting found no solution: the robot holds; release and squeeze again"
    monkeypatch.undo()
    assert rig.step(3) is None
    rig.engage()


def test_it_opens_closes_and_finishes_with_its_source(rig: Rig) -> None:
    rig.device.open()
    rig.device.close()
    assert (rig.source.opened, rig.source.closed) == (1, 1)
    assert not rig.device.finished
    rig.source.finished = True
    assert rig.device.finished


def test_options_are_checked() -> None:
    for values in (
        {"scale": 0.0},
        {"scale": 2.5},
        {"max_age_s": -1.0},
        {"max_video_age_s": 0.0},
        {"filter_hz": np.nan},
    ):
        with pytest.raises(InvalidValueError):
            HeadsetOptions(**values)
    with pytest.raises(UnknownNameError, match=r"unknown option 'scal'; did you mean 'scale'"):
        Headset(load_robot("so101"), source=TestedSource(), scal=1.0)


def test_the_command_starts_at_the_command_that_the_robot_holds(rig: Rig) -> None:
    rig.source.squeeze(0.0)
    rig.step()
    rig.source.squeeze(1.0)
    applied = rig.position + 0.04  # the robot droops below the command that it holds
    applied[1] = rig.position[1] + 0.5  # this joint was moved by other means
    rig.source.change(stamp_ns=rig.source.now_ns)
    observation = Observation(stamp_ns=0, position=rig.position, environment={}, applied=applied)
    command = rig.device.step(observation, rig.session, DT_S)
    assert command is not None
    arms = [j for arm in rig.device._retargeter.arms.arms.values() for j in arm.joints]
    expected = np.clip(applied, rig.device._retargeter.robot.lower, rig.device._retargeter.robot.upper)
    expected[1] = rig.position[1]
    np.testing.assert_allclose(command[arms], expected[arms], atol=2e-3)


def test_the_command_line_converts_options_of_headset_retargeting_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headset_module, "SOURCE", "tracking_source:TestedSource")
    options = parse_device_options("headset", ["scale=0.5", "speed_ratio=0.25", "self_collision=no"])
    assert options == {"scale": 0.5, "speed_ratio": 0.25, "self_collision": False}


def test_the_default_source_gets_the_robot_and_the_remaining_options(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, dict]] = []

    class Server(TestedSource):
        def __init__(self, robot: Robot, **options: object) -> None:
            super().__init__()
            made.append((robot.name, options))

    monkeypatch.setattr(headset_module, "_source_class", lambda: Server)
    Headset(load_robot("so101"), scale=0.5, port=8443, heat_margin=0.3)
    assert made == [("so101", {"port": 8443})]


def test_a_missing_source_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headset_module, "SOURCE", "missing_package:Server")
    with pytest.raises(MissingExtraError, match=r"'missing_package' is not installed; .* --extra headset"):
        Headset(load_robot("so101"))


def test_a_stop_that_the_source_requests_lets_go(rig: Rig) -> None:
    rig.engage()
    requested = ["stop_motion"]
    rig.source.take_requests = lambda: [requested.pop() for _ in list(requested)]
    assert rig.step() is None
    assert rig.session.services == ["stop_motion"]
    # The switch that is still held engages nothing.
    assert rig.step(5) is None
    rig.engage()


def test_images_and_the_condition_reach_a_source_that_shows_them(rig: Rig) -> None:
    condition = RobotCondition(word="HOLDING", level=0)
    rig.device.image("cameras/front", b"\xff\xd8", 7)
    rig.device.condition(condition)
    shown: list[object] = []
    rig.source.image = lambda *values: shown.append(values)
    rig.source.condition = shown.append
    rig.device.image("cameras/front", b"\xff\xd8", 7)
    rig.device.condition(condition)
    assert shown == [("cameras/front", b"\xff\xd8", 7), condition]
