"""`waldo calibrate` measures the joint ranges of an arm of serial servos, and stores, prints or restores them."""

from __future__ import annotations

import dataclasses
import select
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from waldo import console
from waldo.errors import HardwareError, UnsupportedOptionError
from waldo.robots.description import Robot, load_robot
from waldo.robots.driver import load_driver
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import FULL_TURN_RAD, MIDDLE, TURN, ServoCalibration
from waldo.robots.drivers.options import options_class, parse_options

if TYPE_CHECKING:
    from waldo.robots.drivers.servo_robot import SerialServoDriver, ServoOptions

    ServoDriver = SerialServoDriver[ServoOptions]

POLL_S = 0.02
"""Interval between two readings of the joints while they are moved [s]."""
MIN_RANGE_RATIO = 0.5
"""A joint that moved less than this fraction of its range was probably not moved to both ends."""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Calibrate an arm of serial servos: place it in the middle pose, then move every joint to both ends by hand."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101, so101_leader, or the MJCF file of another arm."""
    driver: str = "feetech"
    """Driver of the servos: feetech or dynamixel."""
    port: str = ""
    """Serial port, such as /dev/ttyACM0; by default that of the driver."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Option of the driver as name=value, such as --option ids=11,12,13,14,15,16; may be repeated."""
    output: Path | None = None
    """File for the calibration, in LeRobot's format; ROBOT.calibration.json by default."""
    restore: Path | None = None
    """Write this calibration file into the servos instead."""
    show: bool = False
    """Print the calibration stored in the servos and the present positions, without changing anything."""

    def run(self) -> int:
        """Calibrate the arm, restore a calibration, or print it."""
        robot = load_robot(self.robot)
        driver = self._driver(robot)
        if self.restore is not None:
            stored = calibration.load(self.restore, robot.joint_names)
            with _opened(driver):
                driver.store(stored)
            console.err().print(f"wrote {self.restore} into the servos on {driver.options.port}")
        elif self.show:
            with _opened(driver):
                _print(robot, driver.stored(), _counts(driver))
        else:
            self._calibrate(robot, driver)
        return 0

    def _driver(self, robot: Robot) -> ServoDriver:
        """Return the driver, with the torque disabled."""
        from waldo.robots.drivers.servo_robot import SerialServoDriver

        options = parse_options(self.option, options_class(self.driver)) | ({"port": self.port} if self.port else {})
        driver_class: Any = load_driver(self.driver)
        if not (isinstance(driver_class, type) and issubclass(driver_class, SerialServoDriver)):
            raise UnsupportedOptionError(
                "waldo calibrate",
                f"--driver {self.driver}",
                ("feetech", "dynamixel"),
                "use the manufacturer's tool to set the zero positions of other motors",
            )
        return driver_class(robot, **{**options, "torque": False})

    def _calibrate(self, robot: Robot, driver: ServoDriver) -> None:
        """Calibrate the arm interactively and write the file; on an error, restore the servos' calibration."""
        if not sys.stdin.isatty():
            raise HardwareError(
                "calibration is interactive, but standard input is not a terminal; run it in a terminal, or pass "
                "--restore FILE"
            )
        with _opened(driver):
            before = driver.stored()
            try:
                found = self._by_hand(robot, driver)
            except BaseException:
                driver.store(before)
                raise
        path = self.output or Path(f"{robot.name}.calibration.json")
        calibration.save(path, robot.joint_names, found)
        _print(robot, found, None)
        console.err().print(f"stored in the servos and in {path}, which LeRobot can read as well")

    def _by_hand(self, robot: Robot, driver: ServoDriver) -> list[ServoCalibration]:
        """Guide the user through the calibration; return the result, which is then stored in the servos."""
        show = console.err().print
        # Factory values, so that the servos report the positions of their encoders.
        driver.store([ServoCalibration(id=servo) for servo in driver.ids])
        show("1. The torque is disabled. Place every joint in the middle of its range, then press Enter.")
        sys.stdin.readline()
        centered = [
            ServoCalibration(id=servo, homing_offset=driver.bus.homing_offset(int(position), MIDDLE))
            for servo, position in zip(driver.ids, _counts(driver), strict=True)
        ]
        driver.store(centered)
        full_turn = robot.upper - robot.lower > FULL_TURN_RAD
        names = [name for name, turns in zip(robot.joint_names, full_turn, strict=True) if not turns]
        show(f"2. Move {', '.join(names)} from one end to the other, then press Enter.")
        low, high = self._ranges(robot, driver)
        _require_full_ranges(robot, full_turn, low, high)
        found = [
            dataclasses.replace(one, range_min=0 if turns else int(a), range_max=TURN - 1 if turns else int(b))
            for one, a, b, turns in zip(centered, low, high, full_turn, strict=True)
        ]
        driver.store(found)
        return found

    def _ranges(self, robot: Robot, driver: ServoDriver) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lowest and highest positions until Enter is pressed, each of shape (joints,) [counts]."""
        from rich.live import Live

        low = high = _counts(driver)
        with Live(console=console.err(), auto_refresh=False) as live:
            while not select.select([sys.stdin], [], [], 0)[0]:
                now = _counts(driver)
                low, high = np.minimum(low, now), np.maximum(high, now)
                live.update(_table(robot, low, high, now), refresh=True)
                time.sleep(POLL_S)
        sys.stdin.readline()
        return low, high


@contextmanager
def _opened(driver: ServoDriver) -> Generator[None]:
    """Open the servos without changing anything in them, and disconnect at the end."""
    driver.open()
    try:
        yield
    finally:
        driver.disconnect()


def _counts(driver: ServoDriver) -> NDArray[np.int64]:
    """Return the servos' positions, shape (joints,) [counts]."""
    return np.round(driver.positions()).astype(np.int64)


