"""`waldo calibrate` with emulated servos."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.robots.drivers.servo_bench import DRIVERS, SO101, Bench, until
from tests.terminal import Terminal
from waldo.cli.calibrate import Calibrate
from waldo.errors import HardwareError, UnsupportedOptionError
from waldo.robots.description import Robot
from waldo.robots.drivers import calibration, feetech
from waldo.robots.drivers.calibration import FULL_TURN_RAD, ServoCalibration
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos
from waldo.typing import Array

WALDO = (sys.executable, "-m", "waldo")
FULL_TURN = SO101.upper - SO101.lower > FULL_TURN_RAD
"""Which joints are calibrated as full-turn joints."""


@pytest.fixture(params=list(DRIVERS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An emulated arm."""
    bench = Bench(request.param)
    with bench.servos:
        yield bench


def test_other_drivers_are_rejected() -> None:
    with pytest.raises(
        UnsupportedOptionError, match=r"not supported with --driver damiao \(supported: feetech, dynamixel\); use the"
    ):
        Calibrate(robot="so101", driver="damiao").run()


def test_a_file_that_differs_from_the_servos_is_rejected_and_can_be_restored(bench: Bench, tmp_path: Path) -> None:
    driver = bench.driver()
    driver.connect()
    stored = driver.stored()
    path = tmp_path / "arm.json"
    calibration.save(path, SO101.joint_names, stored)
    driver.disconnect()
    good = bench.driver(calibration=str(path))
    good.connect()
    good.disconnect()
    moved = [dataclasses.replace(stored[0], homing_offset=stored[0].homing_offset + 7), *stored[1:]]
    calibration.save(path, SO101.joint_names, moved)
    with pytest.raises(
        HardwareError, match=r"shoulder_pan \(id 1\) has homing offset .*waldo calibrate so101 --driver .* --rest"
    ):
        bench.driver(calibration=str(path)).connect()
    done = subprocess.run(
        [
            *WALDO,
            "calibrate",
            "so101",
            f"--driver={bench.vendor}",
            f"--port={bench.servos.port}",
            f"--restore={path}",
            "--yes",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    good.connect()
    good.disconnect()
    # The calibration is stored in non-volatile memory.
    bench.servos.power_cycle()
    good.connect()
    assert good.stored()[0] == moved[0]
    good.disconnect()


class Hand:
    """A path of an emulated arm: the middle pose, or from one end to the other while `moving`."""

    def __init__(self, robot: Robot) -> None:
        self.robot, self.moving = robot, False

    def __call__(self, seconds: float) -> Array:
        if not self.moving:
            return (self.robot.lower + self.robot.upper) / 2
        return self.robot.lower if seconds % 0.6 < 0.3 else self.robot.upper


@contextmanager
def held_arm(*, calibrated: bool = False) -> Iterator[tuple[FeetechServos, Hand]]:
    """Run the emulated servos of an arm in a hand."""
    hand = Hand(SO101)
    with FeetechServos(EmulatedLeader(SO101, hand), calibrated=calibrated) as servos:
        yield servos, hand


def calibrating(servos: FeetechServos, *options: str) -> Terminal:
    """Run `waldo calibrate so101` in a terminal, patient with servos that a busy machine emulates late."""
    patient = ("--option", "response_timeout_s=1")
    return Terminal([*WALDO, "calibrate", "so101", "--port", servos.port, *patient, *options])


def test_an_arm_is_calibrated_interactively(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with held_arm() as (servos, hand), calibrating(servos, "--output", str(path)) as terminal:
        terminal.wait_for("Press Enter when it is supported")
        terminal.press("\r")
        terminal.wait_for("1. The torque is disabled. Place every joint in the middle of the range, then press Enter.")
        terminal.press("\r")
        terminal.wait_for("from one end to the other, then press Enter.")
        terminal.press("\r")  # before the joints were moved
        terminal.wait_for_printed("not moved over the range: shoulder_pan by")
        hand.moving = True
        time.sleep(2)
        terminal.press("\r")
        terminal.wait_for("3. Press Enter to store the calibration, or type the names of joints")
        terminal.press("elbow\r")
        terminal.wait_for("unknown joint elbow (known: shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, gripper)")
        terminal.press("gripper\r")
        terminal.wait_for("2. Move gripper from one end to the other")
        time.sleep(2)
        terminal.press("\r")
        terminal.wait_for_printed("3. Press Enter to store the calibration, or type the names of joints")
        time.sleep(0.5)  # the same question again: its text is on the screen twice
        terminal.press("\r")
        assert terminal.exit_code() == 0, terminal.screen
        kept = json.loads(path.read_text())
        assert (kept["wrist_roll"]["range_min"], kept["wrist_roll"]["range_max"]) == (0, 4095)
        for joint, name in zip(SO101.joints, SO101.joint_names, strict=True):
            span = (kept[name]["range_max"] - kept[name]["range_min"]) * 2 * np.pi / 4096
            assert name == "wrist_roll" or abs(span - (joint.upper - joint.lower)) < 0.01
        servos.joints.path = lambda _: SO101.home  # type: ignore[attr-defined]
        driver = feetech.FeetechDriver(SO101, port=servos.port, torque=False, response_timeout_s=1.0)
        driver.connect()
        found = until(driver, lambda s: bool(np.abs(s.position - SO101.home)[~FULL_TURN].max() < 0.01))
        # The zero of the full-turn roll joint is its position in the middle pose.
        middle = (SO101.lower + SO101.upper) / 2
        np.testing.assert_allclose(found.position[4], SO101.home[4] - middle[4], atol=0.01)
        driver.disconnect()


def test_one_joint_is_calibrated_and_the_others_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "arm.json"
    with held_arm(calibrated=True) as (servos, hand):
        before = stored(servos)
        with calibrating(servos, "--joints", "gripper", "--output", str(path)) as terminal:
            terminal.wait_for("Press Enter when it is supported")
            terminal.press("\r")
            terminal.wait_for("Place gripper in the middle of the range")
            terminal.press("\r")
            terminal.wait_for("2. Move gripper from one end to the other")
            hand.moving = True
            time.sleep(2)
            terminal.press("\r")
            terminal.wait_for("3. Press Enter to store")
            terminal.press("\r")
            assert terminal.exit_code() == 0, terminal.screen
        after = calibration.load(path, SO101.joint_names)
        assert after == stored(servos)
        assert after[:5] == before[:5]
        assert after[5] != before[5]


def test_nothing_changes_before_the_operator_has_agreed() -> None:
    bench = Bench("feetech")
    with bench.servos as servos:
        driver = bench.driver()
        driver.connect()
        before = [bytes(servo.memory[:48]) for servo in servos.servos]
        driver.disconnect()
        with calibrating(servos) as terminal:
            terminal.wait_for("Support the arm: the torque of the servos on")
            terminal.press("\x03")
            assert terminal.exit_code() == 130
        assert [bytes(servo.memory[:48]) for servo in servos.servos] == before
        assert before[0][bench.enable] == 1


def test_an_interrupted_calibration_restores_the_previous_one() -> None:
    with held_arm(calibrated=True) as (servos, _hand):
        before = stored(servos)
        with calibrating(servos) as terminal:
            terminal.wait_for("Press Enter when it is supported")
            terminal.press("\r")
            terminal.wait_for("Place every joint in the middle")
            terminal.press("\x03")
            assert terminal.exit_code() == 130
            assert "the previous calibration was restored" in terminal.printed
        assert stored(servos) == before


def stored(servos: FeetechServos) -> tuple[ServoCalibration, ...]:
    """Return the calibration in the servos."""
    driver = feetech.FeetechDriver(SO101, port=servos.port, torque=False, response_timeout_s=1.0)
    driver.open()
    try:
        return driver.stored()
    finally:
        driver.disconnect()


def test_a_calibration_is_not_restored_unasked(bench: Bench, tmp_path: Path) -> None:
    driver = bench.driver()
    driver.connect()
    calibration.save(tmp_path / "arm.json", SO101.joint_names, driver.stored())
    driver.disconnect()
    command = Calibrate(robot="so101", driver=bench.vendor, port=bench.servos.port, restore=tmp_path / "arm.json")
    with pytest.raises(HardwareError, match=r"standard input is not a terminal; .* or pass --restore FILE --yes"):
        command.run()
