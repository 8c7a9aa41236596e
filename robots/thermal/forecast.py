"""Time to the temperature limit and cool-down time as quantiles, under the recent load or a planned one.

The winding temperature under a constant load is known exactly (two_node.py), and so are its derivatives with respect to
the uncertain quantities: the present temperatures, the ambient temperature, the heat scale, the load and, where their
uncertainty is stated, the thermal resistances. These stay
constant for minutes, so the trajectory is uncertain as a whole: the quantiles of a time are the crossings of
mean + z σ(t) with the limit. Shapes (..., motors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from waldo.robots.thermal.observer import AMBIENT, HOUSING, SCALE, STATED_ERROR_RATIO, WINDING
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

HORIZON_S = 3600.0
"""Longest time of a forecast; a later crossing is reported as infinity [s]."""

FIRST_S = 0.5
"""Shortest time of a forecast [s]."""

POINTS = 28
"""Number of times between the two, spaced logarithmically; crossings are interpolated."""

STEP = 0.02
"""Relative change of the load for finite differences."""

ITERATIONS, TOLERANCE = 6, 1e-9
"""Most iterations of Newton's method, and the relative change of the factor after which it ends."""

Z90 = 1.2815515655446004
"""90 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """10 %, 50 % and 90 % quantiles of a time, (..., motors) [s]; infinity for never."""

    p10: Array
    p50: Array
    p90: Array


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Forecast of winding temperatures."""

    seconds: Array
    """Times from now, (times,) [s]."""
    mean_c: Array
    """Expected temperatures, (..., motors, times) [°C]."""
    std_k: Array
    """Standard deviations, (..., motors, times) [K]."""


@cache
def time_grid(points: int = POINTS, horizon_s: float = HORIZON_S) -> Array:
    """Return the times of a forecast, (points,) [s]; a read-only array that all callers share."""
    seconds = np.geomspace(FIRST_S, horizon_s, points, dtype=np.float64)
    seconds.setflags(write=False)
    return seconds


def predict(
    model: TwoNodeModel,
    mean: Array,
    covariance: Array,
    load: Load,
    load_std: Array | float,
    seconds: Array,
) -> Trajectory:
    """Return the winding temperatures under a constant load.

    Args:
        model: The motors' constants.
        mean: State estimates of a `HeatObserver`, (motors, 4).
        covariance: Their covariances, (motors, 4, 4).
        load: Load that is expected to continue, (motors,) [W].
        load_std: Relative standard deviation of the load.
        seconds: Times from now, (times,) [s].
    """
    wide = _with_time_axis(model)
    expected = load * np.exp(mean[:, SCALE])
    # The expected load and a slightly higher one, (2, motors, 1).
    both = Load(expected.copper_w[:, None], expected.other_w[:, None]) * np.array([1.0, 1 + STEP])[:, None, None]
    r = wide.response(both.copper_w, seconds)
    u1, u2 = wide.inputs(both, mean[:, AMBIENT, None])
    winding, hotter = r.e11 * mean[:, WINDING, None] + r.e12 * mean[:, HOUSING, None] + r.i11 * u1 + r.i12 * u2
    by_scale = (hotter - winding) / STEP
    by_ambient = r.i12[0] / (wide.r2 * wide.ch)
    gradient = np.stack([r.e11[0], r.e12[0], by_ambient, by_scale], axis=-1)
    variance = np.sum(gradient @ covariance * gradient, axis=-1)
    variance += np.square(by_scale * np.asarray(load_std)[..., None])
    # The rise under a load is nearly proportional to the resistances, as it is to the load.
    variance += np.square(by_scale * STATED_ERROR_RATIO * model.resistance_std[..., None])
    return Trajectory(seconds, winding, np.sqrt(np.maximum(variance, 0)))


def time_to_limit(trajectory: Trajectory, limit_c: Array, now_c: Array) -> Quantiles:
    """Return when the windings reach their limits.

    Args:
        trajectory: Forecast of the winding temperatures.
        limit_c: Limits (motors,) [°C]; NaN for none.
        now_c: Present winding temperatures (motors,) [°C].

    Returns:
        Quantiles (motors,): 0 if the winding is at the limit already, NaN if there is no limit.
    """
    p10, p50, p90 = _rise(trajectory, limit_c, now_c, (Z90, 0.0, -Z90))
    return Quantiles(p10=p10, p50=p50, p90=p90)


