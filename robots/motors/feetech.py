"""Motor constants of Feetech serial servos."""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants

SO_ARM_134 = "https://github.com/TheRobotStudio/SO-ARM100/issues/134"
SO_ARM_132 = "https://github.com/TheRobotStudio/SO-ARM100/issues/132"
PARALLEL_GRIPPER_5 = "https://github.com/roboninecom/SO-ARM100-101-Parallel-Gripper/issues/5"
MEMORY_TABLE = "Feetech STS memory table, register 13 (maximum temperature); it limits the sensor on the board"
C001 = "Feetech STS3215-C001 data sheet"
C018 = "Feetech STS3215-C018 data sheet"

STS3215_THERMAL = ThermalConstants(
    winding_j_per_k=5.0,
    housing_j_per_k=42.0,
    winding_to_housing_k_per_w=4.0,
    housing_to_ambient_k_per_w=2.8,
    basis="assumed",
    source="R_2 from the one published test: 1.47 N·m held at 12 V settles at 48 °C, with i = 1.47/1.08 A, 4.44 Ω, "
    f"8.2 W and 25 °C ambient (assumed), 23 K / 8.2 W = 2.8 K/W ({SO_ARM_134}). "
    "C_w: 12 g of copper and iron at 0.42 J/gK; C_h: the other 43 g at about 1 J/gK; "
    "R_1: a winding time constant of 20 s (assumed)",
)

STS3215_7V = Motor(
    name="Feetech STS3215 7.4 V",
    gear_ratio=Constant(345, "1", "published", f"{C001}, 1/345"),
    torque_constant=Constant(0.78, "N·m/A", "published", f"{C001}, 8 kg·cm/A (Rhoban/bam fitted 1.21)"),
    resistance=Constant(2.68, "Ω", "fitted", "Rhoban/bam, fitted to an STS3215"),
    rated_torque=Constant(0.49, "N·m", "published", f"Feetech in {PARALLEL_GRIPPER_5}: 5 kg·cm"),
    peak_torque=Constant(1.91, "N·m", "published", f"{C001}, stall torque 19.5 kg·cm at 7.4 V"),
    voltage=Constant(7.4, "V", "published", C001),
    winding_limit=Constant(70, "°C", "published", MEMORY_TABLE),
    thermal=STS3215_THERMAL,
)
"""The servo of the LeRobot SO-101 kit's follower."""

STS3215_12V = Motor(
    name="Feetech STS3215 12 V",
    gear_ratio=Constant(345, "1", "published", f"{C018}, 1/345"),
    torque_constant=Constant(1.08, "N·m/A", "published", f"11 kg·cm/A, {SO_ARM_132}"),
    resistance=Constant(4.44, "Ω", "published", f"12 V divided by the stall current of 2.7 A, {SO_ARM_132}"),
    peak_torque=Constant(2.94, "N·m", "published", f"stall torque 30 kg·cm, {SO_ARM_134}"),
    no_load_speed=Constant(4.71, "rad/s", "published", f"45 rpm, {SO_ARM_134}"),
    voltage=Constant(12.0, "V", "published", C018),
    winding_limit=Constant(70, "°C", "published", MEMORY_TABLE),
    thermal=STS3215_THERMAL,
)

MOTORS: Mapping[str, Motor] = {"sts3215-7v": STS3215_7V, "sts3215-12v": STS3215_12V}
"""Short name -> motor."""
