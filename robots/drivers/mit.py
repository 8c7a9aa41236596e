"""MIT mode: the impedance control law of Damiao and RobStride drives, and the encoding of its values.

::

    torque = kp (q_desired - q) + kd (dq_desired - dq) + torque_feedforward

The law and the encoding are those of the Mini Cheetah drives (https://github.com/bgkatz/motorcontrol, CAN/CAN_com.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass


def to_count(value: float, lower: float, upper: float, bits: int) -> int:
    """Return a value as an unsigned integer of `bits` bits, clipped to the range; `lower` is 0."""
    top = (1 << bits) - 1
    ratio = (min(max(value, lower), upper) - lower) / (upper - lower)
    return round(ratio * top)


def from_count(count: int, lower: float, upper: float, bits: int) -> float:
    """Return the value of an unsigned integer of `bits` bits; the inverse of `to_count`."""
    return lower + count / ((1 << bits) - 1) * (upper - lower)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Full-scale values of a drive; position, velocity and torque are symmetric about 0."""

    position_rad: float
    """Largest position [rad]."""
    velocity_rad_s: float
    """Largest velocity [rad/s]."""
    torque_nm: float
    """Largest torque [N·m]."""
    kp: float = 500.0
    """Largest stiffness [N·m/rad]; the smallest is 0."""
    kd: float = 5.0
    """Largest damping [N·m·s/rad]; the smallest is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setpoint:
    """The command of one drive, at its output shaft."""

    position_rad: float
    velocity_rad_s: float = 0.0
    kp: float = 0.0
    """Stiffness [N·m/rad]."""
    kd: float = 0.0
    """Damping [N·m·s/rad]."""
    torque_nm: float = 0.0
    """Feed-forward torque [N·m]."""


def pack_command(setpoint: Setpoint, full: Range) -> bytes:
    """Return a MIT command in 8 bytes: q 16, dq 12, kp 12, kd 12, t 12 bits, most significant bit first."""
    q = to_count(setpoint.position_rad, -full.position_rad, full.position_rad, 16)
    dq = to_count(setpoint.velocity_rad_s, -full.velocity_rad_s, full.velocity_rad_s, 12)
    kp = to_count(setpoint.kp, 0, full.kp, 12)
    kd = to_count(setpoint.kd, 0, full.kd, 12)
    t = to_count(setpoint.torque_nm, -full.torque_nm, full.torque_nm, 12)
    return (q << 48 | dq << 36 | kp << 24 | kd << 12 | t).to_bytes(8, "big")


def unpack_command(data: bytes, full: Range) -> Setpoint:
    """Return the setpoint in the 8 bytes of a MIT command."""
    bits = int.from_bytes(data, "big")
    return Setpoint(
        position_rad=from_count(bits >> 48, -full.position_rad, full.position_rad, 16),
        velocity_rad_s=from_count(bits >> 36 & 0xFFF, -full.velocity_rad_s, full.velocity_rad_s, 12),
        kp=from_count(bits >> 24 & 0xFFF, 0, full.kp, 12),
        kd=from_count(bits >> 12 & 0xFFF, 0, full.kd, 12),
        torque_nm=from_count(bits & 0xFFF, -full.torque_nm, full.torque_nm, 12),
    )
