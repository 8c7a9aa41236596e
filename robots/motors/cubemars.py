"""Motor constants of CubeMars motors."""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor

DATA_SHEET = "CubeMars data sheet"

AK80_9 = Motor(
    name="CubeMars AK80-9",
    gear_ratio=Constant(9, "1", "published", DATA_SHEET),
    torque_constant=Constant(0.115 * 9, "N·m/A", "published", f"{DATA_SHEET}, 0.115 at the rotor times 9"),
    peak_torque=Constant(18, "N·m", "published", DATA_SHEET),
)

MOTORS: Mapping[str, Motor] = {"ak80-9": AK80_9}
"""Short name -> motor."""
