"""How hot is hot: the four heat levels of a motor, and the urgency of the time that is left to its limit.

The bands 50, 70 and 90 °C are those of a drive whose limit is 90 °C (NVIDIA SONIC's heat map, as people know it). For
another limit they keep their share of the rise above 25 °C, since the rise is what the losses make: a servo whose
limit is 70 °C is orange from 56 °C, a winding that stands 145 °C from 108 °C.
"""

from __future__ import annotations

import math

from waldo.robots.thermal.limits import AMBIENT_C, LEVELS_C

LEVELS = ("cool", "warm", "hot", "over")
"""Heat levels from green to red."""

CRITICAL_S = 60.0
"""A limit nearer than this is critical [s]."""

WARNING_S = 300.0
"""A limit nearer than this is a warning [s]."""


def bands_c(limit_c: float) -> tuple[float, float, float]:
    """Return where warm, hot and over begin [°C] for a motor with this limit [°C]; NaN for an unknown limit."""
    scale = 1.0
    if limit_c > AMBIENT_C:  # False for NaN
        scale = (limit_c - AMBIENT_C) / (LEVELS_C[-1] - AMBIENT_C)
    warm, hot, over = (AMBIENT_C + scale * (band - AMBIENT_C) for band in LEVELS_C)
    return warm, hot, over


def heat_level(winding_c: float, housing_c: float, limit_c: float) -> str:
    """Return cool, warm, hot or over by the hotter of the two temperatures [°C], or unknown if neither is known."""
    known = [value for value in (winding_c, housing_c) if not math.isnan(value)]
    if not known:
        return "unknown"
    return LEVELS[sum(max(known) >= band for band in bands_c(limit_c))]


def headroom_ratio(winding_c: float, limit_c: float) -> float:
    """Return the share of the rise from 25 °C to the limit that is left: 1 cold, 0 at the limit, NaN for unknown."""
    if not limit_c > AMBIENT_C:
        return math.nan
    return (limit_c - winding_c) / (limit_c - AMBIENT_C)


def urgency(time_to_limit_s: float) -> str:
    """Return critical, warning or none for the time that is left [s]; NaN (unknown) is none."""
    if time_to_limit_s < CRITICAL_S:
        return "critical"
    return "warning" if time_to_limit_s < WARNING_S else "none"
