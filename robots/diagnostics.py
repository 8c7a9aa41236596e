"""Motor readings on the wire: DiagnosticArray (REP-107), one status a motor, keys that bear their unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waldo.ros import ns_to_stamp

if TYPE_CHECKING:
    from waldo.robots.driver import MotorReadings

KEYS: Mapping[str, str] = {
    "winding_celsius": "winding_c",
    "winding_std_kelvin": "winding_std_k",
    "housing_celsius": "housing_c",
    "limit_celsius": "limit_c",
    "current_amperes": "current_a",
    "voltage_volts": "voltage_v",
    "torque_newton_metres": "torque_nm",
    "duty_ratio": "duty_ratio",
    "utilization_ratio": "utilization_ratio",
    "time_to_limit_seconds": "time_to_limit_s",
    "time_to_limit_p10_seconds": "time_to_limit_p10_s",
    "time_to_limit_p90_seconds": "time_to_limit_p90_s",
    "time_to_limit_planned_seconds": "time_to_limit_planned_s",
    "episodes_left": "episodes_left",
    "cooldown_seconds": "cooldown_s",
    "derate_ratio": "derate_ratio",
    "winding_sensor_celsius": "winding_sensor_c",
    "housing_sensor_celsius": "housing_sensor_c",
    "driver_sensor_celsius": "driver_sensor_c",
}
"""Key in a status -> field of MotorReadings."""

WARN_MARGIN_K = 15.0
"""A motor this near its limit is a warning [K]; at the limit it is an error."""


def to_text(value: float) -> str:
    """Return a value as a status carries it: empty for unknown, "inf" for never."""
    return "" if math.isnan(value) else format(value, ".6g")


def from_text(text: str) -> float:
    """Return the value of a status's text; NaN for unknown or unreadable."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def level_of(winding_c: float, limit_c: float) -> tuple[int, str]:
    """Return the diagnostic level (0 OK, 1 WARN, 2 ERROR) of a motor and the message that goes with it."""
    headroom = limit_c - winding_c
    if math.isnan(headroom):
        return 0, "temperature or limit unknown"
    if headroom <= 0:
        return 2, f"winding at {winding_c:.1f} °C, limit {limit_c:.0f} °C"
    if headroom <= WARN_MARGIN_K:
        return 1, f"winding at {winding_c:.1f} °C, {headroom:.1f} K below the limit"
    return 0, f"winding at {winding_c:.1f} °C"


def to_message(
    robot: str, joints: Sequence[str], serials: Sequence[str], readings: MotorReadings, stamp_ns: int
) -> Any:
    """Return the DiagnosticArray of a robot's motors."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    message = DiagnosticArray()
    message.header.stamp = ns_to_stamp(stamp_ns)
    statuses: list[Any] = []
    for i, (joint, serial) in enumerate(zip(joints, serials, strict=True)):
        level, text = level_of(float(readings.winding_c[i]), float(readings.limit_c[i]))
        if readings.notes[i]:
            level, text = max(level, 1), f"{text}; {readings.notes[i]}"
        values = [KeyValue(key=key, value=to_text(float(getattr(readings, field)[i]))) for key, field in KEYS.items()]
        statuses.append(
            DiagnosticStatus(
                level=bytes([level]), name=f"{robot}: {joint}", message=text, hardware_id=serial, values=values
            )
        )
    message.status = statuses
    return message


def from_message(message: Any) -> dict[str, dict[str, float]]:
    """Return joint -> key -> value of the motors that a DiagnosticArray tells of; other statuses are passed over."""
    found: dict[str, dict[str, float]] = {}
    for status in message.status:
        values = {pair.key: from_text(pair.value) for pair in status.values if pair.key in KEYS}
        if values:
            found[status.name.rpartition(": ")[2]] = values
    return found


def recorder_state(message: Any, namespace: str) -> str | None:
    """Return the state that the recorder of a namespace tells in a DiagnosticArray; None where it tells none."""
    for status in message.status:
        if status.name.endswith(": recorder") and status.hardware_id == namespace:
            return next((pair.value for pair in status.values if pair.key == "state"), None)
    return None


def column(motors: Mapping[str, Mapping[str, float]], joints: Sequence[str], key: str) -> NDArray[np.float64]:
    """Return one key of `from_message`'s result in the order of `joints`, shape (joints,); NaN where it is missing."""
    return np.array([motors.get(joint, {}).get(key, math.nan) for joint in joints])
