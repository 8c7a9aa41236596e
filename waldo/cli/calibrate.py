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
from waldo.errors import HardwareError, UnknownNameError, UnsupportedOptionError
from waldo.robots.description import Robot, load_robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import FULL_TURN_RAD, MIDDLE, TURN, ServoCalibration
from waldo.robots.drivers.options import convert_options, split_options
from waldo.robots.drivers.parts import PartsDriver, make_driver, option_classes, robots_of_parts

if TYPE_CHECKING:
    from waldo.robots.drivers.servo_robot import SerialServoDriver, ServoOptions

    ServoDriver = SerialServoDriver[ServoOptions]

POLL_S = 0.02
"""Interval between two readings of the joints while they are moved [s]."""
MIN_RANGE_RATIO = 0.5
"""A joint that moved less than this fraction of its range was probably not moved to both ends."""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Calibrate an arm of serial servos: place it in the middle pose, then move every joint to both ends by hand.

    Rehearse it with `waldo emulate so101 --rehearsal`.
    """

    robot: tyro.conf.Positional[str] = "so101"
    """so101, so101_leader, bi_so101 (with --option left.port=... --option right.port=...), or the MJCF file of another
    arm."""
    part: str = ""
    """One arm of a pair, such as left; by default both, one after the other."""
    driver: str = "feetech"
    """Driver of the servos: feetech or dynamixel."""
    port: str = ""
    """Serial port, such as /dev/ttyACM0; by default that of the driver."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Option of the driver as name=value, such as --option ids=11,12,13,14,15,16; may be repeated."""
    joints: tuple[str, ...] = ()
    """Joints to calibrate; the others keep their calibration. By default all."""
    output: Path | None = None
    """File for the calibration, in LeRobot's format; ROBOT.calibration.json by default."""
    restore: Path | None = None
    """Write this calibration file into the servos instead."""
    show: bool = False
    """Print the calibration stored in the servos and the present positions, without changing anything."""
    yes: bool = False
    """With --restore: do not ask before the torque is disabled."""

    def run(self) -> int:
        """Calibrate the arm, restore a calibration, or print it."""
        robot = self._load_robot()
        drivers = self._drivers(robot)
        if self.restore is not None:
            stored = [calibration.load(self.restore, driver.robot.joint_names) for driver in drivers]
            for driver, one in zip(drivers, stored, strict=True):
                if not self.yes:
                    _ask_to_disable_torque(driver)
                with _opened(driver):
                    driver.store(one)
                console.err().print(f"wrote {self.restore} into the servos on {driver.options.port}")
        elif self.show:
            for driver in drivers:
                with _opened(driver):
                    _print(driver.robot, driver.stored(), _counts(driver))
        else:
            self._calibrate_all(robot, drivers)
        return 0

    def _load_robot(self) -> Robot:
        """Return the robot, or the chosen part of it."""
        robot = load_robot(self.robot)
        if not self.part:
            return robot
        parts = robots_of_parts(robot)
        if self.part not in parts:
            raise UnknownNameError(f"part of {robot.name}", self.part, parts)
        return dataclasses.replace(parts[self.part], name=f"{robot.name}.{self.part}")

    def _drivers(self, robot: Robot) -> list[ServoDriver]:
        """Return the driver of each part of the robot, with the torque disabled."""
        from waldo.robots.drivers.servo_robot import SerialServoDriver

        texts = split_options(self.option)
        options = convert_options(texts, *option_classes(self.driver, robot, texts)) | {"torque": False}
        driver = make_driver(self.driver, robot, options | ({"port": self.port} if self.port else {}))
        found: list[Any] = list(driver.drivers.values()) if isinstance(driver, PartsDriver) else [driver]
        if not all(isinstance(one, SerialServoDriver) for one in found):
            raise UnsupportedOptionError(
                "waldo calibrate",
                f"--driver {self.driver}",
                ("feetech", "dynamixel"),
                "use the manufacturer's tool to set the zero positions of other motors",
            )
        return found

    def _calibrate_all(self, robot: Robot, drivers: Sequence[ServoDriver]) -> None:
        """Calibrate each part that has chosen joints, and write one file for the whole robot."""
        if unknown := [name for name in self.joints if name not in robot.joint_names]:
            raise UnknownNameError("joint", unknown[0], robot.joint_names)
        found = [one for driver in drivers for one in self._calibrate(driver.robot, driver)]
        path = self.output or Path(f"{robot.name}.calibration.json")
        calibration.save(path, robot.joint_names, found)
        _print(robot, found, None)
        # LeRobot has one file for each arm, with an entry for each servo.
        shared = len(drivers) == 1 and not drivers[0].second.of
        readers = ", which LeRobot can read as well" if shared else ""
        console.err().print(f"stored in the servos and in {path}{readers}")

    def _calibrate(self, robot: Robot, driver: ServoDriver) -> Sequence[ServoCalibration]:
        """Calibrate an arm interactively and return the result; on an error, restore the servos' calibration."""
        chosen = np.array([not self.joints or name in self.joints for name in robot.joint_names])
        if not chosen.any():
            with _opened(driver):
                return driver.stored()
        _ask_to_disable_torque(driver)
        with _opened(driver):
            before = driver.stored()
            try:
                return _by_hand(robot, driver, before, chosen)
            except BaseException:
                driver.store(before)
                console.err().print("the previous calibration was restored")
                raise


