"""Fit the constants of a motor's two-node model to what was recorded of it, with their uncertainty.

Recorded are a load and one or two temperatures. What the data do not tell stays as wide as before: the fit is that
of a posterior (Gauss-Newton on logarithms, priors as residuals), and its covariance is the inverse of the curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from waldo.errors import WaldoError
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel
from waldo.typing import Array

NAMES = ("heat_scale", "winding_j_per_k", "winding_to_housing_k_per_w", "housing_j_per_k", "housing_to_ambient_k_per_w")
"""What is fitted: how many times the assumed copper loss there is, and the four constants. All are above 0."""

PRIOR_STD = np.array([0.3, 0.7, 0.5, 0.7, 0.5])
"""Standard deviation of each logarithm before anything was recorded."""

RESIDUAL_EVERY_S = 10.0
"""Readings closer together than this say the same [s]."""

ENOUGH_K = 5.0
"""A motor that did not warm by so much tells nothing of its constants [K]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was recorded of one motor without a break: arrays of shape (steps,)."""

    dt_s: float
    """Length of a step [s]."""
    copper_w: Array
    """Mean copper loss at 25 °C in each step, by the assumed resistance [W]."""
    other_w: Array
    """Mean of the other losses in each step [W]."""
    winding_c: Array
    """The winding's sensor at the end of each step [°C]; NaN where there is none."""
    housing_c: Array
    """The housing's sensor at the end of each step [°C]; NaN where there is none."""
    gap_s: float = 0.0
    """How long the motor rested before, since the recording before this one [s]."""


UNLIKE = 1.7
"""A motor that warms so many times as much as it should, or as little, has another's constants or cooling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Fitted constants."""

    constants: ThermalConstants
    """The constants."""
    heat_scale: float
    """How many times the assumed copper loss there is: multiplies the resistance."""
    ambient_c: float
    """The temperature of the air [°C]."""
    std: Array
    """Standard deviation of the logarithm of each of NAMES, (5,): about a relative error."""
    covariance: Array
    """Covariance of those logarithms, (5, 5)."""
    rms_k: float
    """Root mean square of what the fit does not explain [K]."""
    readings: int
    """How many readings it rests on."""

    def learned(self, name: str) -> bool:
        """Say whether the data told more of a constant than was assumed before."""
        at = NAMES.index(name)
        return bool(self.std[at] < 0.7 * PRIOR_STD[at])


def unlike(found: Fit, assumed: ThermalConstants) -> str:
    """Return what is to be said of a motor that ends far hotter or colder than its constants say; else nothing.

    What counts is the steady rise that a current makes, which the heat's scale and both resistances decide together.
    """
    c = found.constants
    whole = c.winding_to_housing_k_per_w + c.housing_to_ambient_k_per_w
    ratio = found.heat_scale * whole / (assumed.winding_to_housing_k_per_w + assumed.housing_to_ambient_k_per_w)
    by = np.array([1.0, 0.0, c.winding_to_housing_k_per_w / whole, 0.0, c.housing_to_ambient_k_per_w / whole])
    std = math.sqrt(float(by @ found.covariance @ by))
    if abs(math.log(ratio)) < max(math.log(UNLIKE), 2 * std):
        return ""
    return f"warms {ratio:.1f} times as much as its constants say: blocked fan or another motor?"


class NothingLearnedError(WaldoError):
    """Recordings that say nothing of a motor's constants."""

    def __init__(self, why: str) -> None:
        """Take what is missing."""
        super().__init__(f"the constants cannot be fitted: {why}; record the motor warming up under load, and cooling")


