"""Motor readings and component states as `DiagnosticArray` messages (REP-107).

The `motors` topic carries one status per motor, whose keys end in their unit. The `status` topic carries one status per
component of the robot: its control mode, its governor and each camera. The level and message of a status report faults
and warnings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from waldo.robots import motor_readings
from waldo.robots.thermal.limits import WARN_MARGIN_K
from waldo.ros import ns_to_stamp
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.robots.motor_readings import MotorReadings

OK, WARN, ERROR = 0, 1, 2
"""Diagnostic levels."""

STALE = 3
"""Level of a component that has stopped reporting; other publishers use it, waldo does not."""

LEVEL_NAMES = ("ok", "warning", "error", "stale")
"""Name of each diagnostic level, by its number."""


CONTROL, GOVERNOR = "control", "governor"
"""Components of every robot's status, beside its cameras."""

RATE_KEY = "rate_hertz"
"""Key of the rate at which a robot publishes its state, in the status of its component "control"."""

UNKNOWN_TEMPERATURE = "temperature or limit unknown"
"""Message of a motor with an unknown winding temperature or limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorStatus:
    """One motor as received from the `motors` topic."""

    level: int = OK
    """Diagnostic level: `OK`, `WARN` or `ERROR`."""
    message: str = ""
    """Temperature and faults, as text."""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    """Diagnostic key -> value; NaN for unknown."""

    @property
    def faults(self) -> str:
        """The message without its text on the winding temperature; empty if there are no faults."""
        parts = self.message.split("; ")
        return "; ".join(part for part in parts if not part.startswith(("winding at ", UNKNOWN_TEMPERATURE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """One component of a robot: "control", "governor", "camera front"."""

    component: str
    level: int = OK
    """Diagnostic level: `OK`, `WARN` or `ERROR`."""
    message: str = ""
    """The component's state or fault, as text."""
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further values of the component, as text."""


def to_text(value: float) -> str:
    """Return a value as the text of a status: empty for unknown, "inf" for infinite."""
    return "" if math.isnan(value) else format(value, ".6g")


def from_text(text: str) -> float:
    """Return the value of a status's text; NaN for unknown or unreadable."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def level_name(level: int) -> str:
    """Return the name of a diagnostic level: "ok", "warning", "error" or "stale"."""
    return LEVEL_NAMES[min(max(level, 0), STALE)]


def level_of(winding_c: float, limit_c: float) -> tuple[int, str]:
    """Return the diagnostic level of a motor and its message."""
    headroom = limit_c - winding_c
    if math.isnan(headroom):
        return OK, UNKNOWN_TEMPERATURE
    if headroom <= 0:
        return ERROR, f"winding at {winding_c:.1f} °C, limit {limit_c:.0f} °C"
    if headroom <= WARN_MARGIN_K:
        return WARN, f"winding at {winding_c:.1f} °C, {headroom:.1f} K below the limit"
    return OK, f"winding at {winding_c:.1f} °C"


def to_message(
    robot: str, joints: Sequence[str], serials: Sequence[str], readings: MotorReadings, stamp_ns: int
) -> Any:
    """Return the `motors` message of a robot."""
    statuses: list[Any] = []
    for i, (joint, serial) in enumerate(zip(joints, serials, strict=True)):
        level, text = level_of(float(readings.winding_c[i]), float(readings.limit_c[i]))
        if readings.notes[i]:
            level, text = max(level, WARN), f"{text}; {readings.notes[i]}"
        values = {
            quantity.key: to_text(float(getattr(readings, quantity.attribute)[i]))
            for quantity in motor_readings.MOTOR_QUANTITIES
        }
        statuses.append(_status(f"{robot}: {joint}", level, text, serial, values))
    return _array(statuses, stamp_ns)


def from_message(message: Any) -> dict[str, MotorStatus]:
    """Return joint -> status of the motors in a `DiagnosticArray`; other statuses are skipped."""
    keys = {quantity.key for quantity in motor_readings.MOTOR_QUANTITIES}
    found: dict[str, MotorStatus] = {}
    for status in message.status:
        values = {pair.key: from_text(pair.value) for pair in status.values if pair.key in keys}
        if values:
            joint = status.name.rpartition(": ")[2]
            found[joint] = MotorStatus(level=_level(status), message=status.message, values=values)
    return found


def component_message(robot: str, components: Sequence[ComponentStatus], stamp_ns: int) -> Any:
    """Return the `status` message of a robot; `robot` is its namespace, which is also the hardware id."""
    statuses = [_status(f"{robot}: {one.component}", one.level, one.message, robot, one.values) for one in components]
    return _array(statuses, stamp_ns)


def components_from_message(message: Any) -> dict[str, ComponentStatus]:
    """Return component -> status of a `status` message."""
    found: dict[str, ComponentStatus] = {}
    for status in message.status:
        component = status.name.rpartition(": ")[2]
        found[component] = ComponentStatus(
            component=component,
            level=_level(status),
            message=status.message,
            values={pair.key: pair.value for pair in status.values},
        )
    return found


def recorder_state(message: Any, namespace: str) -> str | None:
    """Return the state of a namespace's recorder from a `DiagnosticArray`; None if it contains none."""
    for status in message.status:
        if status.name.endswith(": recorder") and status.hardware_id == namespace:
            return next((pair.value for pair in status.values if pair.key == "state"), None)
    return None


def column(motors: Mapping[str, MotorStatus], joints: Sequence[str], key: str) -> Array:
    """Return one key of `from_message`'s result in the order of `joints`, shape (joints,); NaN where it is missing."""
    return np.array([motors[joint].values.get(key, math.nan) if joint in motors else math.nan for joint in joints])


def _status(name: str, level: int, message: str, hardware_id: str, values: Mapping[str, str]) -> Any:
    from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id=hardware_id, values=pairs)


def _array(statuses: list[Any], stamp_ns: int) -> Any:
    from diagnostic_msgs.msg import DiagnosticArray

    message = DiagnosticArray(status=statuses)
    message.header.stamp = ns_to_stamp(stamp_ns)
    return message


def _level(status: Any) -> int:
    """Return a status's level: rclpy represents a `byte` as bytes, other clients as an integer."""
    return int.from_bytes(status.level) if isinstance(status.level, bytes) else int(status.level)
