"""An emulated leader arm: joints that are moved by hand along a given path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from waldo.robots.description import Robot
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.typing import Array

SWING_RAD = 0.25
"""Amplitude of the default motion of each joint [rad]."""


def swinging(robot: Robot) -> Callable[[float], Array]:
    """Return a path, seconds -> positions (joints,) [rad]: each joint oscillates around its home at its own rate."""
    home = np.clip([joint.home for joint in robot.joints], robot.lower + SWING_RAD, robot.upper - SWING_RAD)
    rates = 0.6 + 0.17 * np.arange(len(home))
    return lambda seconds: home + SWING_RAD * np.sin(rates * seconds)


class EmulatedLeader:
    """Joints that follow a path; commands have no effect. Arrays have shape (joints,)."""

    def __init__(self, robot: Robot, path: Callable[[float], Array] | None = None) -> None:
        """Start to move along `path`: seconds since the start -> positions (joints,) [rad]."""
        self.robot, self.falls = robot, False
        self.path = path or swinging(robot)
        count = len(robot.joints)
        self.lock = threading.RLock()
        self.heat: Array = np.full((count, 2), AMBIENT_C)
        self.stiffness: Array = np.zeros(count)
        self.damping: Array = np.zeros(count)
        self.resistance: Array = np.ones(count)
        self.torque_constant: Array = np.ones(count)
        self._started = time.monotonic()
        self.position: Array = self.path(0.0)
        """Joint positions [rad]."""
        self.velocity: Array = np.zeros(count)
        """Joint velocities [rad/s]."""
        self.effort: Array = np.zeros(count)
        """Torques of the drives, zero [N·m]."""

    @property
    def driver_c(self) -> Array:
        """Temperatures of the sensors on the drives' boards: those of the air [°C]."""
        return self.heat[:, 1]

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Ignore the command: the hand is stronger."""

    def limit_effort(self, ratio: Array) -> None:
        """Ignore the limit."""

    def advance(self, seconds: float) -> None:
        """Move to the present position of the path, `seconds` [s] after the previous call."""
        position = self.path(time.monotonic() - self._started)
        self.velocity = (position - self.position) / max(seconds, 1e-6)
        self.position = position