def fit(
    recordings: Sequence[Recording],
    guess: ThermalConstants,
    *,
    ambient_c: float | None = None,
    sensor_std_k: float = 0.6,
    prior_std: Array = PRIOR_STD,
    advance: Callable[[float], None] = lambda cost: None,
) -> Fit:
    """Fit a motor's constants; `ambient_c` None takes the air's temperature as unknown around the first reading."""
    from scipy.optimize import least_squares

    readings = np.concatenate([np.concatenate([r.winding_c, r.housing_c]) for r in recordings]) if recordings else []
    known = np.asarray(readings)[np.isfinite(readings)]
    if known.size < 10:
        raise NothingLearnedError("there are no temperatures")
    if np.ptp(known) < ENOUGH_K:
        raise NothingLearnedError(f"the temperatures moved by {np.ptp(known):.1f} K only")
    start_c = float(known[0]) if ambient_c is None else ambient_c
    centre = np.log(
        [
            1.0,
            guess.winding_j_per_k,
            guess.winding_to_housing_k_per_w,
            guess.housing_j_per_k,
            guess.housing_to_ambient_k_per_w,
        ]
    )
    air_std = 5.0 if ambient_c is None else 0.3

    def residuals(points: Array) -> Array:
        """Return the residuals of several points (points, 6) at once, (points, residuals)."""
        found = _simulate(recordings, points)
        priors = np.concatenate([(points[:, :5] - centre) / prior_std, (points[:, 5:] - start_c) / air_std], axis=1)
        return np.concatenate([found / sensor_std_k, priors], axis=1)

    def jacobian(point: Array) -> Array:
        steps = np.array([1e-4] * 5 + [1e-2])
        moved = residuals(np.concatenate([point + np.diag(steps), point - np.diag(steps)]))
        return ((moved[:6] - moved[6:]) / (2 * steps[:, None])).T

    def one(point: Array) -> Array:
        values = residuals(point[None])[0]
        advance(float(values @ values))
        return values

    solved = least_squares(
        one, np.append(centre, start_c), jac=cast("Any", jacobian), x_scale=np.append(prior_std, air_std)
    )
    covariance = np.linalg.inv(solved.jac.T @ solved.jac)
    values = np.exp(solved.x[:5])
    count = len(solved.fun) - 6
    rms = float(np.sqrt(np.mean(np.square(solved.fun[:count])))) * sensor_std_k
    # What the model cannot explain makes every constant less certain than the sensors alone would.
    covariance *= max(1.0, (rms / sensor_std_k) ** 2)
    covariance = np.minimum(covariance[:5, :5], np.diag(np.square(prior_std)) + np.abs(covariance[:5, :5]))
    constants = ThermalConstants(
        winding_j_per_k=float(values[1]),
        winding_to_housing_k_per_w=float(values[2]),
        housing_j_per_k=float(values[3]),
        housing_to_ambient_k_per_w=float(values[4]),
        basis="fitted",
        source=f"waldo identify, {count} readings, {rms:.1f} K unexplained",
    )
    return Fit(
        constants=constants,
        heat_scale=float(values[0]),
        ambient_c=float(solved.x[5]),
        std=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        rms_k=rms,
        readings=count,
    )


def _simulate(recordings: Sequence[Recording], points: Array) -> Array:
    """Return model minus sensor [K] of several points (points, 6), each reading that counts, (points, readings)."""
    scale, cw, r1, ch, r2 = np.exp(points[:, :5]).T
    model = TwoNodeModel.of_arrays(cw, ch, r1, r2)
    ambient = points[:, 5]
    state: Array | None = None
    out: list[Array] = []
    for recording in recordings:
        state = _start(recording, state, model, ambient)
        # A recording that is shorter than that counts with its last reading.
        every = max(1, min(round(RESIDUAL_EVERY_S / recording.dt_s), len(recording.copper_w)))
        for k in range(len(recording.copper_w)):
            load = Load(recording.copper_w[k] * scale, recording.other_w[k] + 0 * scale)
            state = model.step(state, load, ambient, recording.dt_s)
            if k % every == every - 1:
                for node, values in ((0, recording.winding_c), (1, recording.housing_c)):
                    if np.isfinite(values[k]):
                        out.append(state[:, node] - values[k])
    if not out:
        raise NothingLearnedError(f"no temperature was read at the ends of steps of {RESIDUAL_EVERY_S:g} s")
    return np.stack(out, axis=1)


def _start(recording: Recording, before: Array | None, model: TwoNodeModel, ambient: Array) -> Array:
    """Return the state (points, 2) at a recording's begin: measured where it can be, else cooled since the last one."""
    nothing = np.zeros_like(ambient)
    if before is None:
        state = np.stack([ambient, ambient], axis=-1)
    else:
        state = model.step(before, Load(nothing, nothing), ambient, recording.gap_s)
    for node, values in ((0, recording.winding_c), (1, recording.housing_c)):
        if before is None and len(values) and np.isfinite(values[0]):
            state[:, node] = values[0]
            if node == 1 and not np.isfinite(recording.winding_c[0]):
                state[:, 0] = values[0]
    return state
