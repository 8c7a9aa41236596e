"""Motor heat: two thermal nodes per motor, the exact step, the time to a limit and the duty of a motor.

Two nodes, winding `w` and housing `h`, against the ambient `a`::

    C_w dT_w/dt = P - (T_w - T_h) / R_1        C_h dT_h/dt = (T_w - T_h) / R_1 - (T_h - T_a) / R_2

with the loss `P = i² R(T_w)` and `R(T) = R_25 (1 + α (T - 25))`, α = 0.00393 /K for copper. The step is exact for a
constant loss (matrix exponential), so it has no stability limit. Everything is vectorised: arrays of shape
(..., motors), where the leading axes are worlds or robots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.errors import ConfigError

COPPER_ALPHA_PER_K = 0.00393
"""Temperature coefficient of copper's resistance at 25 °C [1/K]."""

DUTY_PERIOD_S = 600.0
"""Period over which IEC 60034-1 counts the cyclic duration factor ED% [s]."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalConstants:
    """The four constants of one motor's two-node model, and where they come from."""

    winding_j_per_k: float
    """Heat capacity of the winding C_w [J/K]."""
    housing_j_per_k: float
    """Heat capacity of the housing C_h [J/K]."""
    winding_to_housing_k_per_w: float
    """Thermal resistance from winding to housing R_1 [K/W]."""
    housing_to_ambient_k_per_w: float
    """Thermal resistance from housing to ambient R_2 [K/W]."""
    basis: str
    """How the numbers were had: "published", "fitted" or "assumed"."""
    source: str
    """Where they were published, or what they were fitted to or assumed from."""

    def __post_init__(self) -> None:
        """Refuse constants that no body can have."""
        for name in ("winding_j_per_k", "housing_j_per_k", "winding_to_housing_k_per_w", "housing_to_ambient_k_per_w"):
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "a number above 0")
        if self.basis not in ("published", "fitted", "assumed"):
            raise ConfigError("basis", self.basis, "published, fitted or assumed")


class HeatModel:
    """The two-node model of several motors, stepped together. Shapes: state (..., motors, 2), losses (..., motors)."""

    def __init__(self, constants: Sequence[ThermalConstants]) -> None:
        """Take the constants of each motor, in the order of the last axis of every array."""
        self.constants = tuple(constants)
        cw = np.array([c.winding_j_per_k for c in constants])
        ch = np.array([c.housing_j_per_k for c in constants])
        self._r1 = np.array([c.winding_to_housing_k_per_w for c in constants])
        self._r2 = np.array([c.housing_to_ambient_k_per_w for c in constants])
        g1, g2 = 1 / self._r1, 1 / self._r2
        system = np.stack(
            [np.stack([-g1 / cw, g1 / cw], axis=-1), np.stack([g1 / ch, -(g1 + g2) / ch], axis=-1)], axis=-2
        )
        # The system is similar to a symmetric matrix, so its eigenvalues are real, distinct and negative.
        rates, modes = np.linalg.eig(system)
        self._rates: Array = np.real(rates)
        self._modes: Array = np.real(modes)
        self._modes_inverse: Array = np.asarray(np.linalg.inv(self._modes), dtype=np.float64)

    def at_ambient(self, ambient_c: float, worlds: tuple[int, ...] = ()) -> Array:
        """Return the state (*worlds, motors, 2) [°C] of motors that have cooled down fully."""
        return np.full((*worlds, len(self.constants), 2), float(ambient_c))

    def steady(self, loss_w: Array, ambient_c: float) -> Array:
        """Return the state (..., motors, 2) [°C] reached if the losses `loss_w` (..., motors) [W] went on for ever."""
        loss = np.asarray(loss_w, dtype=float)
        housing = ambient_c + loss * self._r2
        return np.stack([housing + loss * self._r1, housing], axis=-1)

    def step(self, state_c: Array, loss_w: Array, ambient_c: float, dt_s: float) -> Array:
        """Return the state after `dt_s` [s] of constant losses `loss_w` (..., motors) [W]; exact for any `dt_s`."""
        steady = self.steady(loss_w, ambient_c)
        modal = np.einsum("mij,...mj->...mi", self._modes_inverse, state_c - steady)
        return steady + np.einsum("mij,...mj->...mi", self._modes, modal * np.exp(self._rates * dt_s))

    def time_to(self, limit_c: Array | float, state_c: Array, loss_w: Array, ambient_c: float) -> Array:
        """Return the time (..., motors) [s] until the winding reaches `limit_c` under the losses `loss_w`.

        0 where it is there already, infinity where it never gets there. Found on the sum of the two modes by bisection
        in log time, after the peak that a cold housing cannot produce: under a constant loss the winding rises
        monotonically unless it starts above its path, in which case only the late rise counts.
        """
        steady = self.steady(loss_w, ambient_c)
        modal = np.einsum("mij,...mj->...mi", self._modes_inverse, state_c - steady)
        weights = self._modes[..., 0, :] * modal
        limit = np.broadcast_to(np.asarray(limit_c, dtype=float), steady.shape[:-1])
        reached = steady[..., 0] > limit
        slowest = np.max(-1 / self._rates, axis=-1)
        low = np.full(limit.shape, -7.0)
        high = np.broadcast_to(np.log10(slowest * 60), limit.shape).copy()
        for _ in range(50):
            middle = (low + high) / 2
            seconds = 10.0**middle
            winding = steady[..., 0] + np.sum(weights * np.exp(self._rates * seconds[..., None]), axis=-1)
            below = winding < limit
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        times = np.where(reached, 10.0**high, np.inf)
        return np.where(state_c[..., 0] >= limit, 0.0, times)


