"""What constant heating leads to: the steady temperature of a winding, its utilization, and the time to its limit.

All three are computed from the mean heating of a period, such as ten minutes or the episodes of an evaluation, and from
one thermal model: the utilization is above 1 exactly if the winding, starting at ambient temperature, reaches its
limit. The forecast of a running robot (forecast.py) is another question: it starts at the present temperatures and
assumes that the load of the last half minute continues.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

SETTLED = 40.0
"""Number of the longest time constant after which a temperature is steady, within the precision of a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """The result of constant heating; arrays (..., motors)."""

    steady_winding_c: Array
    """Temperature that the winding converges to [°C]."""
    utilization_ratio: Array
    """Steady rise above ambient divided by the rise to the limit; NaN without a limit."""
    seconds_to_limit: Array
    """Time from ambient to the limit [s]; infinite if the utilization is at most 1, NaN without a limit."""


def utilization_ratio(model: TwoNodeModel, heating_w: Array, limit_c: Array, ambient_c: Array | float) -> Array:
    """Return the steady rise above ambient divided by the rise to the limit; infinite if ambient is at the limit.

    Args:
        model: The motors' constants.
        heating_w: Mean heating of the windings, (..., motors) [W].
        limit_c: Limits of the winding temperatures, (motors,) [°C]; NaN for none.
        ambient_c: Ambient temperature [°C].
    """
    rise, allowed = heating_w * (model.r1 + model.r2), limit_c - ambient_c
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = rise / allowed
    return np.where(np.isnan(allowed), np.nan, np.where(allowed > 0, ratio, np.inf))


def sustain(model: TwoNodeModel, heating_w: Array, limit_c: Array, ambient_c: float) -> Sustained:
    """Return what constant heating leads to; the arguments are those of `utilization_ratio`."""
    load = Load(np.zeros_like(heating_w), heating_w)
    ratio = utilization_ratio(model, heating_w, limit_c, ambient_c)
    horizon_s = SETTLED * (model.r1 * model.cw + model.r2 * (model.cw + model.ch))
    cold = model.at_ambient(ambient_c)
    seconds = model.time_to(limit_c, cold, load, ambient_c, horizon_s=horizon_s)
    # Close to 1 the crossing is beyond the precision of the exponentials; the ratio decides.
    seconds = np.where(ratio > 1, np.minimum(seconds, horizon_s), np.inf)
    return Sustained(
        steady_winding_c=model.steady(load, ambient_c)[..., 0],
        utilization_ratio=ratio,
        seconds_to_limit=np.where(np.isnan(ratio), np.nan, seconds),
    )
