"""Motor constants of Damiao DM-J motors."""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor

DATA_SHEET = "Damiao data sheet"

DM_J4310 = Motor(
    name="Damiao DM-J4310",
    gear_ratio=Constant(10, "1", "published", DATA_SHEET),
    rated_torque=Constant(3, "N·m", "published", DATA_SHEET),
    peak_torque=Constant(7, "N·m", "published", DATA_SHEET),
    voltage=Constant(24.0, "V", "published", DATA_SHEET),
)

DM_J4340 = Motor(
    name="Damiao DM-J4340",
    gear_ratio=Constant(40, "1", "published", DATA_SHEET),
    rated_torque=Constant(9, "N·m", "published", DATA_SHEET),
    peak_torque=Constant(27, "N·m", "published", DATA_SHEET),
    voltage=Constant(24.0, "V", "published", DATA_SHEET),
)

DM_J8009 = Motor(
    name="Damiao DM-J8009",
    gear_ratio=Constant(9, "1", "published", DATA_SHEET),
    rated_torque=Constant(20, "N·m", "published", DATA_SHEET),
    peak_torque=Constant(40, "N·m", "published", DATA_SHEET),
    voltage=Constant(24.0, "V", "published", DATA_SHEET),
)

MOTORS: Mapping[str, Motor] = {"dm-j4310": DM_J4310, "dm-j4340": DM_J4340, "dm-j8009": DM_J8009}
"""Short name -> motor."""
