"""Joints that two emulated servos drive together: each servo has a joint of its own here, fixed to the same link.

The control laws of the two add up. They face each other, so the second one turns in the opposite direction.
"""

from __future__ import annotations

import dataclasses
import threading

import numpy as np

from waldo.robots.description import Joint, Robot
from waldo.robots.motor import in_parallel
from waldo.sim.emulation.joints import Joints
from waldo.typing import Array


class PairedJoints:
    """The joints of `inner`, one for each servo. Arrays have shape (servos,)."""

    def __init__(self, inner: Joints) -> None:
        """Give the joints with two motors a second one behind them, named after it with `_shadow`."""
        self._inner = inner
        counts = [joint.motor.count for joint in inner.robot.joints]
        self._of = np.repeat(np.arange(len(counts)), counts)
        self._share = 1 / np.repeat(np.array(counts, dtype=float), counts)
        first = np.append(True, np.diff(self._of) > 0)
        self.directions: Array = np.where(first, 1.0, -1.0)
        """Direction in which each servo is mounted, 1 or -1."""
        joints = [
            _servo(inner.robot.joints[joint], "" if is_first else "_shadow")
            for joint, is_first in zip(self._of.tolist(), first.tolist(), strict=True)
        ]
        self.robot: Robot = dataclasses.replace(inner.robot, joints=tuple(joints), parts=())
        self.lock: threading.RLock = inner.lock
        self.falls = inner.falls
        self.stiffness: Array = inner.stiffness[self._of] * self._share
        self.damping: Array = inner.damping[self._of] * self._share
        self.resistance: Array = inner.resistance[self._of] / self._share
        self.torque_constant: Array = inner.torque_constant[self._of]

    @property
    def heat(self) -> Array:
        """Winding and housing temperatures, (servos, 2) [°C]; both servos of a joint are equally warm."""
        return self._inner.heat[self._of]

    @property
    def position(self) -> Array:
        """Joint positions [rad]."""
        return self._inner.position[self._of]

    @property
    def velocity(self) -> Array:
        """Joint velocities [rad/s]."""
        return self._inner.velocity[self._of]

    @property
    def effort(self) -> Array:
        """Torques of the drives, which share that of the joint [N·m]."""
        return self._inner.effort[self._of] * self._share

    @property
    def driver_c(self) -> Array:
        """Temperatures of the sensors on the drives' boards [°C]."""
        return self._inner.driver_c[self._of]

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Set the sum of the control laws of each joint's servos [N·m]."""
        stiffness, damping = self._sum(kp), self._sum(kd)
        aim = self._sum(kp * position) / np.where(stiffness > 0, stiffness, 1.0)
        speed = self._sum(kd * velocity) / np.where(damping > 0, damping, 1.0)
        self._inner.command(aim, speed, stiffness, damping, self._sum(torque))

    def limit_effort(self, ratio: Array) -> None:
        """Limit the torques to a fraction of their maximum, 0 to 1."""
        self._inner.limit_effort(self._sum(ratio * self._share))

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` [s]."""
        self._inner.advance(seconds)

    def _sum(self, values: Array) -> Array:
        return np.bincount(self._of, weights=values).astype(float)


def _servo(joint: Joint, suffix: str) -> Joint:
    """Return one of the servos of a joint."""
    effort = joint.effort / joint.motor.count
    return dataclasses.replace(joint, name=joint.name + suffix, motor=in_parallel(joint.motor, 1), effort=effort)
