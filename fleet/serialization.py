"""The store's views as JSON for the page and for scripts.

JSON has neither NaN nor infinity: an unknown value is null, and a limit that is never reached is "inf", the word that
the robot itself uses for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from waldo.fleet.heat_level import bands_c
from waldo.fleet.store import HISTORY_LENGTH, HISTORY_PERIOD_S, STALE_S, MotorView, RobotView


def number(value: float, digits: int = 4) -> float | str | None:
    """Return a value for JSON with that many significant digits."""
    if math.isnan(value):
        return None
    # Rounding can carry the largest numbers beyond the largest float.
    rounded = float(format(value, f".{digits}g"))
    return "inf" if math.isinf(rounded) else rounded


def motor_json(motor: MotorView) -> dict[str, Any]:
    """Return one motor for JSON; history is left out where the view has none."""
    found: dict[str, Any] = {"joint": motor.joint, "level": motor.level, "urgency": motor.urgency}
    found |= {key: number(value) for key, value in motor.values.items()}
    found["headroom_ratio"] = number(motor.headroom_ratio)
    if motor.history:
        found["bands_celsius"] = [number(band) for band in bands_c(motor.values["limit_celsius"])]
        found["history"] = [
            [round(when, 2), number(winding), number(housing)] for when, winding, housing in motor.history
        ]
    return found


def robot_json(robot: RobotView) -> dict[str, Any]:
    """Return one robot for JSON."""
    return {
        "name": robot.name,
        "age_s": round(robot.age_s, 2),
        "stale": robot.stale,
        "battery_ratio": number(robot.battery_ratio),
        "first_joint": None if robot.first is None else robot.first.joint,
        "motors": [motor_json(motor) for motor in robot.motors],
    }


def fleet_json(robots: Sequence[RobotView], now_s: float, error: str | None, since: int = -1) -> dict[str, Any]:
    """Return the fleet for JSON: everybody's order, what the robots heard after version `since` say, and trouble."""
    return {
        "now_s": round(now_s, 2),
        "error": error,
        "stale_s": STALE_S,
        "history_period_s": HISTORY_PERIOD_S,
        "history_length": HISTORY_LENGTH,
        "order": [robot.name for robot in robots],
        "stale": [robot.name for robot in robots if robot.stale],
        "robots": [robot_json(robot) for robot in robots if robot.version > since],
    }
