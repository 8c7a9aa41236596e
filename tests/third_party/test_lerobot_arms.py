"""LeRobot's Koch and OpenArm classes on the emulated arms of these names."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest
from lerobot.motors import MotorCalibration

from waldo.sim.emulation.arms import ARMS, make_arm
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_robot import load_emulated

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("lerobot_timeouts")]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def middle_calibration(device: Any) -> dict[str, MotorCalibration]:
    """Calibrate a device's servos: the present pose is the middle of a full turn."""
    device.bus.connect(handshake=True)
    for motor in device.bus.motors:
        device.bus.write("Operating_Mode", motor, 4, num_retry=5)
    offsets = device.bus.set_half_turn_homings()
    device.bus.disconnect(disable_torque=False)
    return {
        name: MotorCalibration(id=motor.id, drive_mode=0, homing_offset=offsets[name], range_min=1000, range_max=3000)
        for name, motor in device.bus.motors.items()
    }


def test_koch_follower_moves_and_its_gripper_is_limited_by_current(tmp_path: Path) -> None:
    from lerobot.robots.koch_follower import KochFollower, KochFollowerConfig

    robot, model = make_arm("koch", ARMS["koch"])
    joints = EmulatedJoints(robot, model=model)
    with DynamixelServos(joints, models=ARMS["koch"].motors, calibrated=False) as servos:
        config = KochFollowerConfig(port=servos.port, id="mine", calibration_dir=tmp_path, use_degrees=True)
        follower = KochFollower(config)
        calibration = middle_calibration(follower)
        follower.calibration = follower.bus.calibration = calibration
        follower.bus.connect()
        follower.bus.write_calibration(calibration)
        follower.configure()
        assert follower.is_calibrated
        assert [servo.memory[11] for servo in servos.servos] == [4, 4, 4, 4, 4, 5]
        start = follower.get_observation()
        goal = {**start, "shoulder_pan.pos": start["shoulder_pan.pos"] + 20.0, "gripper.pos": 60.0}

        def arrived() -> bool:
            follower.send_action(goal)
            now = follower.get_observation()
            return abs(now["shoulder_pan.pos"] - goal["shoulder_pan.pos"]) < 1 and abs(now["gripper.pos"] - 60) < 2

        until(arrived)
        follower.disconnect()
        assert not any(servo.memory[64] for servo in servos.servos)


def test_koch_leader_holds_its_gripper_open_like_a_spring(tmp_path: Path) -> None:
    from lerobot.teleoperators.koch_leader import KochLeader, KochLeaderConfig

    robot, model = make_arm("koch_leader", ARMS["koch_leader"])
    joints = EmulatedJoints(robot, model=model)
    with DynamixelServos(joints, models=ARMS["koch_leader"].motors, calibrated=False) as servos:
        leader = KochLeader(KochLeaderConfig(port=servos.port, id="mine", calibration_dir=tmp_path))
        calibration = middle_calibration(leader)
        leader.calibration = leader.bus.calibration = calibration
        leader.bus.connect()
        leader.bus.write_calibration(calibration)
        leader.configure()
        assert [servo.memory[64] for servo in servos.servos] == [0, 0, 0, 0, 0, 1]
        opened = leader.config.gripper_open_pos
        until(lambda: abs(leader.get_action()["gripper.pos"] - opened) < 3)
        leader.disconnect()


def test_openarm_sets_its_zero_and_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lerobot.robots.openarm_follower import OpenArmFollower, OpenArmFollowerConfig

    found = load_emulated("openarm_right")
    joints = found.joints()
    assert isinstance(joints, EmulatedJoints)
    joints.place(np.full(8, 0.3))
    bus = can.Bus(interface="virtual", channel="third-party-openarm")
    with DamiaoMotors(joints, bus, found.ids, found.ranges()) as motors:
        config = OpenArmFollowerConfig(
            port="third-party-openarm",
            can_interface="virtual",
            use_can_fd=False,
            id="mine",
            side="right",
            use_velocity_and_torque=True,
            calibration_dir=tmp_path,
        )
        arm = OpenArmFollower(config)
        monkeypatch.setattr("builtins.input", lambda _="": "")
        zeros = motors.zeros.copy()
        arm.connect()
        assert (motors.zeros != zeros).all(), "lerobot-calibrate makes the present pose zero"
        assert motors.enabled == [True] * 8
        goal = {f"joint_{k}.pos": 10.0 for k in range(1, 8)} | {"gripper.pos": -20.0}

        def arrived() -> bool:
            arm.send_action(goal)
            now = arm.get_observation()
            return all(abs(now[key] - value) < 5 for key, value in goal.items())

        until(arrived)
        temperatures = arm.bus.sync_read("Temperature_Rotor")
        assert all(20 <= value <= 60 for value in temperatures.values())
        arm.disconnect()
        until(lambda: motors.enabled == [False] * 8)  # LeRobot does not wait for the last motors' answers
