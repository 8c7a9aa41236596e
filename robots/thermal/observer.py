"""State observer for motor temperatures: the two-node model corrected by sensors, with standard deviations.

An extended Kalman filter with four states per motor: the winding and housing temperatures [°C], the ambient temperature
at the housing [°C], and the logarithm of the heat scale, the ratio of the actual heat to the modeled heat (friction, a
gear, a wrong constant). The last two are first-order Gauss-Markov processes around their expected values, so a
prediction without sensors has a bounded standard deviation. The offset of a sensor and its place are constant: their
errors do not average out, and an offset does not affect how fast a motor appears to warm up (Schmidt-Kalman filter).

Sensors may be rounded, delayed, implausible, stuck or missing; `health` describes the readings that are rejected.
Shapes: (motors,).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.sensor_watch import OUTLIER_SIGMA, Sensor, SensorWatch
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

WINDING, HOUSING, AMBIENT, SCALE = range(4)
"""Indices of the states: three temperatures [°C] and the logarithm of the heat scale."""

STATED_ERROR_RATIO = 0.6
"""Fraction of a stated standard deviation of the thermal resistances that adds to the errors of the model: the heat
scale and the air temperature follow the rest (benchmarks/heat_coverage.py)."""

SCALE_ON_SIGMA, SCALE_OFF_SIGMA = 3.0, 2.0
"""A heat scale is reported from the first bound on until it is below the second, in expected standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverConfig:
    """Error models of motors and sensors."""

    winding: Sensor = field(default_factory=lambda: Sensor(std_k=1.0))
    """A sensor in the winding."""
    housing: Sensor = field(default_factory=lambda: Sensor(std_k=1.5))
    """A sensor on the housing."""
    driver: Sensor = field(default_factory=lambda: Sensor(std_k=4.0))
    """A sensor on the motor controller's board; the thermal constants contain its place between housing and winding."""
    ambient_c: float = AMBIENT_C
    """Expected air temperature [°C]."""
    start_c: float | None = None
    """Temperature of windings and housings at the start [°C]; None if they have been in the ambient air for a while."""
    ambient_std_k: float = 4.0
    """Standard deviation of the air temperature [K]."""
    scale_std: float = 0.18
    """Standard deviation of the logarithm of the heat scale."""
    wander_s: float = 1800.0
    """Correlation time of the ambient temperature and the heat scale [s]."""
    model_error: float = 0.04
    """Relative error of the thermal resistances; it limits how far the model is trusted between readings."""
    model_error_s: float = 60.0
    """Time for which such an error acts in the same direction [s]."""
    sensor_correlation_s: float = 2.0
    """Correlation time of a reading's rounding error [s]: more frequent readings carry no further information. The
    loaded winding of a small motor changes by one degree in about this time."""


