"""Motor constants of Unitree motors.

Unitree publishes peak torques, gear ratios and voltages of the G1's motors. The other constants, and most of those of
its hands, are assumed after motors of similar size, so that the simulated robot has plausible heat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants

G1_XML = "Unitree g1_29dof.xml (unitree_mujoco), actuatorfrcrange"
MJLAB_G1 = "mujocolab/mjlab, unitree_g1/g1_constants.py"
G1_MANUAL = "Unitree G1 manual, 13-cell battery, 58.8 V when full"
PROTECTION = "insulation class B, 130 °C; Unitree publishes only that its state bit 0x200 trips"

RATED_WINDING_C = 120
"""Winding temperature that the assumed resistances produce at the rated torque, held continuously at 25 °C [°C]."""


def _motor(name: str, *, peak: Constant, kt: float, like: str, mass_kg: float, r1: float, r2: float) -> Motor:
    """Return a motor of which only the peak torque is published.

    Args:
        name: Manufacturer and type.
        peak: Peak torque [N·m].
        kt: Torque constant of the motor `like` [N·m/A].
        like: Motor of similar torque.
        mass_kg: Mass [kg], for the heat capacities.
        r1: Thermal resistance from winding to housing [K/W].
        r2: Thermal resistance from housing to ambient [K/W].
    """
    rated = peak.value / 3
    rise = RATED_WINDING_C - 25
    hot_ohm = rise / (r1 + r2) / (rated / kt) ** 2
    return Motor(
        name=name,
        torque_constant=Constant(kt, "N·m/A", "assumed", f"{like}, a motor of similar torque"),
        resistance=Constant(
            hot_ohm / (1 + 0.00393 * rise),
            "Ω",
            "assumed",
            f"the rated torque, held continuously, heats the winding to {RATED_WINDING_C} °C",
        ),
        rated_torque=Constant(rated, "N·m", "assumed", "a third of the peak, as on the RobStride RS00 to RS06"),
        peak_torque=peak,
        winding_limit=Constant(130, "°C", "assumed", PROTECTION),
        thermal=ThermalConstants(
            winding_j_per_k=mass_kg * 0.12 * 390,
            housing_j_per_k=mass_kg * 0.88 * 700,
            winding_to_housing_k_per_w=r1,
            housing_to_ambient_k_per_w=r2,
            basis="assumed",
            source=f"{mass_kg} kg, 12 % of it copper (390 J/kgK), the rest steel and aluminum (700 J/kgK); R_1 and R_2 "
            "between those of Mini Cheetah (1.25 K/W), Dephy ActPack (1.07/1.94 K/W) and mj5208 (4.55 K/W), by size",
        ),
    )


def _g1_motor(
    name: str, *, gear: float, peak: float, kt: float, like: str, mass_kg: float, r1: float, r2: float
) -> Motor:
    """Return one of the G1's motors, with its gear ratio; see `_motor`."""
    torque = Constant(peak, "N·m", "published", G1_XML)
    return dataclasses.replace(
        _motor(f"Unitree {name}", peak=torque, kt=kt, like=f"RobStride {like}", mass_kg=mass_kg, r1=r1, r2=r2),
        gear_ratio=Constant(gear, "1", "published", MJLAB_G1),
        voltage=Constant(58.0, "V", "published", G1_MANUAL),
    )


G1_5020 = _g1_motor("5020", gear=16, peak=25, kt=1.22, like="RS02", mass_kg=0.35, r1=1.2, r2=2.8)
G1_5020_PAIR = _g1_motor("5020 pair", gear=16, peak=50, kt=2.36, like="RS03", mass_kg=0.70, r1=0.6, r2=1.5)
"""Two 5020 motors that drive one joint through rods (waist roll and pitch)."""
G1_7520_14 = _g1_motor("7520-14", gear=14.3, peak=88, kt=2.36, like="RS03", mass_kg=0.85, r1=0.8, r2=1.6)
G1_7520_22 = _g1_motor("7520-22", gear=22.5, peak=139, kt=2.1, like="RS04", mass_kg=0.95, r1=0.8, r2=1.5)
G1_4010 = _g1_motor("4010", gear=25, peak=5, kt=0.94, like="RS05", mass_kg=0.14, r1=2.0, r2=5.0)


def _hand_motor(name: str, *, peak: float, source: str, kt: float, mass_kg: float, r1: float, r2: float) -> Motor:
    """Return a motor of a hand; see `_motor`."""
    torque = Constant(peak, "N·m", "published", f"unitreerobotics/xr_teleoperate, assets/{source}")
    return _motor(name, peak=torque, kt=kt, like="Dynamixel XL330-M288", mass_kg=mass_kg, r1=r1, r2=r2)


DEX3_XML, RH56_URDF = "g1/g1_body29_hand14.xml, actuatorfrcrange", "inspire_hand/inspire_hand_left.urdf, effort"
DEX3_THUMB = _hand_motor("Unitree Dex3-1 thumb base", peak=2.45, source=DEX3_XML, kt=0.6, mass_kg=0.06, r1=3.0, r2=9.0)
DEX3_FINGER = _hand_motor("Unitree Dex3-1 finger", peak=1.4, source=DEX3_XML, kt=0.37, mass_kg=0.04, r1=4.0, r2=12.0)
INSPIRE_FINGER = _hand_motor(
    "Inspire RH56DFX actuator", peak=1.0, source=RH56_URDF, kt=0.37, mass_kg=0.03, r1=5.0, r2=15.0
)

GO_M8010_6 = Motor(
    name="Unitree GO-M8010-6",
    gear_ratio=Constant(6.33, "1", "published", "Unitree data sheet"),
    winding_limit=Constant(90, "°C", "published", "Unitree manual, protection at 90 °C"),
)

MOTORS: Mapping[str, Motor] = {
    "g1-5020": G1_5020,
    "g1-5020-pair": G1_5020_PAIR,
    "g1-7520-14": G1_7520_14,
    "g1-7520-22": G1_7520_22,
    "g1-4010": G1_4010,
    "dex3-thumb": DEX3_THUMB,
    "dex3-finger": DEX3_FINGER,
    "inspire-rh56": INSPIRE_FINGER,
    "go-m8010-6": GO_M8010_6,
}
"""Short name -> motor."""
