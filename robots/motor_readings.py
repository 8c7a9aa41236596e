"""The motor quantities: what is known of each motor, and how each quantity is named on every interface.

`MotorReadings` declares one field per quantity. The declaration is the only place that lists a quantity's diagnostic
key, unit, Prometheus metric, name in recordings and description: diagnostics, recorder, importers, exporters, fleet
and the LeRobot plug-in read `motor_quantities()`. Adding a quantity is adding one field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorQuantity:
    """One quantity of a motor, and its name on every interface."""

    attribute: str
    """Attribute of `MotorReadings`."""
    key: str
    """Key in a `DiagnosticStatus` of the `motors` topic; ends in the unit."""
    unit: str
    """SI unit or °C; "1" for a ratio or count."""
    description: str
    """One phrase without a unit, used as the metric's help text and in documentation."""
    recorded: str = ""
    """Field of the `motors` stream of an episode; empty if the quantity is not recorded."""
    exported: bool = True
    """Whether a recorded quantity becomes a `telemetry.*` column of exported rows."""
    metric: str = ""
    """Prometheus metric after `waldo_joint_`; empty if the quantity is not exposed."""
    labels: Mapping[str, str] = MappingProxyType({})
    """Constant labels of the metric."""


def _quantity(key: str, unit: str, description: str, **options: Any) -> Any:
    """Declare a field of `MotorReadings`; `options` are those of `MotorQuantity`."""
    return field(metadata={"key": key, "unit": unit, "description": description, **options})


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorReadings:
    """What is known of each motor; every array has shape (joints,), NaN where a value is unknown."""

    winding_c: Array = _quantity(
        "winding_celsius",
        "°C",
        "winding temperature, measured or estimated",
        recorded="winding",
        metric="temperature_celsius",
        labels={"node": "winding"},
    )
    winding_std_k: Array = _quantity(
        "winding_std_kelvin", "K", "standard deviation of the winding temperature", recorded="winding_std"
    )
    housing_c: Array = _quantity(
        "housing_celsius",
        "°C",
        "housing temperature",
        recorded="housing",
        metric="temperature_celsius",
        labels={"node": "housing"},
    )
    housing_std_k: Array = _quantity("housing_std_kelvin", "K", "standard deviation of the housing temperature")
    current_a: Array = _quantity("current_amperes", "A", "motor current", recorded="current", metric="current_amperes")
    voltage_v: Array = _quantity("voltage_volts", "V", "supply voltage", recorded="voltage", metric="voltage_volts")
    torque_nm: Array = _quantity(
        "torque_newton_metres", "N·m", "torque at the joint", recorded="torque", metric="torque_newton_metres"
    )
    duty_ratio: Array = _quantity(
        "duty_ratio",
        "1",
        "fraction of the last ten minutes under load, 0 to 1 (IEC 60034-1, cyclic duration factor)",
        recorded="duty",
        metric="duty_ratio",
        labels={"window": "10m"},
    )
    utilization_ratio: Array = _quantity(
        "utilization_ratio",
        "1",
        "steady temperature rise at the mean heating of the last ten minutes, divided by the rise to the limit",
        metric="thermal_utilization_ratio",
    )
    time_to_limit_s: Array = _quantity(
        "time_to_limit_seconds",
        "s",
        "forecast of the time until the limit if the load of the last half minute continues, median; infinite if never",
        recorded="time_to_limit",
        exported=False,
        metric="time_to_limit_seconds",
        labels={"percentile": "50"},
    )
    time_to_limit_p10_s: Array = _quantity("time_to_limit_p10_seconds", "s", "10 % quantile of the time to limit")
    time_to_limit_p90_s: Array = _quantity("time_to_limit_p90_seconds", "s", "90 % quantile of the time to limit")
    time_to_limit_planned_s: Array = _quantity(
        "time_to_limit_planned_seconds",
        "s",
        "time until the limit under the mean load of the last episodes; unknown before the first one",
    )
    episodes_left: Array = _quantity(
        "episodes_left",
        "1",
        "number of further episodes like the last ones before the limit; infinite if unlimited",
    )
    cooldown_s: Array = _quantity(
        "cooldown_seconds", "s", "idle time until the winding has cooled down; 0 if it is cool"
    )
    derate_ratio: Array = _quantity(
        "derate_ratio", "1", "fraction of full speed that the governor allows, 0 to 1", recorded="derate"
    )
    limit_c: Array = _quantity(
        "limit_celsius", "°C", "limit of the winding temperature", metric="temperature_limit_celsius"
    )
    winding_sensor_c: Array = _quantity(
        "winding_sensor_celsius", "°C", "reading of the winding's temperature sensor", recorded="winding_sensor"
    )
    housing_sensor_c: Array = _quantity(
        "housing_sensor_celsius", "°C", "reading of the housing's temperature sensor", recorded="housing_sensor"
    )
    driver_sensor_c: Array = _quantity(
        "driver_sensor_celsius", "°C", "reading of the motor controller's temperature sensor", recorded="driver_sensor"
    )
    notes: tuple[str, ...]
    """Faults and warnings of each motor and its sensors, as text; empty if there are none."""


def motor_quantities(readings: type = MotorReadings) -> tuple[MotorQuantity, ...]:
    """Return the quantities that a class of readings declares, in the order of declaration."""
    return tuple(MotorQuantity(attribute=f.name, **f.metadata) for f in fields(readings) if f.metadata)


MOTOR_QUANTITIES: tuple[MotorQuantity, ...] = motor_quantities()
"""The quantities of `MotorReadings`. Read it as an attribute of this module, so that a test can extend it."""
