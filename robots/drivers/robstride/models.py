"""RobStride's models: full-scale values and faults, common to both protocols."""

from __future__ import annotations

import math
from collections.abc import Sequence

from waldo.robots.drivers.mit import Range

FEEDBACK_FAULTS = (
    (0, "under-voltage"),
    (1, "over-current"),
    (2, "winding over-temperature"),
    (3, "magnetic encoder fault"),
    (4, "stall overload"),
    (5, "encoder not calibrated"),
)
"""Bit of the fault field in the id of a feedback frame (bits 16 to 21) -> text."""
FAULTS = (
    (0, "winding over-temperature"),
    (1, "driver chip fault"),
    (2, "under-voltage"),
    (3, "over-voltage"),
    (4, "over-current in phase B"),
    (5, "over-current in phase C"),
    (7, "encoder not calibrated"),
    (8, "hardware not identified"),
    (9, "position not initialized"),
    (14, "stall overload"),
    (16, "over-current in phase A"),
)
"""Bit of the faults in a fault frame -> text."""
WARNING = "winding near its limit"
"""Bit 0 of the warnings in a fault frame ("motor overtemperature warning")."""

FULL_SCALE_RAD = 4 * math.pi
"""Full-scale angle of every model [rad]."""


def _range(velocity_rad_s: float, torque_nm: float, kp: float = 500.0, kd: float = 5.0) -> Range:
    return Range(position_rad=FULL_SCALE_RAD, velocity_rad_s=velocity_rad_s, torque_nm=torque_nm, kp=kp, kd=kd)


RANGES = {
    "RobStride RS00": _range(33, 14),
    "RobStride RS01": _range(44, 17),
    "RobStride RS02": _range(44, 17),
    "RobStride RS03": _range(20, 60, 5000, 100),
    "RobStride RS04": _range(15, 120, 5000, 100),
    "RobStride RS05": _range(50, 5.5),
    "RobStride RS06": _range(50, 36, 5000, 100),
    "RobStride EL05": _range(50, 6),
}
"""Motor -> full-scale values, from communication type 1 in each model's manual of 2026-04-28 (EL05: 2026-07-13; RS01:
RobStride/SampleProgram).

The full-scale gains differ between models by a factor of ten, so the type of each motor must be correct."""


def fault_text(bits: int, table: Sequence[tuple[int, str]]) -> str:
    """Return the text of every bit that is set, separated by commas."""
    return ", ".join(text for bit, text in table if bits >> bit & 1)
