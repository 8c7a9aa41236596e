"""What emulated motors move: the joints of a model, or an arm that is moved by hand."""

from __future__ import annotations

import threading
from typing import Protocol

from waldo.robots.description import Robot
from waldo.typing import Array


class Joints(Protocol):
    """The joints that the servos drive: `EmulatedJoints` or `EmulatedLeader`. Arrays have shape (joints,)."""

    robot: Robot
    lock: threading.RLock
    falls: bool
    """Whether the joints fall when the motors are disabled."""
    stiffness: Array
    """Position gains [N·m/rad]."""
    damping: Array
    """Velocity gains [N·m·s/rad]."""
    resistance: Array
    """Winding resistances [Ω]."""
    torque_constant: Array
    """Torque constants [N·m/A]."""

    @property
    def heat(self) -> Array:
        """Winding and housing temperatures, (joints, 2) [°C]."""
        ...

    @property
    def position(self) -> Array:
        """Joint positions [rad]."""
        ...

    @property
    def velocity(self) -> Array:
        """Joint velocities [rad/s]."""
        ...

    @property
    def effort(self) -> Array:
        """Torques of the drives [N·m]."""
        ...

    @property
    def driver_c(self) -> Array:
        """Temperatures of the sensors on the drives' boards [°C]."""
        ...

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Set the torque kp (position - q) + kd (velocity - dq) + torque [N·m]."""
        ...

    def limit_effort(self, ratio: Array) -> None:
        """Limit the torques to a fraction of their maximum, 0 to 1."""
        ...

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` [s]."""
        ...
