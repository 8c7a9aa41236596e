"""LeRobot's command line programs on emulated arms: find-port, setup-motors, calibrate, teleoperate, record, replay."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tests.lerobot_program
from tests.lerobot_program import run_lerobot
from tests.robots.drivers.servo_bench import SO101
from tests.terminal import Terminal
from waldo.robots.description import Robot
from waldo.sim.emulation.arms import ARMS, make_arm
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servo_bus import SerialServos
from waldo.typing import Array


class Hand:
    """A path of an emulated arm: its middle pose, or from one end to the other while `moving`."""

    def __init__(self, robot: Robot) -> None:
        self.robot, self.moving = robot, False

    def __call__(self, seconds: float) -> Array:
        if not self.moving:
            return (self.robot.lower + self.robot.upper) / 2
        return self.robot.lower if seconds % 0.6 < 0.3 else self.robot.upper


def read_often(servos: SerialServos) -> None:
    """Wait until a program has read the servos so often that it has seen both ends of every joint's range."""
    start, deadline = servos.requests, time.monotonic() + 120
    while servos.requests < start + 150:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_find_port_names_the_port_that_was_unplugged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lerobot.scripts import lerobot_find_port

    with FeetechServos(EmulatedJoints(SO101)) as servos:
        link = tmp_path / "ttyARM"
        link.symlink_to(servos.port)
        (tmp_path / "ttyOTHER").touch()
        monkeypatch.setattr(lerobot_find_port, "Path", lambda _: tmp_path)
        monkeypatch.setattr("builtins.input", lambda: link.unlink())
        lerobot_find_port.find_port()
    assert f"The port of this MotorsBus is '{link}'" in capsys.readouterr().out


def test_setup_motors_numbers_the_new_servos_of_a_koch_arm() -> None:
    arm = ARMS["koch"]
    robot, model = make_arm("koch", arm)
    joints = EmulatedJoints(robot, model=model)
    with DynamixelServos(joints, models=arm.motors, calibrated=False, one_by_one=True) as servos:
        assert {(servo.id, servo.memory[8]) for servo in servos.servos} == {(1, 1)}
        setup = ["setup_motors", "--robot.type=koch_follower", f"--robot.port={servos.port}"]
        printed = run_lerobot(setup, input_text="\n" * 6)
        assert printed.count("motor id set to") == 6
        servos.power_cycle()
        assert [(servo.id, servo.memory[8]) for servo in servos.servos] == [(k, 3) for k in range(1, 7)]


@pytest.mark.parametrize(("kind", "role"), [("so101_follower", "robot"), ("koch_leader", "teleop")])
def test_calibrate_measures_an_arm_in_a_hand(tmp_path: Path, kind: str, role: str) -> None:
    if kind == "koch_leader":
        robot, _ = make_arm("koch_leader", ARMS["koch_leader"])
        hand = Hand(robot)
        servos: SerialServos = DynamixelServos(
            EmulatedLeader(robot, hand), models=ARMS["koch_leader"].motors, calibrated=False
        )
    else:
        robot = SO101
        hand = Hand(robot)
        servos = FeetechServos(EmulatedLeader(robot, hand), calibrated=False)
    command = [sys.executable, tests.lerobot_program.__file__, "calibrate"]
    options = [f"--{role}.type={kind}", f"--{role}.port={servos.port}", f"--{role}.id=mine"]
    environment = {"HF_LEROBOT_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    with servos, Terminal([*command, *options], environment) as terminal:
        terminal.wait_for("middle of its range of motion and press ENTER")
        terminal.press("\r")
        terminal.wait_for("Recording positions. Press ENTER to stop")
        hand.moving = True
        read_often(servos)
        terminal.press("\r")
        assert terminal.exit_code() == 0, terminal.screen
    (path,) = tmp_path.rglob("mine.json")
    stored = json.loads(path.read_text())
    for joint in robot.joints:
        span = (stored[joint.name]["range_max"] - stored[joint.name]["range_min"]) * 2 * np.pi / 4096
        full_turn = (stored[joint.name]["range_min"], stored[joint.name]["range_max"]) == (0, 4095)
        assert full_turn or abs(span - (joint.upper - joint.lower)) < 0.02, joint.name


class Pair:
    """An emulated follower and leader, calibrated, and LeRobot's options for them."""

    def __init__(self, home: Path) -> None:
        self.follower = FeetechServos(EmulatedJoints(SO101))
        self.pose = SO101.home + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
        """Pose in which the leader is held [rad]."""
        self.leader = FeetechServos(EmulatedLeader(SO101, lambda _: self.pose))
        for kind, name, servos in (
            ("robots/so_follower", "follower", self.follower),
            ("teleoperators/so_leader", "leader", self.leader),
        ):
            stored = {
                joint: {
                    "id": servo.id,
                    "drive_mode": 0,
                    "homing_offset": servo.magnitude(31, 11),
                    "range_min": servo.get(9, 2),
                    "range_max": servo.get(11, 2),
                }
                for joint, servo in zip(SO101.joint_names, servos.servos, strict=True)
            }
            path = home / "calibration" / kind / f"{name}.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(stored))

    @property
    def robot(self) -> list[str]:
        """Options of the follower."""
        return ["--robot.type=so101_follower", f"--robot.port={self.follower.port}", "--robot.id=follower"]

    @property
    def teleop(self) -> list[str]:
        """Options of the leader."""
        return ["--teleop.type=so101_leader", f"--teleop.port={self.leader.port}", "--teleop.id=leader"]


def test_teleoperate_record_and_replay_move_the_follower(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    dataset = ["--dataset.repo_id=someone/arm", f"--dataset.root={tmp_path / 'dataset'}"]
    teleoperate = ["teleoperate", *pair.robot, *pair.teleop, "--fps=20", "--teleop_time_s=3"]
    episode = ["--dataset.num_episodes=1", "--dataset.episode_time_s=2", "--dataset.reset_time_s=0", "--dataset.fps=20"]
    record = ["record", *pair.robot, *pair.teleop, *dataset, *episode, "--dataset.single_task=hold"]
    record += ["--dataset.push_to_hub=false", "--play_sounds=false"]
    replay = ["replay", *pair.robot, *dataset, "--dataset.episode=0", "--play_sounds=false"]
    reached = pair.pose[0]
    with pair.follower, pair.leader:
        run_lerobot(teleoperate, record, home=tmp_path)
        assert abs(pair.follower.joints.position[0] - reached) < 0.05
        assert list((tmp_path / "dataset" / "data").rglob("*.parquet"))
        # Replayed without the leader, from another pose.
        pair.pose = SO101.home
        pair.follower.joints.place(SO101.home)  # type: ignore[attr-defined]
        run_lerobot(replay, home=tmp_path)
        assert abs(pair.follower.joints.position[0] - reached) < 0.1