def _require_full_ranges(
    robot: Robot, full_turn: NDArray[np.bool_], low: NDArray[np.int64], high: NDArray[np.int64]
) -> None:
    """Raise HardwareError if a joint has not been moved over most of its range."""
    moved = (high - low) * 2 * np.pi / TURN
    limits = robot.upper - robot.lower
    short = [
        f"{name} by {np.degrees(moved[i]):.0f} of about {np.degrees(limits[i]):.0f} degrees"
        for i, name in enumerate(robot.joint_names)
        if not full_turn[i] and moved[i] < MIN_RANGE_RATIO * limits[i]
    ]
    if short:
        raise HardwareError(
            f"joints were not moved over their range: {', '.join(short)}; calibrate again and move every joint to "
            "both ends"
        )


def _table(robot: Robot, low: NDArray[np.int64], high: NDArray[np.int64], now: NDArray[np.int64]) -> Any:
    """Return a table of the positions and the fraction of its range that each joint has covered."""
    from rich.table import Table

    table = Table("joint", "lowest", "now", "highest", "range covered")
    for i, joint in enumerate(robot.joints):
        ratio = (high[i] - low[i]) * 2 * np.pi / TURN / (joint.upper - joint.lower)
        table.add_row(joint.name, str(low[i]), str(now[i]), str(high[i]), f"{ratio:.0%}")
    return table


def _print(robot: Robot, stored: Sequence[ServoCalibration], now: NDArray[np.int64] | None) -> None:
    """Print a calibration and, if given, the present positions `now`, shape (joints,) [counts]."""
    from rich.table import Table

    table = Table("joint", "id", "homing offset", "range", *([] if now is None else ["now", "angle"]))
    for i, one in enumerate(stored):
        row = [robot.joint_names[i], str(one.id), str(one.homing_offset), f"{one.range_min} to {one.range_max}"]
        if now is not None:
            angle = calibration.Counts(robot, stored).angles(now.astype(float))[i]
            row += [str(now[i]), f"{np.degrees(angle):.1f}°"]
        table.add_row(*row)
    console.out().print(table)