def resistance_at(resistance_25_ohm: Array | float, winding_c: Array) -> Array:
    """Return the winding's resistance [Ω] at `winding_c` [°C], from its value at 25 °C."""
    return np.asarray(resistance_25_ohm * (1 + COPPER_ALPHA_PER_K * (np.asarray(winding_c) - 25)))


def copper_loss(current_a: Array, resistance_25_ohm: Array | float, winding_c: Array) -> Array:
    """Return i² R(T) [W]; current and temperature (..., motors)."""
    return np.square(current_a) * resistance_at(resistance_25_ohm, winding_c)


class DutyMeter:
    """What each motor was asked to do: energy, thermal-equivalent torque, peak winding and duty (IEC 60034-1).

    The duty is the share of time with a torque above a twentieth of rated; over ten minutes it is the cyclic duration
    factor ED%. Before ten minutes have passed it is the share so far. Shapes (..., motors).
    """

    def __init__(self, rated_torque_nm: Array, worlds: tuple[int, ...] = ()) -> None:
        """Take each motor's rated torque [N·m], NaN where nobody published one, and leading axes if any."""
        self.rated_torque_nm = np.asarray(rated_torque_nm, dtype=float)
        shape = (*worlds, *self.rated_torque_nm.shape)
        self._seconds: Array = np.zeros((*worlds, 1))
        self._square: Array = np.zeros(shape)
        self._working: Array = np.zeros(shape)
        self._joules: Array = np.zeros(shape)
        self._peak: Array = np.full(shape, -np.inf)

    def restart(self, which: NDArray[np.int64]) -> None:
        """Forget what was counted in the worlds `which`, (n,); only for a meter with a leading axis of worlds."""
        for array in (self._seconds, self._square, self._working, self._joules):
            array[which] = 0
        self._peak[which] = -np.inf

    def add(
        self, torque_nm: Array, loss_w: Array, winding_c: Array, dt_s: float, which: NDArray[np.int64] | None = None
    ) -> None:
        """Count `dt_s` [s] of torque [N·m], loss [W] and winding temperature [°C], each (..., motors).

        `which`: the worlds that these are of, (n,); None means all.
        """
        at = ... if which is None else which
        threshold = np.where(np.isfinite(self.rated_torque_nm), self.rated_torque_nm / 20, 0.0)
        self._seconds[at] += dt_s
        # An exponential window of ten minutes needs no history; until it is full, the mean so far.
        share = dt_s / np.minimum(self._seconds[at], DUTY_PERIOD_S)
        self._square[at] += share * (np.square(torque_nm) - self._square[at])
        self._working[at] += share * ((np.abs(torque_nm) > threshold) - self._working[at])
        self._joules[at] += loss_w * dt_s
        self._peak[at] = np.maximum(self._peak[at], winding_c)

    @property
    def seconds(self) -> Array:
        """Time counted since the start, (..., 1) [s]."""
        return self._seconds.copy()

    @property
    def duty_ratio(self) -> Array:
        """Share of the last ten minutes under load, 0..1 (ED% / 100)."""
        return self._working.copy()

    @property
    def equivalent_torque_nm(self) -> Array:
        """Root mean square of the torque over the last ten minutes [N·m]."""
        return np.sqrt(self._square)

    @property
    def utilization_ratio(self) -> Array:
        """Thermal-equivalent torque over rated; above 1 the motor cannot go on for ever. NaN where rated is unknown."""
        return self.equivalent_torque_nm / self.rated_torque_nm

    @property
    def joules(self) -> Array:
        """Heat put into the winding since the start [J]."""
        return self._joules.copy()

    @property
    def peak_winding_c(self) -> Array:
        """Hottest winding temperature seen [°C]."""
        return self._peak.copy()
