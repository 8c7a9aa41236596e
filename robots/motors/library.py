"""The motor library: published values with their sources, `None` where there is none, assumptions marked as such.

A simulation needs a torque constant, a resistance and thermal constants. Where no vendor publishes them, the motors
that the presets use carry assumed ones; how they were had stands in `sources` ("assumed: ...") and in
`ThermalConstants.source`. The other motors keep `None`, and what needs the value says so (UnpublishedError).
"""

from __future__ import annotations

from waldo.errors import UnknownNameError
from waldo.robots.motor import Motor
from waldo.robots.thermal.two_node import ThermalConstants

SO_ARM_134 = "https://github.com/TheRobotStudio/SO-ARM100/issues/134"
SO_ARM_132 = "https://github.com/TheRobotStudio/SO-ARM100/issues/132"
FEETECH_RATED = "Feetech in https://github.com/roboninecom/SO-ARM100-101-Parallel-Gripper/issues/5: 5 kg·cm"
FEETECH_TABLE = "Feetech STS memory table, register 13 (maximum temperature)"
BAM = "Rhoban/bam, fit of an STS3215"
ROBOTIS = "https://emanual.robotis.com/docs/en/dxl/x/"
ROBSTRIDE = "RobStride product manuals, rated and overload tables"
UNITREE_G1 = "Unitree g1_29dof.xml (unitree_mujoco), actuatorfrcrange"
MJLAB_G1 = "mujocolab/mjlab, unitree_g1/g1_constants.py"
UNITREE_PROTECTION = "assumed: insulation class B, 130 °C; Unitree publishes only that its state bit 0x200 trips"

_STS3215_THERMAL = ThermalConstants(
    winding_j_per_k=5.0,
    housing_j_per_k=42.0,
    winding_to_housing_k_per_w=4.0,
    housing_to_ambient_k_per_w=2.8,
    basis="assumed",
    source="R_2 from the one published test: 1.47 N·m held on 12 V settles at 48 °C, with i = 1.47/1.08 A, 4.44 Ω, "
    f"8.2 W and 25 °C ambient (assumed), 23 K / 8.2 W = 2.8 K/W ({SO_ARM_134}). "
    "C_w: 12 g of copper and iron at 0.42 J/gK; C_h: the other 43 g at about 1 J/gK; "
    "R_1: a winding time constant of 20 s (assumed)",
)


def _assumed(winding: float, housing: float, r1: float, r2: float, source: str) -> ThermalConstants:
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="assumed",
        source=source,
    )


STS3215_7V = Motor(
    name="Feetech STS3215 7.4 V",
    gear_ratio=345,
    torque_constant_nm_per_a=0.78,
    resistance_ohm=2.68,
    rated_torque_nm=0.49,
    peak_torque_nm=1.91,
    voltage_v=7.4,
    winding_limit_c=70,
    thermal=_STS3215_THERMAL,
    sources={
        "gear_ratio": "Feetech STS3215-C001 data sheet, 1/345",
        "torque_constant_nm_per_a": "Feetech STS3215-C001 data sheet, 8 kg·cm/A (the fit of Rhoban/bam is 1.21)",
        "resistance_ohm": BAM,
        "rated_torque_nm": FEETECH_RATED,
        "peak_torque_nm": "Feetech STS3215-C001 data sheet, stall torque 19.5 kg·cm at 7.4 V",
        "voltage_v": "Feetech STS3215-C001 data sheet",
        "winding_limit_c": f"{FEETECH_TABLE}; it is the sensor on the board that is limited",
    },
)
"""The servo of the LeRobot SO-101 kit's follower."""

STS3215_12V = Motor(
    name="Feetech STS3215 12 V",
    gear_ratio=345,
    torque_constant_nm_per_a=1.08,
    resistance_ohm=4.44,
    peak_torque_nm=2.94,
    no_load_speed_rad_s=4.71,
    voltage_v=12.0,
    winding_limit_c=70,
    thermal=_STS3215_THERMAL,
    sources={
        "gear_ratio": "Feetech STS3215-C018 data sheet, 1/345",
        "torque_constant_nm_per_a": f"11 kg·cm/A, {SO_ARM_132}",
        "resistance_ohm": f"12 V over the stall current of 2.7 A, {SO_ARM_132}",
        "peak_torque_nm": f"stall torque 30 kg·cm, {SO_ARM_134}",
        "no_load_speed_rad_s": f"45 rpm, {SO_ARM_134}",
        "voltage_v": "Feetech STS3215-C018 data sheet",
        "winding_limit_c": f"{FEETECH_TABLE}; it is the sensor on the board that is limited",
    },
)

