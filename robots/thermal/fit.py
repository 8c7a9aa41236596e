"""Fit of the constants of a motor's two-node model to recordings, with their uncertainty.

A recording contains the load and one to three temperatures. The fit maximizes the posterior probability: least squares
on the logarithms of the constants, with the priors as further residuals. A constant that the data do not determine
keeps the width of its prior. The covariance is the inverse of the curvature. The place of a sensor on the drive's
board, between housing and winding, is fitted with the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from waldo.errors import WaldoError
from waldo.robots.motor import THERMAL_UNITS, ThermalConstants
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

NAMES = ("heat_scale", "winding_j_per_k", "winding_to_housing_k_per_w", "housing_j_per_k", "housing_to_ambient_k_per_w")
"""Fitted quantities: the ratio of the actual to the assumed copper loss, and the four constants. All are positive."""

PRIOR_STD = np.array([0.3, 0.7, 0.5, 0.7, 0.5])
"""Prior standard deviation of the logarithm of each of `NAMES`."""

DRIVER_SENSOR_STD = 0.2
"""Prior standard deviation of the place of a sensor on the drive's board, where the library has none."""

RESIDUAL_EVERY_S = 10.0
"""Interval of the readings that are used: errors of closer readings are correlated [s]."""

MIN_RANGE_K = 5.0
"""Smallest range of temperatures that a fit is attempted with [K]."""

MIN_READINGS = 10
"""Smallest number of readings that a fit is attempted with."""

MISMATCH_RATIO = 1.7
"""Ratio of the fitted to the assumed steady temperature rise, or its inverse, that is reported as a mismatch."""

