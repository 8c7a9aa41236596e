"""How much heat each motor can still take, as one number from the readings on the `motors` topic."""

from __future__ import annotations

import math
from collections.abc import Mapping

from waldo.robots.diagnostics import MotorStatus
from waldo.robots.thermal.limits import WARN_MARGIN_K

FULL_MARGIN_K = 2 * WARN_MARGIN_K
"""Distance of a winding from its limit at which a motor counts as cool [K]; diagnostics warn at half of it."""

FULL_TIME_S = 600.0
"""Time to the limit at which a motor counts as cool [s]: an operator who moves differently has time to."""


def heat_margins(motors: Mapping[str, MotorStatus]) -> dict[str, float]:
    """Return joint -> heat margin, from 1 (cool) to 0 (at its limit); motors of unknown temperature are left out.

    It is the smaller one of the winding's distance from its limit over `FULL_MARGIN_K`, and the time to the limit over
    `FULL_TIME_S`.

    Args:
        motors: Joint -> status, as `diagnostics.from_message` returns them.
    """
    found: dict[str, float] = {}
    for joint, status in motors.items():
        values = status.values
        distance_k = values.get("limit_celsius", math.nan) - values.get("winding_celsius", math.nan)
        ratios = (distance_k / FULL_MARGIN_K, values.get("time_to_limit_seconds", math.nan) / FULL_TIME_S)
        known = [ratio for ratio in ratios if not math.isnan(ratio)]
        if known:
            found[joint] = min(1.0, max(0.0, min(known)))
    return found
