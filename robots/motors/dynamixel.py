"""Motor constants of ROBOTIS Dynamixel X servos."""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants

E_MANUAL = "https://emanual.robotis.com/docs/en/dxl/x/"
XL330 = f"{E_MANUAL}xl330-m288/"
XL430 = f"{E_MANUAL}xl430-w250/"
XM430 = f"{E_MANUAL}xm430-w350/"
XM540 = f"{E_MANUAL}xm540-w270/"
BAM = "Rhoban/bam, fitted"


def _thermal(winding: float, housing: float, to_housing: float, to_ambient: float, size: str) -> ThermalConstants:
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=to_housing,
        housing_to_ambient_k_per_w=to_ambient,
        basis="assumed",
        source=f"the fitted constants of the Feetech STS3250, scaled to {size} of 0.55 J/(g·K) and to the surface of "
        "the case; a coreless winding is lighter and farther from the case",
        driver_sensor_ratio=0.4,
        driver_sensor_std=0.15,
    )


XL330_M288 = Motor(
    name="Dynamixel XL330-M288",
    gear_ratio=Constant(288.4, "1", "published", XL330),
    torque_constant=Constant(0.37, "N·m/A", "fitted", BAM),
    resistance=Constant(2.8, "Ω", "fitted", BAM),
    peak_torque=Constant(0.52, "N·m", "published", f"{XL330}, stall at 5 V, 1.47 A"),
    voltage=Constant(5.0, "V", "published", XL330),
    winding_limit=Constant(70, "°C", "published", f"{XL330}, register 31"),
)

XL430_W250 = Motor(
    name="Dynamixel XL430-W250",
    gear_ratio=Constant(258.5, "1", "published", XL430),
    torque_constant=Constant(1.07, "N·m/A", "published", f"{XL430}, stall torque divided by stall current"),
    resistance=Constant(8.6, "Ω", "published", f"{XL430}, voltage divided by stall current"),
    peak_torque=Constant(1.5, "N·m", "published", f"{XL430}, stall at 12 V, 1.4 A"),
    voltage=Constant(12.0, "V", "published", XL430),
    winding_limit=Constant(72, "°C", "published", f"{XL430}, register 31"),
)

XM430_W350 = Motor(
    name="Dynamixel XM430-W350",
    gear_ratio=Constant(353.5, "1", "published", XM430),
    torque_constant=Constant(1.78, "N·m/A", "published", f"{XM430}, stall torque divided by stall current"),
    resistance=Constant(5.2, "Ω", "published", f"{XM430}, voltage divided by stall current"),
    peak_torque=Constant(4.1, "N·m", "published", f"{XM430}, stall at 12 V"),
    voltage=Constant(12.0, "V", "published", XM430),
    winding_limit=Constant(80, "°C", "published", f"{XM430}, register 31"),
    thermal=_thermal(2.5, 45.0, 9.0, 6.0, "82 g"),
)

XM540_W270 = Motor(
    name="Dynamixel XM540-W270",
    gear_ratio=Constant(272.5, "1", "published", XM540),
    torque_constant=Constant(2.41, "N·m/A", "published", f"{XM540}, stall torque divided by stall current"),
    resistance=Constant(2.7, "Ω", "published", f"{XM540}, voltage divided by stall current"),
    peak_torque=Constant(10.6, "N·m", "published", f"{XM540}, stall at 12 V"),
    voltage=Constant(12.0, "V", "published", XM540),
    winding_limit=Constant(80, "°C", "published", f"{XM540}, register 31"),
    thermal=_thermal(5.0, 90.0, 6.0, 3.9, "165 g"),
)

MOTORS: Mapping[str, Motor] = {
    "xl330-m288": XL330_M288,
    "xl430-w250": XL430_W250,
    "xm430-w350": XM430_W350,
    "xm540-w270": XM540_W270,
}
"""Short name -> motor."""