IDENTIFIED_RATIO = 0.7
"""A constant is identified if its standard deviation is below this fraction of the prior's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A continuous recording of one motor. Arrays have shape (steps,)."""

    dt_s: float
    """Length of a step [s]."""
    copper_w: Array
    """Mean copper loss at 25 °C in each step, computed with the assumed resistance [W]."""
    other_w: Array
    """Mean of the other losses in each step [W]."""
    winding_c: Array
    """Reading of the winding's sensor at the end of each step [°C]; NaN if there is none."""
    housing_c: Array
    """Reading of the housing's sensor at the end of each step [°C]; NaN if there is none."""
    driver_c: Array | None = None
    """Reading of the sensor on the drive's board at the end of each step [°C]; NaN or None if there is none."""
    gap_s: float = 0.0
    """Time without load since the previous recording [s]."""

    @property
    def readings_c(self) -> Array:
        """Readings of the sensors in winding, housing and drive, (steps, 3) [°C]; NaN where there is none."""
        driver = np.full(len(self.copper_w), np.nan) if self.driver_c is None else self.driver_c
        return np.stack([self.winding_c, self.housing_c, driver], axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalFit:
    """Fitted constants of one motor."""

    constants: ThermalConstants
    heat_scale: float
    """Ratio of the actual to the assumed copper loss; it multiplies the resistance."""
    ambient_c: float
    """Air temperature [°C]."""
    std: Array
    """Standard deviations of the logarithms of `NAMES`, (5,): approximately relative errors."""
    covariance: Array
    """Covariance of these logarithms, (5, 5)."""
    rms_k: float
    """Root mean square of the residuals [K]."""
    readings: int
    """Number of readings used."""
    sensor_prior_std: float = DRIVER_SENSOR_STD
    """Prior standard deviation of the place of the sensor on the drive's board."""

    def is_identified(self, name: str) -> bool:
        """Return whether the data determine one of `NAMES` noticeably better than the prior."""
        index = NAMES.index(name)
        return bool(self.std[index] < IDENTIFIED_RATIO * PRIOR_STD[index])

    @property
    def is_sensor_identified(self) -> bool:
        """Whether the data determine the place of the sensor on the drive's board."""
        return self.constants.driver_sensor_std < IDENTIFIED_RATIO * self.sensor_prior_std


def describe_mismatch(fit: ThermalFit, assumed: ThermalConstants) -> str:
    """Return a warning if a motor gets much hotter or less hot than its assumed constants predict; else empty text.

    Compared are the steady temperature rises of a given current, the product of heat scale and total resistance.
    """
    c = fit.constants
    total = c.total_k_per_w
    ratio = fit.heat_scale * total / assumed.total_k_per_w
    gradient = np.array([1.0, 0.0, c.winding_to_housing_k_per_w / total, 0.0, c.housing_to_ambient_k_per_w / total])
    std = math.sqrt(float(gradient @ fit.covariance @ gradient))
    if abs(math.log(ratio)) < max(math.log(MISMATCH_RATIO), 2 * std):
        return ""
    return f"temperature rise is {ratio:.1f} times the expected one: blocked fan or a different motor?"


class InsufficientDataError(WaldoError):
    """Recordings that do not determine a motor's constants."""

    def __init__(self, reason: str) -> None:
        """Build the message from the missing information."""
        super().__init__(
            f"the constants cannot be fitted: {reason}; record the motor while it warms up under load and cools down"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """The least-squares problem.

    A point is the logarithms of `NAMES`, the air temperature [°C] and the place of the sensor on the board, (7,).
    """

    recordings: Sequence[Recording]
    center: Array
    """Prior mean of a point, (7,)."""
    prior_std: Array
    """Prior standard deviations of a point, (7,)."""
    sensor_std_k: float

    def residuals(self, points: Array) -> Array:
        """Return the residuals of several points (points, 7) at once, (points, residuals)."""
        errors = _simulate(self.recordings, points)
        return np.concatenate([errors / self.sensor_std_k, (points - self.center) / self.prior_std], axis=1)

    def jacobian(self, point: Array) -> Array:
        """Return the derivatives of the residuals by central differences, (residuals, 7)."""
        steps = np.array([1e-4] * 5 + [1e-2, 1e-3])
        moved = self.residuals(np.concatenate([point + np.diag(steps), point - np.diag(steps)]))
        half = len(steps)
        return ((moved[:half] - moved[half:]) / (2 * steps[:, None])).T


def fit_constants(
    recordings: Sequence[Recording],
    guess: ThermalConstants,
    *,
    ambient_c: float | None = None,
    sensor_std_k: float = 0.6,
    prior_std: Array = PRIOR_STD,
    advance: Callable[[float], None] = lambda cost: None,
) -> ThermalFit:
    """Fit a motor's constants to recordings in the order of time.

    Args:
        recordings: Recordings of one motor.
        guess: Prior mean of the constants.
        ambient_c: Air temperature [°C]; None to fit it around the first reading.
        sensor_std_k: Standard deviation of a reading [K].
        prior_std: Prior standard deviations of the logarithms of `NAMES`, (5,).
        advance: Called with the sum of squares after each evaluation.

    Raises:
        InsufficientDataError: If there are too few readings, or the temperatures are nearly constant.
    """
    from scipy.optimize import least_squares

    first_c = _first_reading(recordings)
    start_c, ambient_std = (first_c, 5.0) if ambient_c is None else (ambient_c, 0.3)
    logs = np.log([1.0, *(getattr(guess, name) for name in NAMES[1:])])
    sensor_std = guess.driver_sensor_std or DRIVER_SENSOR_STD
    problem = _Problem(
        recordings=recordings,
        center=np.append(logs, [start_c, guess.driver_sensor_ratio]),
        prior_std=np.append(prior_std, [ambient_std, sensor_std]),
        sensor_std_k=sensor_std_k,
    )

    def residuals(point: Array) -> Array:
        values = problem.residuals(point[None])[0]
        advance(float(values @ values))
        return values

    solution = least_squares(residuals, problem.center, jac=cast("Any", problem.jacobian), x_scale=problem.prior_std)
    return _result(solution, sensor_std_k, problem.prior_std)


def _first_reading(recordings: Sequence[Recording]) -> float:
    """Return the first temperature [°C], or raise if the recordings do not suffice for a fit."""
    readings = np.concatenate([np.empty((0, 3)), *(r.readings_c for r in recordings)])
    known = readings[np.isfinite(readings)]
    if known.size < MIN_READINGS:
        raise InsufficientDataError("there are no temperatures")
    if np.ptp(known) < MIN_RANGE_K:
        raise InsufficientDataError(f"the temperatures changed by only {np.ptp(known):.1f} K")
    return float(known[0])


def _result(solution: Any, sensor_std_k: float, prior_std: Array) -> ThermalFit:
    """Return the fit with the covariance of the solution's curvature; `prior_std` is that of a point, (7,)."""
    covariance = np.linalg.inv(solution.jac.T @ solution.jac)
    values = np.exp(solution.x[:5])
    readings = len(solution.fun) - len(prior_std)
    rms = float(np.sqrt(np.mean(np.square(solution.fun[:readings])))) * sensor_std_k
    # Residuals beyond the sensor noise are model errors, which make every constant less certain.
    covariance *= max(1.0, (rms / sensor_std_k) ** 2)
    sensor_std = min(math.sqrt(covariance[6, 6]), float(prior_std[6]))
    covariance = np.minimum(covariance[:5, :5], np.diag(np.square(prior_std[:5])) + np.abs(covariance[:5, :5]))
    std = np.sqrt(np.diag(covariance))
    # NAMES order the constants by node, ThermalConstants by kind.
    by_name = dict(zip(NAMES, std.tolist(), strict=True))
    constants = ThermalConstants(
        **dict(zip(NAMES[1:], values[1:].tolist(), strict=True)),
        basis="fitted",
        source=f"waldo identify, {readings} readings, {rms:.1f} K unexplained",
        driver_sensor_ratio=float(np.clip(solution.x[6], 0.0, 1.0)),
        driver_sensor_std=sensor_std,
        std=cast("Any", tuple(by_name[name] for name in THERMAL_UNITS)),
    )
    return ThermalFit(
        constants=constants,
        heat_scale=float(values[0]),
        ambient_c=float(solution.x[5]),
        std=std,
        covariance=covariance,
        rms_k=rms,
        readings=readings,
        sensor_prior_std=float(prior_std[6]),
    )


def _simulate(recordings: Sequence[Recording], points: Array) -> Array:
    """Return model minus sensor of several points (points, 7) at the readings that are used, (points, readings) [K]."""
    scale, cw, r1, ch, r2 = np.exp(points[:, :5]).T
    model = TwoNodeModel.from_arrays(cw, ch, r1, r2)
    model.driver_sensor_ratio = np.clip(points[:, 6], 0.0, 1.0)
    ambient = points[:, 5]
    state: Array | None = None
    errors: list[Array] = []
    for recording in recordings:
        state = _start(recording, state, model, ambient)
        # A recording that is shorter than the interval counts with its last reading.
        every = max(1, min(round(RESIDUAL_EVERY_S / recording.dt_s), len(recording.copper_w)))
        states = _states(recording, state, model, scale, ambient, every)
        state = states[-1]
        readings = recording.readings_c[every - 1 :: every]
        simulated = np.concatenate([states, model.driver_c(states)[..., None]], axis=-1)
        difference = simulated[1 : 1 + len(readings)].swapaxes(0, 1) - readings
        errors.append(difference[:, np.isfinite(readings)])
    if not sum(one.shape[1] for one in errors):
        raise InsufficientDataError(f"there is no reading at the end of any {RESIDUAL_EVERY_S:g} s interval")
    return np.concatenate(errors, axis=1)


def _states(
    recording: Recording, start_c: Array, model: TwoNodeModel, scale: Array, ambient_c: Array, every: int
) -> Array:
    """Return the states at the start, after every `every` steps and at the end, (times, points, 2) [°C]."""
    count = len(recording.copper_w)
    intervals = -(-count // every)
    # The last interval is filled with steps of no length.
    copper, other, seconds = np.zeros((3, intervals * every))
    copper[:count], other[:count], seconds[:count] = recording.copper_w, recording.other_w, recording.dt_s
    advance = np.broadcast_to(np.eye(3), (intervals, len(scale), 3, 3))
    for k in range(every):
        load = Load(copper[k::every, None] * scale, other[k::every, None] + 0 * scale)
        advance = model.affine(load, ambient_c, seconds[k::every, None]) @ advance
    states = [np.append(start_c, np.ones((len(scale), 1)), axis=-1)]
    for matrix in advance:
        states.append((matrix @ states[-1][..., None])[..., 0])
    return np.stack(states)[..., :2]


def _start(recording: Recording, before: Array | None, model: TwoNodeModel, ambient: Array) -> Array:
    """Return the state at the start of a recording, (points, 2) [°C]: measured, or cooled since the previous one."""
    zero = np.zeros_like(ambient)
    if before is None:
        state = np.stack([ambient, ambient], axis=-1)
    else:
        state = model.step(before, Load(zero, zero), ambient, recording.gap_s)
    if before is None and len(recording.copper_w):
        winding, housing, driver = recording.readings_c[0]
        housing = driver if np.isnan(housing) else housing
        for node, value in ((0, housing if np.isnan(winding) else winding), (1, housing)):
            if np.isfinite(value):
                state[:, node] = value
    return state