XL330_M288 = Motor(
    name="Dynamixel XL330-M288",
    gear_ratio=288.4,
    torque_constant_nm_per_a=0.37,
    resistance_ohm=2.8,
    peak_torque_nm=0.52,
    voltage_v=5.0,
    winding_limit_c=70,
    sources={
        "gear_ratio": f"{ROBOTIS}xl330-m288/",
        "torque_constant_nm_per_a": "Rhoban/bam, fit",
        "resistance_ohm": "Rhoban/bam, fit",
        "peak_torque_nm": f"{ROBOTIS}xl330-m288/, stall at 5 V, 1.47 A",
        "voltage_v": f"{ROBOTIS}xl330-m288/",
        "winding_limit_c": f"{ROBOTIS}xl330-m288/, register 31",
    },
)

XM430_W350 = Motor(
    name="Dynamixel XM430-W350",
    gear_ratio=353.5,
    torque_constant_nm_per_a=1.78,
    resistance_ohm=5.2,
    peak_torque_nm=4.1,
    voltage_v=12.0,
    winding_limit_c=80,
    sources={
        "gear_ratio": f"{ROBOTIS}xm430-w350/",
        "torque_constant_nm_per_a": f"{ROBOTIS}xm430-w350/, stall torque over stall current",
        "resistance_ohm": f"{ROBOTIS}xm430-w350/, voltage over stall current",
        "peak_torque_nm": f"{ROBOTIS}xm430-w350/, stall at 12 V",
        "voltage_v": f"{ROBOTIS}xm430-w350/",
        "winding_limit_c": f"{ROBOTIS}xm430-w350/, register 31",
    },
)

XM540_W270 = Motor(
    name="Dynamixel XM540-W270",
    gear_ratio=272.5,
    torque_constant_nm_per_a=2.41,
    resistance_ohm=2.7,
    peak_torque_nm=10.6,
    voltage_v=12.0,
    winding_limit_c=80,
    sources={
        "gear_ratio": f"{ROBOTIS}xm540-w270/",
        "torque_constant_nm_per_a": f"{ROBOTIS}xm540-w270/, stall torque over stall current",
        "resistance_ohm": f"{ROBOTIS}xm540-w270/, voltage over stall current",
        "peak_torque_nm": f"{ROBOTIS}xm540-w270/, stall at 12 V",
        "voltage_v": f"{ROBOTIS}xm540-w270/",
        "winding_limit_c": f"{ROBOTIS}xm540-w270/, register 31",
    },
)


def _damiao(name: str, gear: float, rated: float, peak: float) -> Motor:
    source = "Damiao data sheet"
    return Motor(
        name=f"Damiao {name}",
        gear_ratio=gear,
        rated_torque_nm=rated,
        peak_torque_nm=peak,
        voltage_v=24.0,
        sources=dict.fromkeys(("gear_ratio", "rated_torque_nm", "peak_torque_nm", "voltage_v"), source),
    )


DM_J4310 = _damiao("DM-J4310", 10, 3, 7)
DM_J4340 = _damiao("DM-J4340", 40, 9, 27)


def _fitted(winding: float, housing: float, r1: float, r2: float, mass_kg: float) -> ThermalConstants:
    """Constants fitted to a RobStride overload table: seconds until 145 °C at each torque, rotating, from 25 °C."""
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="fitted",
        source="least error of the times in the RobStride manual's overload table (rotating); the table fixes "
        f"time constants and ratios, a heat capacity of {mass_kg} kg x 600 J/kgK (assumed) fixes the scale",
    )


def _robstride(
    name: str,
    gear: float,
    kt: float,
    rated: float,
    peak: float,
    resistance: float | None = None,
    thermal: ThermalConstants | None = None,
) -> Motor:
    fields = ("gear_ratio", "rated_torque_nm", "peak_torque_nm", "voltage_v", "winding_limit_c")
    sources = {**dict.fromkeys(fields, ROBSTRIDE), "torque_constant_nm_per_a": f"{ROBSTRIDE}, N·m per A rms"}
    if resistance is not None:
        sources["resistance_ohm"] = "fitted with the thermal constants: loss over squared rms current, all phases"
    return Motor(
        name=f"RobStride {name}",
        gear_ratio=gear,
        torque_constant_nm_per_a=kt,
        resistance_ohm=resistance,
        rated_torque_nm=rated,
        peak_torque_nm=peak,
        voltage_v=48.0,
        winding_limit_c=145,
        thermal=thermal,
        sources=sources,
    )


RS00 = _robstride("RS00", 10, 1.48, 5, 14)
RS02 = _robstride("RS02", 7.75, 1.22, 6, 17, 0.996, _fitted(13.5, 229, 0.659, 0.885, 0.405))
RS03 = _robstride("RS03", 9, 2.36, 20, 60, 0.448, _fitted(35.6, 492, 0.657, 1.537, 0.88))
RS04 = _robstride("RS04", 9, 2.1, 40, 120)
RS05 = _robstride("RS05", 7.75, 0.94, 1.6, 5.5)
RS06 = _robstride("RS06", 9, 1.09, 11, 36)


