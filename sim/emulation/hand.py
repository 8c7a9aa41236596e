"""A hand that moves an emulated arm along a file, or by keys, so that a procedure can be rehearsed."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.robots.description import Robot
from waldo.typing import Array

TIME = "time_s"
"""Name of the first column."""
SPEEDS_RAD_S: Mapping[str, float] = {"left": -0.6, "right": 0.6, "a": -0.1, "d": 0.1}
"""Key that is held -> speed of the chosen joint [rad/s]."""
CHOICES: Mapping[str, int] = {"up": -1, "down": 1}
"""Key -> number of joints by which the choice moves."""


class RecordedHand:
    """A path for `EmulatedLeader`, interpolated between the rows of a CSV file; after the last row it stays there.

    The first column is `time_s` [s]; each further one has the name of a joint and its positions [rad]. Joints without a
    column stay at their home position.
    """

    def __init__(self, robot: Robot, path: Path) -> None:
        """Read a file.

        Raises:
            FileError: If the file does not exist, or is not such a table of the robot's joints.
        """
        header, rows = _read(path)
        if unknown := [name for name in header[1:] if name not in robot.joint_names]:
            joints = ", ".join(robot.joint_names)
            raise FileError(path, f"has a column for the unknown joint {unknown[0]!r}", f"the joints are: {joints}")
        self._times = rows[:, 0]
        home = np.clip(robot.home, robot.lower, robot.upper)
        self._positions = np.tile(home, (len(rows), 1))
        for column, name in enumerate(header[1:], start=1):
            self._positions[:, robot.joint_names.index(name)] = rows[:, column]

    def __call__(self, seconds: float) -> Array:
        """Return the positions, shape (joints,) [rad], at a time since the start [s]."""
        return np.array([np.interp(seconds, self._times, column) for column in self._positions.T])


class KeyedHand:
    """A path for `EmulatedLeader` that keys move: one joint at a time, from the home pose."""

    usage = "up, down: choose a joint   left, right: move it, a, d: slowly   m: its middle   esc: ignore further keys"
    """The keys that have a function."""

    def __init__(self, robot: Robot, show: Callable[[str], None]) -> None:
        """Start in the home pose; `show` receives a line for each chosen joint."""
        self._robot, self._show = robot, show
        self._position = np.clip(robot.home, robot.lower, robot.upper)
        self._chosen, self._speed, self._seconds = 0, 0.0, 0.0
        self._lock = threading.Lock()

    def press(self, key: str) -> bool:
        """Handle a pressed key; return whether it has a function."""
        with self._lock:
            if key in SPEEDS_RAD_S:
                self._speed = SPEEDS_RAD_S[key]
            elif key in CHOICES:
                self._chosen = (self._chosen + CHOICES[key]) % len(self._position)
            elif key == "m":
                lower, upper = self._robot.lower[self._chosen], self._robot.upper[self._chosen]
                self._position[self._chosen] = (lower + upper) / 2
            else:
                return False
            self._show(f"{self._robot.joint_names[self._chosen]}: {self._position[self._chosen]:.2f} rad")
            return True

    def release(self, key: str) -> None:
        """Stop the joint when the key that moves it is released."""
        if key in SPEEDS_RAD_S:
            with self._lock:
                self._speed = 0.0

    def __call__(self, seconds: float) -> Array:
        """Return the positions, shape (joints,) [rad], at a time since the start [s]."""
        with self._lock:
            elapsed_s, self._seconds = max(0.0, seconds - self._seconds), seconds
            lower, upper = self._robot.lower[self._chosen], self._robot.upper[self._chosen]
            moved = self._position[self._chosen] + self._speed * elapsed_s
            self._position[self._chosen] = np.clip(moved, lower, upper)
            return self._position.copy()


def _read(path: Path) -> tuple[list[str], Array]:
    """Return the header and the numbers of a file, shape (rows, columns)."""
    try:
        lines = [line for line in csv.reader(path.read_text(encoding="utf-8").splitlines()) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"cannot be read ({error})", "give a CSV file of joint positions") from error
    expected = f"write a row of names ({TIME},JOINT,...), then rows of as many numbers [s, rad] in order of time"
    header = [name.strip() for name in lines[0]] if lines else []
    if len(lines) < 2 or header[0] != TIME or len(set(header)) != len(header):
        raise FileError(path, "is not a table of joint positions", expected)
    try:
        rows = np.array([[float(value) for value in line] for line in lines[1:]])
    except ValueError as error:
        raise FileError(path, f"contains a row that is not of numbers ({error})", expected) from error
    if rows.shape[1:] != (len(header),) or not np.isfinite(rows).all() or (np.diff(rows[:, 0]) <= 0).any():
        raise FileError(path, "contains times out of order, or values that are missing or not finite", expected)
    return header, rows