def cool_down_time(trajectory: Trajectory, target_c: Array, now_c: Array) -> Quantiles:
    """Return when the windings have cooled down to `target_c` (motors,) [°C]; 0 if they are below it already."""
    p10, p50, p90 = _fall(trajectory, target_c, now_c, (-Z90, 0.0, Z90))
    return Quantiles(p10=p10, p50=p50, p90=p90)


def interval(trajectory: Trajectory, limit_c: Array, now_c: Array, z: float) -> tuple[Array, Array]:
    """Return the earliest and latest time to a limit, `z` standard deviations to either side, (motors,) [s]."""
    earliest, latest = _rise(trajectory, limit_c, now_c, (z, -z))
    return earliest, latest


def _rise(trajectory: Trajectory, limit_c: Array, now_c: Array, z: Sequence[float]) -> Array:
    """Return when mean + z σ first rises above a limit, (z, motors)."""
    above = trajectory.mean_c + np.array(z)[:, None, None] * trajectory.std_k - limit_c[:, None]
    first = _crossing(trajectory.seconds, above)
    return np.where(np.isnan(limit_c), np.nan, np.where(now_c >= limit_c, 0.0, first))


def _fall(trajectory: Trajectory, target_c: Array, now_c: Array, z: Sequence[float]) -> Array:
    """Return when mean + z σ first falls below a target, (z, motors)."""
    above = trajectory.mean_c + np.array(z)[:, None, None] * trajectory.std_k - target_c[:, None]
    first = _crossing(trajectory.seconds, -above)
    return np.where(np.isnan(target_c), np.nan, np.where(now_c <= target_c, 0.0, first))


def _crossing(seconds: Array, values: Array) -> Array:
    """Return when values (..., times) first become positive, interpolated in the logarithm of time."""
    rows = values.reshape(-1, len(seconds))
    positive = rows > 0
    first = positive.argmax(axis=1)
    previous, row = np.maximum(first - 1, 0), np.arange(len(rows))
    after, before = rows[row, first], rows[row, previous]
    fraction = -before / np.maximum(after - before, 1e-12)
    logs = np.log(seconds)
    low = logs[previous]
    times = np.exp(low + np.clip(fraction, 0, 1) * (logs[first] - low))
    return np.where(positive.any(axis=1), times, np.inf).reshape(values.shape[:-1])


def allowed_load_factor(
    model: TwoNodeModel, state_c: Array, ambient_c: Array, target_c: Array, load: Load, seconds: float
) -> Array:
    """Return the factor by which a load may be multiplied so that the winding is at `target_c` after `seconds`.

    Newton's method on the exact solution, starting from no load: the winding temperature is convex in the load, so the
    iteration converges from above.

    Args:
        model: The motors' constants.
        state_c: Present temperatures (motors, 2) [°C].
        ambient_c: Ambient temperatures (motors,) [°C].
        target_c: Winding temperatures at the horizon (motors,) [°C].
        load: Load (motors,) [W].
        seconds: Horizon [s].

    Returns:
        Factors (motors,); below 0 if even without load the winding is above the target.
    """
    factor = np.zeros_like(target_c)
    for _ in range(ITERATIONS):
        both = load * np.stack([factor, factor + STEP])
        here, there = model.winding_at(np.asarray(seconds), state_c, both, ambient_c)
        change = (target_c - here) / np.maximum((there - here) / STEP, 1e-9)
        factor = factor + change
        if np.all(np.abs(change) <= TOLERANCE * np.abs(factor)):
            break
    return factor


def _with_time_axis(model: TwoNodeModel) -> TwoNodeModel:
    """Return the model with an axis for times after the axis of the motors."""
    return TwoNodeModel.from_arrays(*(part[:, None] for part in (model.cw, model.ch, model.r1, model.r2)))
