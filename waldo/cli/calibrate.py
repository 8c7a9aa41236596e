"""`waldo calibrate` teaches an arm's servos where their joints end, keeps that as a file, and shows or restores it."""

from __future__ import annotations

import dataclasses
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from waldo import console
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot, load_robot
from waldo.robots.driver import load_driver
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import FULL_TURN_RAD, MIDDLE, TURN, ServoCalibration
from waldo.robots.drivers.options import parse_options

if TYPE_CHECKING:
    from waldo.robots.drivers.servo_robot import SerialServoDriver

LOOK_S = 0.02
"""Pause between two looks at the joints while they are moved [s]."""
ENOUGH = 0.5
"""A joint that was moved over less of its range than this was probably forgotten."""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Calibrate an arm of serial servos: put it in the middle, then move every joint from end to end by hand."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101, so101_leader, or the MJCF file of another arm."""
    driver: str = "feetech"
    """Whose servos they are: feetech or dynamixel."""
    port: str = ""
    """Serial port: /dev/ttyACM0."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An option of the driver as name=value, such as --option ids=11,12,13,14,15,16."""
    output: Path | None = None
    """File to keep the calibration in, LeRobot's format; ROBOT.calibration.json unless given."""
    restore: Path | None = None
    """Write this file into the servos instead."""
    show: bool = False
    """Only show what the servos hold and where the joints are."""

    def run(self) -> int:
        """Calibrate, restore or show."""
        from waldo.robots.drivers.servo_robot import SerialServoDriver

        robot = load_robot(self.robot)
        given = parse_options(self.option) | ({"port": self.port} if self.port else {})
        driver = load_driver(self.driver)(robot, **{**given, "torque": False})
        if not isinstance(driver, SerialServoDriver):
            raise InvalidValueError(
                "driver", self.driver, "feetech or dynamixel: the others keep their zeros themselves"
            )
        if self.restore is not None:
            wanted = calibration.load(self.restore, robot.joint_names)
            driver.open()
            try:
                driver.store(wanted)
            finally:
                driver.disconnect()
            console.err().print(f"{self.restore} is in the servos on {driver.options.port}")
            return 0
        if self.show:
            driver.open()
            try:
                _print(robot, driver.stored(), _counts(driver))
            finally:
                driver.disconnect()
            return 0
        if not sys.stdin.isatty():
            raise HardwareError("calibrating needs a terminal and a hand at the arm; --restore FILE needs neither")
        driver.open()
        before = driver.stored()
        try:
            found = self._by_hand(robot, driver)
        except BaseException:
            # What was there before is better than half of something new.
            driver.store(before)
            raise
        finally:
            driver.disconnect()
        path = self.output or Path(f"{robot.name}.calibration.json")
        calibration.save(path, robot.joint_names, found)
        _print(robot, found, None)
        console.err().print(f"kept in the servos and in {path}; LeRobot reads that file as well")
        return 0

    def _by_hand(self, robot: Robot, driver: SerialServoDriver) -> list[ServoCalibration]:
        """Lead a person through it; return what was found, which the servos then hold."""
        say = console.err().print
        # From here on they read as they are mounted.
        driver.store([ServoCalibration(id=servo) for servo in driver.ids])
        say("1. The torque is off. Put every joint in the middle of its range, then press Enter.")
        sys.stdin.readline()
        middle = _counts(driver)
        half = [
            ServoCalibration(id=servo, homing_offset=driver.bus.homing_offset(int(count), MIDDLE))
            for servo, count in zip(driver.ids, middle, strict=True)
        ]
        driver.store(half)
        around = robot.upper - robot.lower > FULL_TURN_RAD
        others = [name for name, turns in zip(robot.joint_names, around, strict=True) if not turns]
        say(f"2. Move {', '.join(others)} from one end to the other, then press Enter.")
        low, high = self._ranges(robot, driver)
        spans = (high - low) * 2 * np.pi / TURN
        forgotten = [
            f"{joint.name} by {np.degrees(span):.0f} of about {np.degrees(joint.upper - joint.lower):.0f} degrees"
            for joint, span, turns in zip(robot.joints, spans, around, strict=True)
            if not turns and span < ENOUGH * (joint.upper - joint.lower)
        ]
        if forgotten:
            raise HardwareError(f"too little motion: {', '.join(forgotten)}; calibrate again, from end to end")
        found = [
            dataclasses.replace(one, range_min=0 if turns else int(a), range_max=TURN - 1 if turns else int(b))
            for one, a, b, turns in zip(half, low, high, around, strict=True)
        ]
        driver.store(found)
        return found

    def _ranges(self, robot: Robot, driver: SerialServoDriver) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Watch the joints until Enter is pressed; return the lowest and highest counts."""
        from rich.live import Live

        low = high = _counts(driver)
        with Live(console=console.err(), auto_refresh=False) as live:
            while not select.select([sys.stdin], [], [], 0)[0]:
                now = _counts(driver)
                low, high = np.minimum(low, now), np.maximum(high, now)
                live.update(_table(robot, low, high, now), refresh=True)
                time.sleep(LOOK_S)
        sys.stdin.readline()
        return low, high


def _counts(driver: SerialServoDriver) -> NDArray[np.int64]:
    """Return where the servos are, (joints,) [counts]."""
    found = driver.positions()
    return np.round(found).astype(np.int64)


def _table(robot: Robot, low: NDArray[np.int64], high: NDArray[np.int64], now: NDArray[np.int64]) -> Any:
    from rich.table import Table

    table = Table("joint", "lowest", "now", "highest", "moved")
    for i, joint in enumerate(robot.joints):
        share = (high[i] - low[i]) * 2 * np.pi / TURN / (joint.upper - joint.lower)
        table.add_row(joint.name, str(low[i]), str(now[i]), str(high[i]), f"{share:.0%}")
    return table


def _print(robot: Robot, stored: Sequence[ServoCalibration], now: NDArray[np.int64] | None) -> None:
    from rich.table import Table

    table = Table("joint", "id", "homing offset", "range", *([] if now is None else ["now", "angle"]))
    for i, one in enumerate(stored):
        row = [robot.joint_names[i], str(one.id), str(one.homing_offset), f"{one.range_min} to {one.range_max}"]
        if now is not None:
            angle = calibration.Counts(robot, stored).angles(now.astype(float))[i]
            row += [str(now[i]), f"{np.degrees(angle):.1f}°"]
        table.add_row(*row)
    console.out().print(table)
