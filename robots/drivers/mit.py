"""MIT mode, the impedance law that Damiao and RobStride drives share, and the counts in which its numbers travel.

::

    torque = kp (q_desired - q) + kd (dq_desired - dq) + torque_feedforward

The law and the packing are those of the Mini Cheetah drives (https://github.com/bgkatz/motorcontrol, CAN/CAN_com.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass


def to_count(value: float, lower: float, upper: float, bits: int) -> int:
    """Return a value as a whole number of `bits` bits, 0 at `lower`; values outside are clipped."""
    top = (1 << bits) - 1
    share = (min(max(value, lower), upper) - lower) / (upper - lower)
    return round(share * top)


def from_count(count: int, lower: float, upper: float, bits: int) -> float:
    """Return the value that a count of `bits` bits stands for."""
    return lower + count / ((1 << bits) - 1) * (upper - lower)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What the full counts of a drive stand for: ± each."""

    position_rad: float
    """Largest angle that a frame can carry [rad]."""
    velocity_rad_s: float
    """Largest speed that a frame can carry [rad/s]."""
    torque_nm: float
    """Largest torque that a frame can carry [N·m]."""
    kp: float = 500.0
    """Largest stiffness that a frame can carry [N·m/rad]; stiffness and damping start at 0."""
    kd: float = 5.0
    """Largest damping that a frame can carry [N·m·s/rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setpoint:
    """One drive's command, at the output shaft."""

    position_rad: float
    velocity_rad_s: float = 0.0
    kp: float = 0.0
    """Stiffness [N·m/rad]."""
    kd: float = 0.0
    """Damping [N·m·s/rad]."""
    torque_nm: float = 0.0
