"""The two thermal nodes of a motor, winding `w` and housing `h` against the ambient `a`, solved exactly.

::

    C_w dT_w/dt = P(T_w) - (T_w - T_h) / R_1        C_h dT_h/dt = (T_w - T_h) / R_1 - (T_h - T_a) / R_2

    P(T_w) = P_copper (1 + α (T_w - 25)) + P_other        α = 0.00393 /K

Copper's resistance rises with its temperature, so a current's loss does too: the system stays linear for a constant
load, and its solution is a sum of two exponentials, of which one grows where the load is beyond what the motor can ever
give away. No step is too long for it. Everything is vectorised: arrays of shape (..., motors), where the leading axes
are worlds or robots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from waldo.errors import InvalidValueError
from waldo.typing import Array

COPPER_ALPHA_PER_K = 0.00393
"""Temperature coefficient of copper's resistance at 25 °C [1/K] (IEC 60028)."""

LARGEST_EXPONENT = 60.0
"""Where a growing exponential is cut: far beyond any temperature that matters."""


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
                raise InvalidValueError(name, getattr(self, name), "a number above 0")
        if self.basis not in ("published", "fitted", "assumed"):
            raise InvalidValueError("basis", self.basis, "published, fitted or assumed")


@dataclass(frozen=True, slots=True)
class Load:
    """What heats a motor: losses of shape (..., motors) [W]."""

    copper_w: Array
    """Loss in the winding's resistance as it would be at 25 °C: the mean of i² times R_25."""
    other_w: Array
    """Loss that does not depend on the winding's temperature: iron, friction, electronics."""

    def at(self, winding_c: Array) -> Array:
        """Return the loss at a winding temperature (..., motors) [°C]."""
        return self.copper_w * (1 + COPPER_ALPHA_PER_K * (winding_c - 25)) + self.other_w

    def __mul__(self, factor: Array | float) -> Load:
        """Return the load times a factor (..., motors)."""
        return Load(self.copper_w * factor, self.other_w * factor)


@dataclass(frozen=True, slots=True)
class Response:
    """How winding and housing answer after some time: x(t) = E x(0) + I u. Entries have the shape (..., motors)."""

    e11: Array
    e12: Array
    e21: Array
    e22: Array
    """The entries of the matrix exponential E."""
    i11: Array
    i12: Array
    i21: Array
    i22: Array
    """The entries of its integral I [s]."""


