"""Calibration of serial servos: the mapping from a servo's counts to the angle of its joint.

The values are those of LeRobot, stored in the servos' memory and in a JSON file of LeRobot's format (lerobot 0.6.1,
motors/motors_bus.py, MotorCalibration). An arm calibrated with LeRobot works with waldo, and the reverse. The homing
offset moves the middle of the joint's range close to the middle of a turn; the range contains the joint's end stops.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.json_file import read_json, shown
from waldo.robots.description import Robot
from waldo.typing import Array

TURN = 4096
"""Counts per turn of all supported servos."""
MIDDLE = 2047
"""Count to which the homing offset moves the middle of a joint's range."""
MAX_COUNT = 1_000_000
"""Largest number that a calibration may contain."""
FULL_TURN_RAD = 5.0
"""A joint with a larger range than this is calibrated as a full-turn joint [rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoCalibration:
    """Calibration of one servo."""

    id: int
    """Id on the bus."""
    drive_mode: int = 0
    """1 if the servo turns in the opposite direction of its joint, otherwise 0."""
    homing_offset: int = 0
    """Difference between the encoder position and the reported position [counts]."""
    range_min: int = 0
    """Lower end of the range [counts]."""
    range_max: int = TURN - 1
    """Upper end of the range [counts]."""

    @property
    def factory(self) -> bool:
        """Whether these are the factory values of a servo that has not been calibrated."""
        return (self.homing_offset, self.range_min, self.range_max) == (0, 0, TURN - 1)

    @property
    def valid(self) -> bool:
        """Whether the range increases and lies within a turn."""
        return 0 <= self.range_min < self.range_max < TURN

    @property
    def turns(self) -> bool:
        """Whether the range is a full turn."""
        return self.range_max - self.range_min >= TURN - 2


class Counts:
    """Conversion between counts and joint angles; every array has shape (joints,)."""

    def __init__(self, robot: Robot, calibration: Sequence[ServoCalibration]) -> None:
        """Create the conversion for a robot from the calibration of each joint's servo.

        The middle of a servo's range corresponds to the middle of the joint limits, or to 0 for a full-turn joint.
        """
        low = np.array([c.range_min for c in calibration], dtype=float)
        high = np.array([c.range_max for c in calibration], dtype=float)
        self.low, self.high = low, high
        self._zero = (low + high) / 2
        self._angle = np.where([c.turns for c in calibration], 0.0, (robot.lower + robot.upper) / 2)
        sign = np.array([-1.0 if c.drive_mode else 1.0 for c in calibration])
        self._rad = sign * 2 * np.pi / TURN

    def angles(self, counts: Array) -> Array:
        """Return joint angles [rad] from positions [counts]."""
        return self._angle + (counts - self._zero) * self._rad

    def speeds(self, counts_per_s: Array) -> Array:
        """Return joint velocities [rad/s] from speeds [counts/s]."""
        return counts_per_s * self._rad

    def along(self, values: Array) -> Array:
        """Return currents or torques with the sign of the joint direction."""
        return values * np.sign(self._rad)

    def goals(self, angles: Array) -> NDArray[np.int64]:
        """Return the nearest positions [counts] within the calibrated range from joint angles [rad]."""
        wanted = (angles - self._angle) / self._rad + self._zero
        return np.round(np.clip(wanted, self.low, self.high)).astype(np.int64)


def load(path: Path, names: Sequence[str]) -> tuple[ServoCalibration, ...]:
    """Return the calibration of the joints `names` from a file.

    Raises:
        FileError: If the file is missing or unreadable, or lacks a joint or a value.
    """
    known = [field.name for field in dataclasses.fields(ServoCalibration)]
    joints = read_json(path)
    if not isinstance(joints, dict):
        raise FileError(path, "contains no joints", "pass a calibration file of LeRobot or waldo")
    if missing := [name for name in names if name not in joints]:
        text = f"lacks the joints {', '.join(missing)} (found: {shown(', '.join(joints), 200)})"
        raise FileError(path, text, "pass the calibration file of this robot")
    found: list[ServoCalibration] = []
    for name in names:
        joint = joints[name]
        values: dict[str, Any] = {key: joint.get(key) for key in known} if isinstance(joint, dict) else {}
        if not values or any(type(value) is not int or abs(value) > MAX_COUNT for value in values.values()):
            raise FileError(path, f"{name} lacks a whole number for one of {', '.join(known)}", "calibrate again")
        one = ServoCalibration(**values)
        if not one.valid or one.drive_mode not in (0, 1):
            raise FileError(
                path,
                f"{name} has range {values['range_min']} to {values['range_max']} and drive mode "
                f"{values['drive_mode']}, expected an increasing range within 0 to {TURN - 1} and drive mode 0 or 1",
                "calibrate again",
            )
        found.append(one)
    return tuple(found)


def save(path: Path, names: Sequence[str], calibration: Sequence[ServoCalibration]) -> None:
    """Write a calibration file of LeRobot's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    joints = {name: dataclasses.asdict(c) for name, c in zip(names, calibration, strict=True)}
    write_atomic(path, json.dumps(joints, indent=4) + "\n")
