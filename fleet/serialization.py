"""The store's views as JSON, for the page and for scripts.

JSON has neither NaN nor infinity: an unknown value is null, and an infinite one is "inf", as in the diagnostic message.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from waldo.fleet.heat_level import bands_c
from waldo.fleet.store import HISTORY_LENGTH, HISTORY_PERIOD_S, STALE_S, MotorView, RobotView
from waldo.robots import motor_readings
from waldo.robots.diagnostics import ComponentStatus, level_name


def number(value: float, digits: int = 4) -> float | str | None:
    """Return a value for JSON, rounded to a number of significant digits."""
    if math.isnan(value):
        return None
    # Rounding can carry the largest numbers beyond the largest float.
    rounded = float(format(value, f".{digits}g"))
    return "inf" if math.isinf(rounded) else rounded


def quantities_json() -> list[dict[str, str]]:
    """Return key, unit and description of every motor quantity."""
    return [
        {"key": one.key, "unit": one.unit, "description": one.description} for one in motor_readings.MOTOR_QUANTITIES
    ]


def motor_json(motor: MotorView) -> dict[str, Any]:
    """Return one motor; the history is omitted where the view has none."""
    found: dict[str, Any] = {
        "joint": motor.joint,
        "level": motor.level,
        "urgency": motor.urgency,
        "status": level_name(motor.status.level),
        "message": motor.status.message,
    }
    found |= {key: number(value) for key, value in motor.values.items()}
    found["headroom_ratio"] = number(motor.headroom_ratio)
    if motor.history:
        found["bands_celsius"] = [number(band) for band in bands_c(motor.values["limit_celsius"])]
        found["history"] = motor.history
    return found


def component_json(status: ComponentStatus) -> dict[str, Any]:
    """Return the status of one component."""
    return {
        "component": status.component,
        "status": level_name(status.level),
        "message": status.message,
        "values": dict(status.values),
    }


def robot_json(robot: RobotView) -> dict[str, Any]:
    """Return one robot."""
    return {
        "name": robot.name,
        "age_s": round(robot.age_s, 2),
        "stale": robot.stale,
        "state": robot.state,
        "reason": robot.reason,
        "battery_ratio": number(robot.battery_ratio),
        "first_joint": None if robot.first is None else robot.first.joint,
        "control": None if robot.control is None else component_json(robot.control),
        "components": [component_json(one) for one in robot.components],
        "faults": [component_json(one) for one in robot.faults],
        "motors": [motor_json(motor) for motor in robot.motors],
    }


def fleet_parts(robots: Sequence[RobotView], now_s: float, error: str | None, since: int = -1) -> Iterator[str]:
    """Yield the fleet as the parts of a JSON document, one for each robot.

    Args:
        robots: Every robot, in the order in which they are shown.
        now_s: Time on the store's clock [s].
        error: The reason why no messages are received; None if they are.
        since: Version after which a robot must have changed to be included; -1 includes every robot, and the list of
            motor quantities.
    """
    head: dict[str, Any] = {
        "now_s": round(now_s, 2),
        "error": error,
        "stale_s": STALE_S,
        "history_period_s": HISTORY_PERIOD_S,
        "history_length": HISTORY_LENGTH,
        "order": [robot.name for robot in robots],
        "stale": [robot.name for robot in robots if robot.stale],
    }
    if since < 0:
        head["quantities"] = quantities_json()
    yield _text(head)[:-1] + ',"robots":['
    separator = ""
    for robot in robots:
        if robot.version > since:
            yield separator + _text(robot_json(robot))
            separator = ","
    yield "]}"


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
