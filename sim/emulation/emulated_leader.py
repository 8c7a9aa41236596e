"""An arm in somebody's hand: joints that go where they are led, for an emulated leader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from waldo.robots.description import Robot
from waldo.typing import Array

AMBIENT_C = 25.0
"""Temperature of servos that do nothing [°C]."""
SWING_RAD = 0.25
"""How far a hand that only shows that it is there moves each joint to either side [rad]."""


def swinging(robot: Robot) -> Callable[[float], Array]:
    """Return positions over time: each joint swings gently about its home, all at different speeds."""
    home = np.clip([joint.home for joint in robot.joints], robot.lower + SWING_RAD, robot.upper - SWING_RAD)
    rates = 0.6 + 0.17 * np.arange(len(home))
    return lambda seconds: home + SWING_RAD * np.sin(rates * seconds)


class EmulatedLeader:
    """Joints that follow `path`: seconds since the start -> positions (joints,)."""

    def __init__(self, robot: Robot, path: Callable[[float], Array] | None = None) -> None:
        """Take the robot and where the hand leads it."""
        self.robot, self.falls = robot, False
        self.path = path or swinging(robot)
        count = len(robot.joints)
        self.lock = threading.RLock()
        self.heat = np.full((count, 2), AMBIENT_C)
        self.stiffness = self.damping = np.zeros(count)
        self.resistance = self.torque_constant = np.ones(count)
        self._started = time.monotonic()
        self.position = self.path(0.0)
        """Joint positions [rad]."""
        self.velocity = np.zeros(count)
        """Joint speeds [rad/s]."""
        self.effort = np.zeros(count)
        """Torques of the drives: none [N·m]."""

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Do nothing: the hand is stronger."""

    def limit_effort(self, share: Array) -> None:
        """Do nothing."""

    def advance(self, seconds: float) -> None:
        """Go where the path is now."""
        position = self.path(time.monotonic() - self._started)
        self.velocity = (position - self.position) / max(seconds, 1e-6)
        self.position = position
