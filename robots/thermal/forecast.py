"""When does a winding reach its limit, and how long must it cool? Quantiles, under the recent load or a planned one.

The winding's course under a constant load is known exactly (two_node.py), and how it depends on what is uncertain:
the present temperatures, the air, the heat's scale and the load itself. These stay what they are for minutes, so the
course is uncertain as a whole: the quantiles of the time are the crossings of mean + z σ(t). Shapes (..., motors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waldo.robots.thermal.observer import A, H, S, W
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

HORIZON_S = 3600.0
"""Beyond this a time is not told: infinity [s]."""

FIRST_S = 0.5
"""The shortest time that is looked at [s]."""

POINTS = 28
"""Instants between the two, evenly in the logarithm of time; crossings are interpolated between them."""

STEP = 0.02
"""Change of the heat's scale from which its effect is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """A time as far as it is known: shorter with 10 % and 90 % probability. (..., motors) [s]; infinity: never."""

    p10: Array
    p50: Array
    p90: Array


@dataclass(frozen=True, slots=True)
class Course:
    """A winding's temperature over time, (..., motors, instants)."""

    seconds: Array
    """The instants from now on [s], (instants,)."""
    mean_c: Array
    """Expected temperature [°C]."""
    std_k: Array
    """Standard deviation [K]."""


def instants(points: int = POINTS, horizon_s: float = HORIZON_S) -> Array:
    """Return instants from now on, (points,) [s]."""
    return np.geomspace(FIRST_S, horizon_s, points, dtype=np.float64)


def course(
    model: TwoNodeModel,
    mean: Array,
    covariance: Array,
    load: Load,
    load_std: Array | float,
    seconds: Array,
) -> Course:
    """Return how the winding's temperature goes on under a load that is constant but uncertain by a share `load_std`.

    `mean` (motors, 4) and `covariance` (motors, 4, 4) are an observer's.
    """
    wide = _wide(model)
    expected = load * np.exp(mean[:, S])
    scaled = Load(expected.copper_w[..., None], expected.other_w[..., None])
    ambient = mean[:, A, None]
    r = wide.response(scaled.copper_w, seconds)
    u1, u2 = wide.inputs(scaled, ambient)
    w, h = mean[:, W, None], mean[:, H, None]
    winding = r.e11 * w + r.e12 * h + r.i11 * u1 + r.i12 * u2
    more = scaled * (1 + STEP)
    by_scale = (
        wide.winding_at(seconds, np.stack([w + 0 * seconds, h + 0 * seconds], axis=-1), more, ambient) - winding
    ) / STEP
    by_air = r.i12 / (wide.r2 * wide.ch)
    gradient = np.stack([r.e11, r.e12, by_air, by_scale], axis=-1)
    variance = np.einsum("mti,mij,mtj->mt", gradient, covariance, gradient, optimize=True)
    variance += np.square(by_scale * np.asarray(load_std)[..., None])
    return Course(seconds, winding, np.sqrt(np.maximum(variance, 0)))


def time_to_limit(found: Course, limit_c: Array, now_c: Array) -> Quantiles:
    """Return when the course reaches a limit (motors,) [°C]; NaN where the motor has none."""
    times = [_rise(found, limit_c, now_c, z) for z in (Z90, 0.0, -Z90)]
    return Quantiles(p10=times[0], p50=times[1], p90=times[2])


def cool_down(found: Course, target_c: Array, now_c: Array) -> Quantiles:
    """Return when a course without load has fallen to a temperature (motors,) [°C]; 0 where it is below now."""
    times = [_fall(found, target_c, now_c, z) for z in (-Z90, 0.0, Z90)]
    return Quantiles(p10=times[0], p50=times[1], p90=times[2])


Z90 = 1.2815515655446004
"""The standard normal distribution's 90 % quantile."""


def interval(found: Course, limit_c: Array, now_c: Array, z: float) -> tuple[Array, Array]:
    """Return the earliest and the latest time to a limit, `z` standard deviations on either side [s]."""
    return _rise(found, limit_c, now_c, z), _rise(found, limit_c, now_c, -z)


def _rise(found: Course, limit_c: Array, now_c: Array, z: float) -> Array:
    """Return when mean + z σ first rises to a limit, after a fall from above it if it begins there."""
    above = found.mean_c + z * found.std_k - limit_c[:, None]
    first = _crossing(found.seconds, above)
    return np.where(np.isnan(limit_c), np.nan, np.where(now_c >= limit_c, 0.0, first))


def _fall(found: Course, target_c: Array, now_c: Array, z: float) -> Array:
    above = found.mean_c + z * found.std_k - target_c[:, None]
    first = _crossing(found.seconds, -above)
    return np.where(np.isnan(target_c), np.nan, np.where(now_c <= target_c, 0.0, first))


def _crossing(seconds: Array, values: Array) -> Array:
    """Return when values (motors, instants) first become positive, interpolated in the logarithm of time."""
    positive = values > 0
    first = positive.argmax(axis=1)
    rows = np.arange(len(values))
    after, before = values[rows, first], values[rows, np.maximum(first - 1, 0)]
    share = np.where(first > 0, -before / np.maximum(after - before, 1e-12), 1.0)
    logs = np.log(seconds)
    low = np.where(first > 0, logs[np.maximum(first - 1, 0)], logs[0])
    times = np.exp(low + np.clip(share, 0, 1) * (logs[first] - low))
    return np.where(positive.any(axis=1), np.where(first == 0, seconds[0], times), np.inf)


def allowed(
    model: TwoNodeModel, state_c: Array, ambient_c: Array, target_c: Array, load: Load, seconds: float
) -> Array:
    """Return by which factor a load (motors,) may be multiplied so that the winding is at `target_c` after `seconds`.

    Found on the exact course by Newton's method, from no load upwards: the winding's temperature is convex in the load,
    so it converges from above. Below 0 where even no load at all is too much.
    """
    factor = np.zeros_like(target_c)
    for _ in range(6):
        here = model.winding_at(np.asarray(seconds), state_c, load * factor, ambient_c)
        there = model.winding_at(np.asarray(seconds), state_c, load * (factor + STEP), ambient_c)
        factor = factor + (target_c - here) / np.maximum((there - here) / STEP, 1e-9)
    return factor


def _wide(model: TwoNodeModel) -> TwoNodeModel:
    """Return the model with an axis for instants behind that of the motors."""
    return TwoNodeModel.of_arrays(*(part[:, None] for part in (model.cw, model.ch, model.r1, model.r2)))
