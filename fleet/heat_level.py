"""Heat levels of a motor, and the urgency of its forecast.

The bands 50, 70 and 90 °C are those of a drive with a limit of 90 °C (the heat map of NVIDIA SONIC). For another limit
each band keeps its fraction of the temperature rise above 25 °C, because the losses determine the rise: a servo with a
limit of 70 °C is hot from 56 °C, a winding with a limit of 145 °C from 108 °C.
"""

from __future__ import annotations

import math

from waldo.robots.thermal.limits import AMBIENT_C, LEVELS_C

LEVELS = ("cool", "warm", "hot", "over")
"""Heat levels from green to red."""

CRITICAL_S = 60.0
"""A time to limit below this is critical [s]."""

WARNING_S = 300.0
"""A time to limit below this is a warning [s]."""


def bands_c(limit_c: float) -> tuple[float, float, float]:
    """Return the lower bounds of "warm", "hot" and "over" [°C].

    Args:
        limit_c: Limit of the winding temperature [°C]; NaN or an implausible value selects `LEVELS_C`.
    """
    scale = 1.0
    if limit_c > AMBIENT_C:  # False for NaN
        scale = (limit_c - AMBIENT_C) / (LEVELS_C[-1] - AMBIENT_C)
    warm, hot, over = (AMBIENT_C + scale * (band - AMBIENT_C) for band in LEVELS_C)
    return warm, hot, over


def heat_level(winding_c: float, housing_c: float, limit_c: float) -> str:
    """Return the heat level for the higher of the two temperatures [°C]; "unknown" if both are NaN."""
    known = [value for value in (winding_c, housing_c) if not math.isnan(value)]
    if not known:
        return "unknown"
    return LEVELS[sum(max(known) >= band for band in bands_c(limit_c))]


def headroom_ratio(winding_c: float, limit_c: float) -> float:
    """Return the remaining fraction of the rise from 25 °C to the limit: 1 cold, 0 at the limit, NaN if unknown."""
    if not limit_c > AMBIENT_C:
        return math.nan
    return (limit_c - winding_c) / (limit_c - AMBIENT_C)


def urgency(time_to_limit_s: float) -> str:
    """Return "critical", "warning" or "none" for a time to limit [s]; NaN (unknown) is "none"."""
    if time_to_limit_s < CRITICAL_S:
        return "critical"
    return "warning" if time_to_limit_s < WARNING_S else "none"