def _unitree(name: str, gear: float, peak: float, kt: float, twin: str, mass_kg: float, r1: float, r2: float) -> Motor:
    """One of the G1's motors; what Unitree does not publish is assumed after a RobStride motor of about its size."""
    rated = peak / 3
    # The resistance with which the rated torque, held for ever at 25 °C ambient, warms the winding to 120 °C.
    loss_w = (120 - 25) / (r1 + r2)
    hot_ohm = loss_w / (rated / kt) ** 2
    return Motor(
        name=f"Unitree {name}",
        gear_ratio=gear,
        torque_constant_nm_per_a=kt,
        resistance_ohm=hot_ohm / (1 + 0.00393 * (120 - 25)),
        rated_torque_nm=rated,
        peak_torque_nm=peak,
        voltage_v=58.0,
        winding_limit_c=130,
        thermal=_assumed(
            mass_kg * 0.12 * 390,
            mass_kg * 0.88 * 700,
            r1,
            r2,
            f"{mass_kg} kg, 12 % of it copper (390 J/kgK), the rest steel and aluminium (700 J/kgK); R_1 and R_2 "
            "between those of Mini Cheetah (1.25 K/W), Dephy ActPack (1.07/1.94 K/W) and mj5208 (4.55 K/W), by size",
        ),
        sources={
            "gear_ratio": MJLAB_G1,
            "torque_constant_nm_per_a": f"assumed: that of the RobStride {twin}, a motor of like torque",
            "resistance_ohm": "assumed: so that the rated torque, held for ever, warms the winding to 120 °C",
            "rated_torque_nm": "assumed: a third of the peak, as on the RobStride RS00 to RS06",
            "peak_torque_nm": UNITREE_G1,
            "voltage_v": "Unitree G1 manual, 13-cell battery, 58.8 V when full",
            "winding_limit_c": UNITREE_PROTECTION,
        },
    )


G1_5020 = _unitree("5020", 16, 25, 1.22, "RS02", 0.35, 1.2, 2.8)
G1_5020_PAIR = _unitree("5020 pair", 16, 50, 2.36, "RS03", 0.70, 0.6, 1.5)
"""Two 5020 motors that drive one joint through rods (waist roll and pitch)."""
G1_7520_14 = _unitree("7520-14", 14.3, 88, 2.36, "RS03", 0.85, 0.8, 1.6)
G1_7520_22 = _unitree("7520-22", 22.5, 139, 2.1, "RS04", 0.95, 0.8, 1.5)
G1_4010 = _unitree("4010", 25, 5, 0.94, "RS05", 0.14, 2.0, 5.0)

GO_M8010_6 = Motor(
    name="Unitree GO-M8010-6",
    gear_ratio=6.33,
    winding_limit_c=90,
    sources={"gear_ratio": "Unitree data sheet", "winding_limit_c": "Unitree manual, protection at 90 °C"},
)

AK80_9 = Motor(
    name="CubeMars AK80-9",
    gear_ratio=9,
    torque_constant_nm_per_a=0.115 * 9,
    peak_torque_nm=18,
    sources={
        "gear_ratio": "CubeMars data sheet",
        "torque_constant_nm_per_a": "CubeMars data sheet, 0.115 at the rotor times 9",
        "peak_torque_nm": "CubeMars data sheet",
    },
)

MOTORS: dict[str, Motor] = {
    "sts3215-7v": STS3215_7V,
    "sts3215-12v": STS3215_12V,
    "xl330-m288": XL330_M288,
    "xm430-w350": XM430_W350,
    "xm540-w270": XM540_W270,
    "dm-j4310": DM_J4310,
    "dm-j4340": DM_J4340,
    "rs00": RS00,
    "rs02": RS02,
    "rs03": RS03,
    "rs04": RS04,
    "rs05": RS05,
    "rs06": RS06,
    "g1-5020": G1_5020,
    "g1-5020-pair": G1_5020_PAIR,
    "g1-7520-14": G1_7520_14,
    "g1-7520-22": G1_7520_22,
    "g1-4010": G1_4010,
    "go-m8010-6": GO_M8010_6,
    "ak80-9": AK80_9,
}
"""Short name -> motor."""


def load_motor(name: str) -> Motor:
    """Return the motor `name`; an unknown one is answered with the nearest that exists."""
    if name not in MOTORS:
        raise UnknownNameError("motor", name, MOTORS)
    return MOTORS[name]