class HeatObserver:
    """Estimates the temperatures of several motors."""

    def __init__(self, model: TwoNodeModel, config: ObserverConfig | None = None) -> None:
        """Start with all motors at the expected ambient temperature, or at `start_c`."""
        self.model, self.config = model, config or ObserverConfig()
        count, c = len(model), self.config
        self.mean: Array = np.zeros((count, 4))
        """State estimates, (motors, 4)."""
        self.mean[:, (WINDING, HOUSING)] = c.ambient_c if c.start_c is None else c.start_c
        self.mean[:, AMBIENT] = c.ambient_c
        variance = np.square([c.ambient_std_k, c.ambient_std_k, c.ambient_std_k, c.scale_std])
        self.covariance: Array = np.broadcast_to(np.diag(variance), (count, 4, 4)).copy()
        """Covariances of the states, (motors, 4, 4)."""
        if c.start_c is None:
            # The motors have been in this air for a while: all three temperatures are the same unknown one.
            self.covariance[:, :3, :3] = c.ambient_std_k**2
            self.covariance[:, range(3), range(3)] += 0.5
        self.watches: Mapping[str, SensorWatch] = {
            name: SensorWatch(count, getattr(c, name)) for name in ("winding", "housing", "driver")
        }
        self._places: Mapping[str, Array] = _places(model)
        offset_std = [np.full(count, watch.sensor.std_k) for watch in self.watches.values()]
        self._error_variance: Array = np.square(np.stack([*offset_std, model.driver_sensor_std], axis=-1))
        """Variances of the constant errors (motors, errors): the offset of each kind of sensor [K²], and the place of
        the sensor on the board between housing and winding."""
        self._errors: Array = np.zeros((count, 4, len(offset_std) + 1))
        """Covariances of the states with these errors, (motors, 4, errors)."""
        self._delay_s = max(watch.sensor.delay_s for watch in self.watches.values())
        self._past: deque[tuple[float, Array]] = deque()
        self._load_step_k: Array = np.zeros((count, 2))
        self._seconds = 0.0
        self._scaled: NDArray[np.bool_] = np.zeros(count, dtype=bool)

    @property
    def winding_c(self) -> Array:
        """Winding temperatures [°C]."""
        return self.mean[:, WINDING]

    @property
    def housing_c(self) -> Array:
        """Housing temperatures [°C]."""
        return self.mean[:, HOUSING]

    @property
    def winding_std_k(self) -> Array:
        """Standard deviations of the winding temperatures [K]."""
        return np.sqrt(self.covariance[:, WINDING, WINDING])

    @property
    def housing_std_k(self) -> Array:
        """Standard deviations of the housing temperatures [K]."""
        return np.sqrt(self.covariance[:, HOUSING, HOUSING])

    @property
    def scale(self) -> Array:
        """Ratios of the actual heat to the modeled heat."""
        return np.exp(self.mean[:, SCALE])

    @property
    def state_c(self) -> Array:
        """Winding and housing temperatures, (motors, 2) [°C]."""
        return self.mean[:, :2]

    def step(self, load: Load, dt_s: float, readings: Mapping[str, Array] | None = None) -> None:
        """Advance by `dt_s` under a load and correct the estimate with sensor readings.

        Args:
            load: Losses (motors,) [W].
            dt_s: Length of the step [s].
            readings: Kind of sensor ("winding", "housing", "driver") -> readings (motors,) [°C]; NaN if there is none.
        """
        self._predict(load, dt_s)
        self._seconds += dt_s
        self._remember()
        for name, values in (readings or {}).items():
            self._correct(name, values, dt_s)
        deviation = np.abs(self.mean[:, SCALE]) / self.config.scale_std
        std = np.sqrt(self.covariance[:, SCALE, SCALE])
        significant = (deviation > SCALE_ON_SIGMA) & (np.abs(self.mean[:, SCALE]) > 2 * std)
        self._scaled = significant | (self._scaled & (deviation > SCALE_OFF_SIGMA))

    def _predict(self, load: Load, dt_s: float) -> None:
        model, c, mean = self.model, self.config, self.mean
        scaled = load * self.scale
        r = model.response(scaled.copper_w, dt_s)
        u1, u2 = model.inputs(scaled, mean[:, AMBIENT])
        heat = scaled.at(mean[:, WINDING]) / model.cw
        before = self.state_c.copy()
        w, h = before[:, WINDING], before[:, HOUSING]
        stay = math.exp(-dt_s / c.wander_s)
        from_ambient = 1 / (model.r2 * model.ch)
        transition = np.zeros_like(self.covariance)
        transition[:, WINDING, WINDING], transition[:, WINDING, HOUSING] = r.e11, r.e12
        transition[:, HOUSING, WINDING], transition[:, HOUSING, HOUSING] = r.e21, r.e22
        transition[:, WINDING, AMBIENT], transition[:, HOUSING, AMBIENT] = r.i12 * from_ambient, r.i22 * from_ambient
        transition[:, WINDING, SCALE], transition[:, HOUSING, SCALE] = r.i11 * heat, r.i21 * heat
        transition[:, AMBIENT, AMBIENT] = transition[:, SCALE, SCALE] = stay
        mean[:, WINDING] = r.e11 * w + r.e12 * h + r.i11 * u1 + r.i12 * u2
        mean[:, HOUSING] = r.e21 * w + r.e22 * h + r.i21 * u1 + r.i22 * u2
        self._load_step_k = self.state_c - before
        mean[:, AMBIENT] = c.ambient_c + stay * (mean[:, AMBIENT] - c.ambient_c)
        mean[:, SCALE] *= stay
        self.covariance = transition @ self.covariance @ transition.swapaxes(-1, -2)
        self._errors = transition @ self._errors
        self._diffuse(w - h, h - mean[:, AMBIENT], stay, dt_s)

    def _diffuse(self, winding_rise_k: Array, housing_rise_k: Array, stay: float, dt_s: float) -> None:
        """Add the process noise: wrong thermal resistances, and the wandering ambient temperature and heat scale.

        Args:
            winding_rise_k: Winding above housing, (motors,) [K].
            housing_rise_k: Housing above ambient, (motors,) [K].
            stay: Autocorrelation of the wandering states over the step.
            dt_s: Length of the step [s].
        """
        model, c = self.model, self.config
        error = np.hypot(c.model_error, STATED_ERROR_RATIO * model.resistance_std)
        density = np.square(error) * 2 * min(c.model_error_s, 1e9) * dt_s
        flow1, flow2 = winding_rise_k / model.r1, housing_rise_k / model.r2
        self.covariance[:, WINDING, WINDING] += density * np.square(flow1 / model.cw)
        self.covariance[:, HOUSING, HOUSING] += density * (np.square(flow1) + np.square(flow2)) / np.square(model.ch)
        self.covariance[:, AMBIENT, AMBIENT] += (1 - stay**2) * c.ambient_std_k**2
        self.covariance[:, SCALE, SCALE] += (1 - stay**2) * c.scale_std**2

    def _remember(self) -> None:
        """Keep past estimates for as long as the longest sensor delay."""
        if self._delay_s:
            self._past.append((self._seconds, self.state_c.copy()))
            while len(self._past) > 1 and self._past[1][0] <= self._seconds - self._delay_s:
                self._past.popleft()

    def _estimate_before(self, delay_s: float) -> Array:
        """Return the estimate `delay_s` ago, (motors, 2) [°C]."""
        if not delay_s or not self._past:
            return self.state_c
        at = self._seconds - delay_s
        return min(self._past, key=lambda kept: abs(kept[0] - at))[1]

    def _correct(self, name: str, values: Array, dt_s: float) -> None:
        """Correct the estimate with the readings of one kind of sensor."""
        watch, c, place = self.watches[name], self.config, self._places[name]
        expected = _at(place, self._estimate_before(watch.sensor.delay_s))
        good = watch.accept(values, expected, self._sensor_std_k(place), _at(place, self._load_step_k), dt_s)
        if not good.any():
            return
        # The rounding error is up to half a step, and constant while the temperature stays within one step.
        noise = watch.sensor.noise_k**2 + watch.sensor.step_k**2 / 12
        noise *= max(1.0, c.sensor_correlation_s / max(dt_s, 1e-9))
        self._update(place, good, values - expected, np.full(len(good), noise), name)

    def correct_winding(self, values: Array, std_k: Array, dt_s: float) -> None:
        """Correct the estimate with winding temperatures of known uncertainty, such as those from a resistance.

        Outliers are ignored.

        Args:
            values: Winding temperatures (motors,) [°C]; NaN if there is none.
            std_k: Their standard deviations (motors,) [K].
            dt_s: Time since the previous values [s].
        """
        innovation = values - self.mean[:, WINDING]
        spread = np.sqrt(self.covariance[:, WINDING, WINDING] + np.square(std_k))
        good = np.abs(innovation) < OUTLIER_SIGMA * spread
        if good.any():
            correlated = max(1.0, self.config.sensor_correlation_s / max(dt_s, 1e-9))
            self._update(self._places["winding"], good, innovation, np.square(std_k) * correlated)

    def _update(
        self, place: Array, good: NDArray[np.bool_], innovation: Array, variance: Array, sensor: str | None = None
    ) -> None:
        """Update the states of the motors `good`.

        The constant errors of a sensor are not estimated, but the filter accounts for their being constant: further
        readings of the same sensor do not reduce the uncertainty that they cause.

        Args:
            place: Fractions of winding and housing temperature in a reading, (motors, 2).
            good: Motors with a usable reading, (motors,).
            innovation: Readings minus expected readings, (motors,) [K].
            variance: Variances of the readings without the offset, (motors,) [K²].
            sensor: Kind of sensor; None for readings without a constant offset.
        """
        with_reading = np.einsum("mij,mj->mi", self.covariance[:, :, :2], place)
        total = _at(place, with_reading) + variance
        # Covariance of this reading with the constant errors, (motors, errors).
        with_errors = np.einsum("mjk,mj->mk", self._errors[:, :2], place)
        if sensor is not None:
            by_error = self._by_error(sensor)
            own = by_error * self._error_variance
            total = total + np.sum(by_error * (2 * with_errors + own), axis=-1)
            with_reading = with_reading + np.einsum("mik,mk->mi", self._errors, by_error)
            with_errors = with_errors + own
        gain = np.where(good, with_reading.T / total, 0.0).T
        self.mean += gain * np.where(good, innovation, 0.0)[:, None]
        self.covariance -= gain[:, :, None] * with_reading[:, None, :]
        # Keep the covariance symmetric in spite of rounding errors.
        self.covariance = (self.covariance + self.covariance.swapaxes(-1, -2)) / 2
        self._errors -= gain[:, :, None] * with_errors[:, None, :]

    def _sensor_std_k(self, place: Array) -> Array:
        """Return the standard deviations of the temperatures at a place (motors, 2), (motors,) [K]."""
        return np.sqrt(np.einsum("mi,mij,mj->m", place, self.covariance[:, :2, :2], place))

    def expected(self, sensor: str) -> tuple[Array, Array]:
        """Return what a kind of sensor is expected to read [°C], and its standard deviation [K], both (motors,)."""
        place, step_k = self._places[sensor], self.watches[sensor].sensor.step_k
        constant = np.sum(np.square(self._by_error(sensor)) * self._error_variance, axis=-1)
        return _at(place, self.state_c), np.sqrt(self._sensor_std_k(place) ** 2 + constant + step_k**2 / 12)

    def _by_error(self, sensor: str) -> Array:
        """Return the derivatives of a reading with respect to the constant errors, (motors, errors)."""
        out = np.zeros_like(self._error_variance)
        out[:, list(self.watches).index(sensor)] = 1
        if sensor == "driver":
            out[:, -1] = self.mean[:, WINDING] - self.mean[:, HOUSING]
        return out

    def health(self) -> list[str]:
        """Return the faults of each motor's sensors and model as text; empty where there is none."""
        texts = [[w.describe(i, name) for name, w in self.watches.items()] for i in range(len(self.model))]
        scale = self.scale
        for i in np.flatnonzero(self._scaled):
            texts[i].append(f"heat is {scale[i]:.1f} times the modeled heat: blocked fan or a different motor?")
        return ["; ".join(filter(None, parts)) for parts in texts]


def _places(model: TwoNodeModel) -> Mapping[str, Array]:
    """Return kind of sensor -> fractions of winding and housing temperature in a reading, (motors, 2)."""
    zero = np.zeros(len(model))
    ratios = {"winding": zero + 1, "housing": zero, "driver": model.driver_sensor_ratio}
    return {name: np.stack([ratio, 1 - ratio], axis=-1) for name, ratio in ratios.items()}


def _at(place: Array, state_c: Array) -> Array:
    """Return the temperatures at a place (motors, 2) from those of winding and housing (motors, 2...), (motors,)."""
    return np.sum(place * state_c[:, :2], axis=-1)
