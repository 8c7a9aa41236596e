"""Motor constants of RobStride motors.

The thermal constants of the RS02 and RS03 are fitted to the overload tables of their manuals: seconds until 145 °C at
each torque, rotating, from 25 °C. A table determines time constants and ratios; an assumed heat capacity of 600 J/kgK
sets the scale.
"""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants

MANUAL = "RobStride product manuals, rated and overload tables"
FITTED_RESISTANCE = "fitted with the thermal constants: loss divided by squared rms current, all phases"


def _thermal(winding: float, housing: float, r1: float, r2: float, mass_kg: float) -> ThermalConstants:
    """Return constants that were fitted to an overload table [J/K, J/K, K/W, K/W]."""
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="fitted",
        source="least error of the times in the RobStride manual's overload table (rotating); the table determines "
        f"time constants and ratios, a heat capacity of {mass_kg} kg x 600 J/kgK (assumed) sets the scale",
    )


def _motor(
    name: str,
    *,
    gear: float,
    kt: float | None,
    rated: float,
    peak: float,
    resistance: float | None = None,
    thermal: ThermalConstants | None = None,
) -> Motor:
    """Return a motor; `kt` is in N·m per ampere rms, torques in N·m, the resistance in Ω; None if not published."""
    return Motor(
        name=f"RobStride {name}",
        gear_ratio=Constant(gear, "1", "published", MANUAL),
        torque_constant=None if kt is None else Constant(kt, "N·m/A", "published", f"{MANUAL}, N·m per A rms"),
        resistance=None if resistance is None else Constant(resistance, "Ω", "fitted", FITTED_RESISTANCE),
        rated_torque=Constant(rated, "N·m", "published", MANUAL),
        peak_torque=Constant(peak, "N·m", "published", MANUAL),
        voltage=Constant(48.0, "V", "published", MANUAL),
        winding_limit=Constant(145, "°C", "published", MANUAL),
        thermal=thermal,
    )


RS02_THERMAL = _thermal(13.5, 229, 0.659, 0.885, 0.405)
RS03_THERMAL = _thermal(35.6, 492, 0.657, 1.537, 0.88)

RS00 = _motor("RS00", gear=10, kt=1.48, rated=5, peak=14)
RS01 = _motor("RS01", gear=7.75, kt=None, rated=6, peak=17)
RS02 = _motor("RS02", gear=7.75, kt=1.22, rated=6, peak=17, resistance=0.996, thermal=RS02_THERMAL)
RS03 = _motor("RS03", gear=9, kt=2.36, rated=20, peak=60, resistance=0.448, thermal=RS03_THERMAL)
RS04 = _motor("RS04", gear=9, kt=2.1, rated=40, peak=120)
RS05 = _motor("RS05", gear=7.75, kt=0.94, rated=1.6, peak=5.5)
RS06 = _motor("RS06", gear=9, kt=1.09, rated=11, peak=36)
EL05 = Motor(
    name="RobStride EL05",
    peak_torque=Constant(6, "N·m", "published", "RobStride EL05 manual of 2026-07-13, full scale of the torque"),
)

MOTORS: Mapping[str, Motor] = {
    "rs00": RS00,
    "rs01": RS01,
    "rs02": RS02,
    "rs03": RS03,
    "rs04": RS04,
    "rs05": RS05,
    "rs06": RS06,
    "el05": EL05,
}
"""Short name -> motor."""
