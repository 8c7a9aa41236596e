"""Where a servo's counts lie on its joint: LeRobot's calibration, in the servos' own memory and as a file.

Both use the same numbers, so an arm that LeRobot calibrated needs nothing more, and the other way round. The homing
offset turns the horn so that the middle of the joint's range is near the middle of a turn; the range is where the joint
ends. The file is LeRobot's JSON (lerobot 0.6.1, motors/motors_bus.py, MotorCalibration).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.errors import FileError
from waldo.robots.description import Robot
from waldo.typing import Array

TURN = 4096
"""Counts of a turn, of every servo here."""
MIDDLE = 2047
"""Count that the homing offset puts the middle of a joint's range at."""
FULL_TURN_RAD = 5.0
"""A joint whose limits are farther apart is calibrated as one that turns all round [rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoCalibration:
    """One servo's."""

    id: int
    """Its id on the bus."""
    drive_mode: int = 0
    """1: it turns the other way round."""
    homing_offset: int = 0
    """Counts between where the horn is and what it reads."""
    range_min: int = 0
    """Count at one end of the range."""
    range_max: int = TURN - 1
    """Count at the other."""

    @property
    def factory(self) -> bool:
        """Whether these are the numbers of a servo that nobody has calibrated."""
        return (self.homing_offset, self.range_min, self.range_max) == (0, 0, TURN - 1)

    @property
    def turns(self) -> bool:
        """Whether the range is a whole turn."""
        return self.range_max - self.range_min >= TURN - 2


class Counts:
    """Turns counts into joint angles and back; arrays are (joints,)."""

    def __init__(self, robot: Robot, calibration: Sequence[ServoCalibration]) -> None:
        """Take the robot and each joint's servo.

        The middle of a servo's range is the middle of its joint's limits; of one that turns all round it is 0.
        """
        low = np.array([c.range_min for c in calibration], dtype=float)
        high = np.array([c.range_max for c in calibration], dtype=float)
        self.low, self.high = low, high
        self._zero = (low + high) / 2
        self._angle = np.where([c.turns for c in calibration], 0.0, (robot.lower + robot.upper) / 2)
        sign = np.array([-1.0 if c.drive_mode else 1.0 for c in calibration])
        self._rad = sign * 2 * np.pi / TURN

    def angles(self, counts: Array) -> Array:
        """Return the joints' angles [rad]."""
        return self._angle + (counts - self._zero) * self._rad

    def speeds(self, counts_per_s: Array) -> Array:
        """Return the joints' speeds [rad/s]."""
        return counts_per_s * self._rad

    def along(self, values: Array) -> Array:
        """Return currents and torques with the joints' sign."""
        return values * np.sign(self._rad)

    def goals(self, angles: Array) -> NDArray[np.int64]:
        """Return the counts nearest to angles [rad], within the calibrated range."""
        wanted = (angles - self._angle) / self._rad + self._zero
        return np.round(np.clip(wanted, self.low, self.high)).astype(np.int64)


def load(path: Path, names: Sequence[str]) -> tuple[ServoCalibration, ...]:
    """Return the calibration of joints from a file; raises FileError for one that lacks a joint or a number."""
    known = [field.name for field in dataclasses.fields(ServoCalibration)]
    try:
        told = json.loads(path.read_text())
    except OSError as error:
        raise FileError(path, error.strerror or str(error), "name a calibration that exists") from error
    except ValueError as error:
        raise FileError(path, f"no JSON ({error})", "name LeRobot's or waldo's calibration of this arm") from error
    if not isinstance(told, dict):
        raise FileError(path, "no joints", "name LeRobot's or waldo's calibration of this arm")
    if missing := [name for name in names if name not in told]:
        raise FileError(path, f"holds {', '.join(told)}, but not {', '.join(missing)}", "take that of this robot")
    found: list[ServoCalibration] = []
    for name in names:
        try:
            values = {key: int(told[name][key]) for key in known}
        except (KeyError, TypeError, ValueError):
            raise FileError(path, f"{name} lacks whole numbers for {', '.join(known)}", "calibrate again") from None
        if not 0 <= values["range_min"] < values["range_max"] < TURN or values["drive_mode"] not in (0, 1):
            raise FileError(
                path, f"{name} ranges from {values['range_min']} to {values['range_max']}", "calibrate again"
            )
        found.append(ServoCalibration(**values))
    return tuple(found)


def save(path: Path, names: Sequence[str], calibration: Sequence[ServoCalibration]) -> None:
    """Write a file that LeRobot reads as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {name: dataclasses.asdict(c) for name, c in zip(names, calibration, strict=True)}
    path.write_text(json.dumps(told, indent=4) + "\n")