def _by_hand(
    robot: Robot, driver: ServoDriver, before: Sequence[ServoCalibration], chosen: NDArray[np.bool_]
) -> list[ServoCalibration]:
    """Guide the user through the calibration; return the result, which is then stored in the servos.

    Args:
        robot: The robot.
        driver: The open driver.
        before: The calibration of the servos, which the other joints keep.
        chosen: Which joints to calibrate, shape (joints,).
    """
    # Factory values, so that the servos report the positions of their encoders.
    factory = [
        ServoCalibration(id=servo) if new else one for servo, one, new in zip(driver.ids, before, chosen, strict=True)
    ]
    driver.store(factory)
    names = [name for name, new in zip(robot.joint_names, chosen, strict=True) if new]
    _ask(f"1. The torque is disabled. Place {_all_or(names, robot)} in the middle of the range, then press Enter.")
    centered = [
        dataclasses.replace(one, homing_offset=driver.bus.homing_offset(int(position), MIDDLE)) if new else one
        for one, position, new in zip(factory, _counts(driver), chosen, strict=True)
    ]
    driver.store(centered)
    full_turn = robot.upper - robot.lower > FULL_TURN_RAD
    low, high = _measure_ranges(robot, driver, chosen & ~full_turn)
    found = [
        one
        if not new
        else dataclasses.replace(one, range_min=0 if turns else int(a), range_max=TURN - 1 if turns else int(b))
        for one, a, b, turns, new in zip(centered, low, high, full_turn, chosen, strict=True)
    ]
    driver.store(found)
    return found


def _measure_ranges(
    robot: Robot, driver: ServoDriver, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest position of each joint, shape (joints,) [counts], as the user has accepted them.

    A joint that was not moved over its range, or that the user names, is measured again; the others keep theirs.
    """
    low, high = _counts(driver), _counts(driver)
    again = chosen
    while again.any():
        names = [name for name, new in zip(robot.joint_names, again, strict=True) if new]
        console.err().print(f"2. Move {', '.join(names)} from one end to the other, then press Enter.")
        lowest, highest = _follow(robot, driver)
        low, high = np.where(again, lowest, low), np.where(again, highest, high)
        again = _short(robot, chosen, low, high)
        if again.any():
            moved = ", ".join(
                f"{joint.name} by {(high[i] - low[i]) * 360 / TURN:.0f} of about "
                f"{np.degrees(joint.upper - joint.lower):.0f} degrees"
                for i, joint in enumerate(robot.joints)
                if again[i]
            )
            console.err().print(f"[yellow]not moved over the range: {moved}; move these joints again[/yellow]")
        else:
            again = _ask_for_joints(robot, chosen)
    return low, high


def _ask_for_joints(robot: Robot, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the joints that the user wants to measure again, shape (joints,); none to accept the calibration."""
    names = [name for name, new in zip(robot.joint_names, chosen, strict=True) if new]
    while True:
        answer = _ask("3. Press Enter to store the calibration, or type the names of joints to measure again.")
        wanted = answer.replace(",", " ").split()
        if unknown := [name for name in wanted if name not in names]:
            console.err().print(f"unknown joint {unknown[0]} (known: {', '.join(names)})", markup=False)
            continue
        return np.array([name in wanted for name in robot.joint_names])


def _follow(robot: Robot, driver: ServoDriver) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest positions until Enter is pressed, each of shape (joints,) [counts]."""
    from rich.live import Live

    low = high = _counts(driver)
    with Live(console=console.err(), auto_refresh=False) as live:
        while not select.select([sys.stdin], [], [], 0)[0]:
            now = _counts(driver)
            low, high = np.minimum(low, now), np.maximum(high, now)
            live.update(_table(robot, low, high, now), refresh=True)
            time.sleep(POLL_S)
    _answer()
    return low, high


def _ask_to_disable_torque(driver: ServoDriver) -> None:
    """Wait until the user has agreed that the torque is disabled."""
    _ask(
        f"Support the arm: the torque of the servos on {driver.options.port} is disabled now, and an arm that holds "
        "itself falls. Press Enter when it is supported, or Ctrl-C to leave everything as it is."
    )


def _ask(question: str) -> str:
    """Print a question and return the line that the user enters.

    Raises:
        HardwareError: If there is no terminal, or it was closed.
    """
    if not sys.stdin.isatty():
        raise HardwareError(
            "calibration is interactive, but standard input is not a terminal; run it in a terminal, or pass "
            "--restore FILE --yes"
        )
    console.err().print(question, markup=False)
    return _answer()


def _answer() -> str:
    line = sys.stdin.readline()
    if not line:
        raise HardwareError("the terminal was closed during the calibration; run it again")
    return line.strip()


def _all_or(names: Sequence[str], robot: Robot) -> str:
    return "every joint" if len(names) == len(robot.joints) else ", ".join(names)


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


def _short(
    robot: Robot, chosen: NDArray[np.bool_], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which of the chosen joints were not moved over most of their range, shape (joints,)."""
    moved_rad = (high - low) * 2 * np.pi / TURN
    return chosen & (moved_rad < MIN_RANGE_RATIO * (robot.upper - robot.lower))


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
