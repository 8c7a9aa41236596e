from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.leader import REMIND_S, RETRY_S, EngageOptions, Leader, LeaderArm
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot, load_robot
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.emulated_robot import load_emulated
from waldo.sim.emulation.feetech import FeetechServos

DT_S = 0.01
SO101 = load_robot("so101")


def until(condition: Callable[[], object]) -> bool:
    """Return whether a condition holds within a minute: emulated servos have a thread of their own."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class FixedLeader(Leader):
    """A leader whose pose tests set."""

    pose = np.zeros(2)

    def connect(self) -> None: ...

    def angles(self) -> np.ndarray:
        return self.pose

    def disconnect(self) -> None: ...


def at(*position: float) -> Observation:
    return Observation(stamp_ns=0, position=np.array(position), environment={})


@pytest.fixture
def leader(toy_robot: Robot) -> FixedLeader:
    return FixedLeader(toy_robot, EngageOptions())


def test_the_robot_follows_a_close_leader_until_it_is_far(leader: FixedLeader) -> None:
    session = RecordingSession()
    assert leader.step(at(0.31, 0), session, DT_S) is None
    np.testing.assert_array_equal(leader.step(at(0.3, 0), session, DT_S), [0, 0])
    assert leader.step(at(1.0, 0), session, DT_S) is not None
    assert leader.step(at(1.01, 0), session, DT_S) is None
    assert leader.step(at(0.9, 0), session, DT_S) is None


def test_targets_are_limited_to_the_robots_range(leader: FixedLeader) -> None:
    leader.pose = np.array([2.5, 0.0])
    np.testing.assert_array_equal(leader.step(at(1.9, 0), RecordingSession(), DT_S), [2.0, 0.0])


@pytest.mark.parametrize("key", ["space", "v", "n"])
def test_after_a_stop_the_leader_must_be_close_again(leader: FixedLeader, key: str) -> None:
    session = RecordingSession()
    assert leader.step(at(0.1, 0), session, DT_S) is not None
    leader.keys.press(key)
    assert leader.step(at(0.5, 0), session, DT_S) is None
    assert leader.step(at(0.1, 0), session, DT_S) is not None


def test_other_keys_do_not_release_the_robot(leader: FixedLeader) -> None:
    session = RecordingSession()
    assert leader.step(at(0.1, 0), session, DT_S) is not None
    leader.keys.press("1")
    assert leader.step(at(0.5, 0), session, DT_S) is not None
    assert session.services == ["save"]


def test_the_joint_that_prevents_engaging_is_named_at_intervals(leader: FixedLeader) -> None:
    session = RecordingSession()
    for _ in range(round(1.5 * REMIND_S / DT_S)):
        leader.step(at(0.1, 0.5), session, DT_S)
    assert session.texts == ["b of the leader is 0.50 rad from the robot; move it closer to engage"] * 2
    for _ in range(5):
        leader.step(at(0.1, 0.1), session, DT_S)
    assert session.texts[2:] == ["following the leader"]


def test_an_emulated_leader_arm_is_followed_while_it_is_close() -> None:
    session = RecordingSession()
    with FeetechServos(EmulatedLeader(load_robot("so101_leader"), lambda _: SO101.home)) as servos:
        device = LeaderArm(SO101, load_robot("so101_leader"), port=servos.port, response_timeout_s=1.0)
        device.open()

        def step(position: np.ndarray) -> Any:
            return device.step(Observation(stamp_ns=0, position=position, environment={}), session, 0.01)

        assert step(SO101.home + 0.5) is None
        assert step(SO101.home + 0.5) is None
        found = step(SO101.home + 0.1)
        np.testing.assert_allclose(found, SO101.home, atol=2e-3)
        # A lagging robot keeps following, one that was pushed away does not.
        assert step(SO101.home + 0.8) is not None
        assert step(SO101.home + 1.2) is None
        assert step(SO101.home + 0.8) is None
        # A message is repeated only when it changes; which joint is farthest may change by a count.
        assert session.texts[0].endswith("of the leader is 0.50 rad from the robot; move it closer to engage")
        assert session.texts.count("following the leader") == 1
        assert session.texts[-1].endswith("rad from the robot; move it closer to engage")
        servos.unplug()
        assert step(SO101.home) is None
        assert session.texts[-1].startswith("the leader was disconnected, the robot holds: ")
        device.close()
        assert not any(servo.memory[40] for servo in servos.servos)


class UnreliableLeader(FixedLeader):
    """A leader that can be unplugged."""

    plugged = True
    connections = 0

    def connect(self) -> None:
        if not self.plugged:
            raise HardwareError("/dev/ttyACM1 does not exist")
        self.connections += 1

    def angles(self) -> np.ndarray:
        if not self.plugged:
            raise HardwareError("/dev/ttyACM1 was disconnected")
        return self.pose


def test_an_unplugged_leader_lets_the_robot_hold_and_is_connected_again(toy_robot: Robot) -> None:
    leader, session = UnreliableLeader(toy_robot, EngageOptions()), RecordingSession()
    assert leader.step(at(0, 0), session, DT_S) is not None
    leader.plugged = False
    for _ in range(250):
        assert leader.step(at(0, 0), session, DT_S) is None
    assert session.texts[1:] == ["the leader was disconnected, the robot holds: /dev/ttyACM1 was disconnected"]
    leader.plugged = True
    steps = [leader.step(at(0.5, 0), session, DT_S) for _ in range(round(RETRY_S / DT_S) + 1)]
    # It was moved meanwhile, so it must be engaged again.
    assert steps == [None] * len(steps)
    assert leader.connections == 1
    assert session.texts[2] == "the leader is connected again; move it close to the robot's pose"
    assert leader.step(at(0.1, 0), session, DT_S) is not None


def test_a_trigger_moves_the_gripper_over_its_whole_range() -> None:
    robot = load_robot("vx300s")
    emulated = load_emulated("vx300s_leader")
    trigger = emulated.robot.joints[-1]
    pose = [np.append(emulated.robot.home[:-1], trigger.lower)]
    with DynamixelServos(emulated.joints(lambda _: pose[0]), emulated.ids, models=emulated.motors) as servos:
        leader = LeaderArm(robot, driver="dynamixel", port=servos.port)
        leader.connect()
        closed = leader.angles()
        np.testing.assert_allclose(closed[:-1], robot.home[:-1], atol=0.01)
        assert closed[-1] == pytest.approx(robot.lower[-1], abs=0.01)
        pose[0] = np.append(emulated.robot.home[:-1], trigger.upper)
        assert until(lambda: leader.angles()[-1] == pytest.approx(robot.upper[-1], abs=0.01))
        leader.disconnect()


def test_a_leader_with_other_joints_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"joints of the leader so101_leader.*as many as vx300s"):
        LeaderArm(load_robot("vx300s"), arm="so101_leader", port="unused")


def test_the_operator_feels_the_robot_only_while_it_follows() -> None:
    """The servos' goals are the robot's pose while it follows, else their own one; their torque is limited."""
    path = SO101.home + np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    arm = EmulatedLeader(load_robot("so101_leader"), lambda seconds: path)
    with FeetechServos(arm) as servos:
        leader = LeaderArm(SO101, port=servos.port, feel_ratio=0.1)
        leader.connect()
        limits = [servos.at(servo)[0].get(48, 2) for servo in range(1, 7)]
        session, blocked = RecordingSession(), SO101.home - np.array([0.15, 0.0, 0.0, 0.0, 0.0, 0.0])

        def settles(position: np.ndarray, expected: float) -> bool:
            """Return whether the goal of the first joint becomes as expected, relative to where the leader is [rad]."""
            for _ in range(200):
                leader.step(Observation(stamp_ns=0, position=position, environment={}), session, DT_S)
                time.sleep(0.005)
                goal = (servos.at(1)[0].get(42, 2) - servos.at(1)[0].get(56, 2)) * 2 * np.pi / 4096
                if goal == pytest.approx(expected, abs=0.01):
                    return True
            return False

        assert settles(blocked, -0.25)
        assert leader.engaged
        leader.keys.press("space")
        assert settles(SO101.home + np.array([0.9, 0.0, 0.0, 0.0, 0.0, 0.0]), 0.0)
        assert not leader.engaged
        assert settles(blocked, -0.25)
        assert settles(np.full(6, np.nan), 0.0)
        leader.disconnect()
        assert until(lambda: not any(servos.at(servo)[0].get(40, 1) for servo in range(1, 7)))
    assert limits == [100] * 6  # thousandths


@pytest.mark.parametrize("ratio", [-0.1, 0.6, float("nan")])
def test_a_leader_that_a_hand_could_not_move_is_refused(ratio: float) -> None:
    with pytest.raises(InvalidValueError, match="feel_ratio"):
        LeaderArm(SO101, port="unused", feel_ratio=ratio)
