"""Winding and housing temperature of motors with standard deviations: the two-node model corrected by sensors.

An extended Kalman filter with four states a motor: winding and housing [°C], the ambient that the housing really sees
[°C], and the logarithm of how much more heat there is than the model thinks (friction, a gear, a wrong constant).
The last two wander about what is expected of them, so a prediction without sensors has a bounded, honest width. A
sensor's offset stays: it does not average out, and says nothing of how fast a motor warms (Schmidt-Kalman).

Sensors may be rounded, late, absurd, stuck or absent; what is not believed is said (`health`). Shapes: (motors,).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.sensor_watch import FAR_SIGMA, SensorWatch
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

W, H, A, S = range(4)
"""States: winding, housing, ambient, log of the heat's scale."""


SCALE_SIGMA, SCALE_BACK_SIGMA = 3.0, 2.0
"""A scale so far off is told, and no longer told when it is nearer than this, in standard deviations expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """How a kind of temperature sensor reads."""

    std_k: float
    """Offset and placement: an error that stays, one standard deviation [K]."""
    noise_k: float = 0.3
    """Error that changes, besides rounding, one standard deviation [K]."""
    step_k: float = 1.0
    """Resolution [K]: most servos round to a degree."""
    delay_s: float = 0.0
    """How late a reading is [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverConfig:
    """What is expected of motors and sensors."""

    winding: Sensor = field(default_factory=lambda: Sensor(std_k=1.0))
    """A sensor in the winding."""
    housing: Sensor = field(default_factory=lambda: Sensor(std_k=1.5))
    """A sensor on the housing."""
    driver: Sensor = field(default_factory=lambda: Sensor(std_k=4.0))
    """A sensor on the driver's board, which is taken for a bad one on the housing."""
    ambient_c: float = 25.0
    """Temperature of the air where nobody measures it [°C]."""
    ambient_std_k: float = 4.0
    """How far the ambient may be from that, one standard deviation [K]."""
    scale_std: float = 0.18
    """How far the heat may be from what the model says, one standard deviation of its logarithm."""
    wander_s: float = 1800.0
    """Time in which ambient and scale may have become others [s]."""
    model_error: float = 0.04
    """How wrong the thermal resistances are, as a share; sets how far the model alone is trusted from step to step."""
    model_error_s: float = 60.0
    """Time over which such an error pushes in the same direction [s]."""
    sensor_correlation_s: float = 2.0
    """Time for which a reading's rounding stays the same, beside the offset that stays: readings more often than
    that say nothing new [s]. A loaded winding of a small motor passes a degree in about so long."""


class HeatObserver:
    """The temperatures of several motors, stepped together."""

    def __init__(self, model: TwoNodeModel, config: ObserverConfig | None = None) -> None:
        """Start at ambient: motors that have cooled down, as far as anyone knows."""
        self.model, self.config = model, config or ObserverConfig()
        count, c = len(model), self.config
        self.mean: Array = np.zeros((count, 4))
        self.mean[:, (W, H, A)] = c.ambient_c
        variance = np.square([c.ambient_std_k, c.ambient_std_k, c.ambient_std_k, c.scale_std])
        self.covariance: Array = np.broadcast_to(np.diag(variance), (count, 4, 4)).copy()
        # The motors have stood in this air: all three temperatures are the same unknown one.
        self.covariance[:, :3, :3] = c.ambient_std_k**2
        self.covariance[:, range(3), range(3)] += 0.5
        self.watches: Mapping[str, SensorWatch] = {
            name: SensorWatch(count, getattr(c, name)) for name in ("winding", "housing", "driver")
        }
        self._offsets: dict[str, Array] = {name: np.zeros((count, 4)) for name in self.watches}
        """Covariance of the states with each kind of sensor's offset, (motors, 4) [K²] (a Schmidt-Kalman filter)."""
        self._past: deque[tuple[float, Array]] = deque()
        self._push: Array = np.zeros((count, 2))
        self._seconds = 0.0
        self._scaled: NDArray[np.bool_] = np.zeros(count, dtype=bool)

    @property
    def winding_c(self) -> Array:
        """Winding temperatures [°C]."""
        return self.mean[:, W]

    @property
    def housing_c(self) -> Array:
        """Housing temperatures [°C]."""
        return self.mean[:, H]

    @property
    def winding_std_k(self) -> Array:
        """Standard deviation of the winding temperatures [K]."""
        return np.sqrt(self.covariance[:, W, W])

    @property
    def housing_std_k(self) -> Array:
        """Standard deviation of the housing temperatures [K]."""
        return np.sqrt(self.covariance[:, H, H])

    @property
    def scale(self) -> Array:
        """How many times as much heat there is as the model thinks."""
        return np.exp(self.mean[:, S])

    @property
    def state_c(self) -> Array:
        """Winding and housing, (motors, 2) [°C]."""
        return self.mean[:, :2]

    def step(self, load: Load, dt_s: float, readings: Mapping[str, Array] | None = None) -> None:
        """Let `dt_s` [s] pass under a load [W], then take readings: kind -> (motors,) [°C], NaN for none."""
        self._predict(load, dt_s)
        self._seconds += dt_s
        self._remember()
        for name, values in (readings or {}).items():
            self._correct(name, values, dt_s)
        off, std = np.abs(self.mean[:, S]) / self.config.scale_std, np.sqrt(self.covariance[:, S, S])
        begins = (off > SCALE_SIGMA) & (np.abs(self.mean[:, S]) > 2 * std)
        self._scaled = begins | (self._scaled & (off > SCALE_BACK_SIGMA))

    def _predict(self, load: Load, dt_s: float) -> None:
        model, c, mean = self.model, self.config, self.mean
        scaled = load * self.scale
        r = model.response(scaled.copper_w, dt_s)
        u1, u2 = model.inputs(scaled, mean[:, A])
        heat = scaled.at(mean[:, W]) / model.cw
        w, h = mean[:, W].copy(), mean[:, H].copy()
        stay = np.exp(-dt_s / c.wander_s)
        transition = np.zeros_like(self.covariance)
        transition[:, W, W], transition[:, W, H], transition[:, H, W], transition[:, H, H] = r.e11, r.e12, r.e21, r.e22
        from_air = 1 / (model.r2 * model.ch)
        transition[:, W, A], transition[:, H, A] = r.i12 * from_air, r.i22 * from_air
        transition[:, W, S], transition[:, H, S] = r.i11 * heat, r.i21 * heat
        transition[:, A, A] = transition[:, S, S] = stay
        mean[:, W] = r.e11 * w + r.e12 * h + r.i11 * u1 + r.i12 * u2
        mean[:, H] = r.e21 * w + r.e22 * h + r.i21 * u1 + r.i22 * u2
        self._push = mean[:, :2] - np.stack([w, h], axis=-1)
        mean[:, A] = c.ambient_c + stay * (mean[:, A] - c.ambient_c)
        mean[:, S] *= stay
        self.covariance = transition @ self.covariance @ transition.swapaxes(-1, -2)
        for name, offset in self._offsets.items():
            self._offsets[name] = (transition @ offset[..., None])[..., 0]
        self._diffuse(w - h, h - mean[:, A], stay, dt_s)

    def _diffuse(self, across: Array, out: Array, stay: float, dt_s: float) -> None:
        """Add what the model does not know: wrong resistances, and an ambient and a scale that wander."""
        model, c = self.model, self.config
        push = c.model_error**2 * 2 * min(c.model_error_s, 1e9) * dt_s
        flow1, flow2 = across / model.r1, out / model.r2
        self.covariance[:, W, W] += push * np.square(flow1 / model.cw)
        self.covariance[:, H, H] += push * (np.square(flow1) + np.square(flow2)) / np.square(model.ch)
        self.covariance[:, A, A] += (1 - stay**2) * c.ambient_std_k**2
        self.covariance[:, S, S] += (1 - stay**2) * c.scale_std**2

    def _remember(self) -> None:
        """Keep the last estimates as long as the latest sensor is late."""
        longest = max(watch.sensor.delay_s for watch in self.watches.values())
        if longest:
            self._past.append((self._seconds, self.state_c.copy()))
            while len(self._past) > 1 and self._past[1][0] <= self._seconds - longest:
                self._past.popleft()

    def _then(self, delay_s: float) -> Array:
        """Return the estimate of `delay_s` ago, (motors, 2)."""
        if not delay_s or not self._past:
            return self.state_c
        at = self._seconds - delay_s
        return min(self._past, key=lambda kept: abs(kept[0] - at))[1]

    def _correct(self, name: str, values: Array, dt_s: float) -> None:
        """Take one kind of reading."""
        watch, c = self.watches[name], self.config
        row = W if name == "winding" else H
        expected = self._then(watch.sensor.delay_s)[:, row]
        std = np.sqrt(self.covariance[:, row, row])
        good = watch.look(values, expected, std, self._push[:, row], dt_s)
        if not good.any():
            return
        # A rounded reading is wrong by up to half a step, for as long as the temperature stays within one.
        noise = watch.sensor.noise_k**2 + watch.sensor.step_k**2 / 12
        noise *= max(1.0, c.sensor_correlation_s / max(dt_s, 1e-9))
        self._update(row, good, values - expected, np.full(len(good), noise), name)

    def take_winding(self, values: Array, std_k: Array, dt_s: float) -> None:
        """Take winding temperatures [°C] that tell themselves how certain they are [K]; NaN for none.

        For what is worked out from other readings, as from a resistance: what is far off is passed over.
        """
        surprise = values - self.mean[:, W]
        good = np.abs(surprise) < FAR_SIGMA * np.sqrt(self.covariance[:, W, W] + np.square(std_k))
        if good.any():
            same = max(1.0, self.config.sensor_correlation_s / max(dt_s, 1e-9))
            self._update(W, good, surprise, np.square(std_k) * same)

    def _update(
        self, row: int, good: NDArray[np.bool_], surprise: Array, variance: Array, sensor: str | None = None
    ) -> None:
        """Correct the motors `good` by how far a reading was from what was expected [K], with its variance [K²].

        The offset of a `sensor` is not estimated, but it is known to stay: reading it longer makes nothing surer.
        """
        with_row, whole = self.covariance[good, :, row], self.covariance[good, row, row] + variance[good]
        if sensor is not None:
            offset, own = self._offsets[sensor][good], self.watches[sensor].sensor.std_k ** 2
            whole = whole + 2 * offset[:, row] + own
            with_row = with_row + offset
        gain = with_row / whole[:, None]
        self.mean[good] += gain * surprise[good, None]
        self.covariance[good] -= gain[:, :, None] * with_row[:, None, :]
        # Rounding must not make it lopsided.
        self.covariance[good] = (self.covariance[good] + self.covariance[good].swapaxes(-1, -2)) / 2
        for name, kept in self._offsets.items():
            constant = self.watches[name].sensor.std_k ** 2 if name == sensor else 0.0
            kept[good] -= gain * (kept[good, row] + constant)[:, None]

    def health(self) -> list[str]:
        """Return what is wrong with each motor's sensors or model, in words; empty where nothing is."""
        texts = [[w.describe(i, name) for name, w in self.watches.items()] for i in range(len(self.model))]
        scale = self.scale
        for i in np.flatnonzero(self._scaled):
            texts[i].append(f"makes {scale[i]:.1f} times the heat of its constants: blocked fan or another motor?")
        return ["; ".join(filter(None, parts)) for parts in texts]