class TwoNodeModel:
    """Several motors, stepped together. Shapes: state (..., motors, 2) [°C], loads and temperatures (..., motors)."""

    def __init__(self, constants: Sequence[ThermalConstants]) -> None:
        """Take the constants of each motor, in the order of the last axis of every array."""
        self.cw = np.array([c.winding_j_per_k for c in constants])
        self.ch = np.array([c.housing_j_per_k for c in constants])
        self.r1 = np.array([c.winding_to_housing_k_per_w for c in constants])
        self.r2 = np.array([c.housing_to_ambient_k_per_w for c in constants])

    @classmethod
    def of_arrays(cls, cw: Array, ch: Array, r1: Array, r2: Array) -> TwoNodeModel:
        """Return a model of constants that are arrays already, of any one shape [J/K, J/K, K/W, K/W]."""
        model = cls(())
        model.cw, model.ch, model.r1, model.r2 = cw, ch, r1, r2
        return model

    def __len__(self) -> int:
        """Return how many motors there are."""
        return len(self.cw)

    def at_ambient(self, ambient_c: float, worlds: tuple[int, ...] = ()) -> Array:
        """Return the state (*worlds, motors, 2) [°C] of motors that have cooled down fully."""
        return np.full((*worlds, len(self), 2), float(ambient_c))

    def response(self, copper_w: Array, seconds: Array | float) -> Response:
        """Return the answer after `seconds` under a copper loss (at 25 °C); both broadcast against (..., motors)."""
        a = (COPPER_ALPHA_PER_K * copper_w - 1 / self.r1) / self.cw
        b, c = 1 / (self.r1 * self.cw), 1 / (self.r1 * self.ch)
        d = -(1 / self.r1 + 1 / self.r2) / self.ch
        # The eigenvalues mean ± spread; spread > 0, since b c > 0.
        mean, spread = (a + d) / 2, np.sqrt(np.square((a - d) / 2) + b * c)
        fast, slow = mean - spread, mean + spread
        ef, phi_f = _mode(fast, seconds)
        es, phi_s = _mode(slow, seconds)
        w = 1 / (2 * spread)
        # Sylvester's formula: f(A) = (f(slow) (A - fast) - f(fast) (A - slow)) / (slow - fast).
        de, dp = (es - ef) * w, (phi_s - phi_f) * w
        me, mp = (ef * slow - es * fast) * w, (phi_f * slow - phi_s * fast) * w
        return Response(de * a + me, de * b, de * c, de * d + me, dp * a + mp, dp * b, dp * c, dp * d + mp)

    def inputs(self, load: Load, ambient_c: Array | float) -> tuple[Array, Array]:
        """Return the drive u of both nodes [K/s] that is not proportional to their temperatures."""
        heat = load.copper_w * (1 - 25 * COPPER_ALPHA_PER_K) + load.other_w
        return heat / self.cw, np.asarray(ambient_c) / (self.r2 * self.ch)

    def step(self, state_c: Array, load: Load, ambient_c: Array | float, dt_s: Array | float) -> Array:
        """Return the state after `dt_s` [s] of a constant load; exact for any `dt_s`."""
        r = self.response(load.copper_w, dt_s)
        u1, u2 = self.inputs(load, ambient_c)
        w, h = state_c[..., 0], state_c[..., 1]
        winding = r.e11 * w + r.e12 * h + r.i11 * u1 + r.i12 * u2
        housing = r.e21 * w + r.e22 * h + r.i21 * u1 + r.i22 * u2
        return np.stack([winding, housing], axis=-1)

    def matrices(self, seconds: ArrayLike) -> tuple[Array, Array, Array]:
        """Return E, b and a of x' = E x + b P + a T_a: winding and housing after `seconds` of a loss P [W] in air T_a.

        Shapes (..., motors, 2, 2), (..., motors, 2) and (..., motors, 2), where (...) is that of `seconds`.
        """
        r = self.response(np.zeros(len(self)), np.asarray(seconds, dtype=float)[..., None])
        matrix = np.stack([np.stack([r.e11, r.e12], axis=-1), np.stack([r.e21, r.e22], axis=-1)], axis=-2)
        by_loss = np.stack([r.i11 / self.cw, r.i21 / self.cw], axis=-1)
        by_air = np.stack([r.i12, r.i22], axis=-1) / (self.r2 * self.ch)[:, None]
        return matrix, by_loss, by_air

    def stepper(self, dt_s: float) -> Callable[[Array, Array, Array | float], Array]:
        """Return a quick step of always `dt_s` [s]: (state, loss (..., motors) [W], ambient) -> state.

        The loss is what it is at the begin: for steps much shorter than a winding's time constant.
        """
        matrix, by_loss, by_air = self.matrices(dt_s)

        def step(state_c: Array, loss_w: Array, ambient_c: Array | float) -> Array:
            moved = (matrix @ state_c[..., None])[..., 0]
            return moved + by_loss * loss_w[..., None] + by_air * np.asarray(ambient_c)

        return step

    def winding_at(self, seconds: Array, state_c: Array, load: Load, ambient_c: Array | float) -> Array:
        """Return the winding's temperature (..., motors) [°C] after `seconds`, broadcast against (..., motors)."""
        return self.step(state_c, load, ambient_c, seconds)[..., 0]

    def steady(self, load: Load, ambient_c: Array | float) -> Array:
        """Return the state (..., motors, 2) [°C] that a constant load ends at; infinite where it never ends."""
        total = self.r1 + self.r2
        gain = 1 - COPPER_ALPHA_PER_K * load.copper_w * total
        with np.errstate(divide="ignore"):
            rise = load.at(np.asarray(ambient_c, dtype=float)) * total / np.maximum(gain, 0)
        housing = ambient_c + rise * self.r2 / total
        return np.stack([ambient_c + rise, housing], axis=-1)

    def time_to(
        self,
        limit_c: Array | float,
        state_c: Array,
        load: Load,
        ambient_c: Array | float,
        *,
        horizon_s: float = 86400.0,
    ) -> Array:
        """Return the time (..., motors) [s] until the winding reaches `limit_c` under a constant load.

        0 where it is there already, infinity where it does not get there within `horizon_s`. Under a constant load a
        winding rises for ever, or falls and then rises: the last rise is what is looked for, by bisection in log time.
        """
        limit = np.broadcast_to(
            np.asarray(limit_c, dtype=float), np.broadcast_shapes(state_c.shape[:-1], load.copper_w.shape)
        )
        end = self.winding_at(np.asarray(horizon_s), state_c, load, ambient_c)
        low, high = np.full(limit.shape, -4.0), np.full(limit.shape, np.log10(horizon_s))
        for _ in range(45):
            middle = (low + high) / 2
            below = self.winding_at(10.0**middle, state_c, load, ambient_c) < limit
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        times = np.where(end > limit, 10.0**high, np.inf)
        return np.where(np.isnan(limit), np.nan, np.where(state_c[..., 0] >= limit, 0.0, times))


def _mode(rate: Array, seconds: Array | float) -> tuple[Array, Array]:
    """Return e^(rate t) and its integral from 0 to t."""
    exponent = np.minimum(rate * seconds, LARGEST_EXPONENT)
    rise = np.expm1(exponent)
    with np.errstate(invalid="ignore", divide="ignore"):
        integral = np.where(np.abs(exponent) < 1e-9, seconds, rise / rate)
    return rise + 1, integral


def resistance_at(resistance_25_ohm: Array | float, winding_c: Array) -> Array:
    """Return the winding's resistance [Ω] at `winding_c` [°C], from its value at 25 °C."""
    return np.asarray(resistance_25_ohm * (1 + COPPER_ALPHA_PER_K * (np.asarray(winding_c) - 25)))
