"""Two-node thermal model of a motor: winding `w` and housing `h` against the ambient `a`, integrated exactly.

::

    C_w dT_w/dt = P(T_w) - (T_w - T_h) / R_1        C_h dT_h/dt = (T_w - T_h) / R_1 - (T_h - T_a) / R_2

    P(T_w) = P_copper (1 + α (T_w - 25)) + P_other        α = 0.00393 /K

The resistance of copper rises with its temperature, and the loss of a given current with it. For a constant load the
system is therefore linear, and its solution is a sum of two exponentials; one of them grows if the load exceeds what
the motor can ever dissipate. A step may have any length. All arrays have shape (..., motors); the leading axes are
worlds or robots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from waldo.robots.motor import ThermalConstants
from waldo.typing import Array

COPPER_ALPHA_PER_K = 0.00393
"""Temperature coefficient of the resistance of copper at 25 °C [1/K] (IEC 60028)."""

REFERENCE_C = 25.0
"""Temperature at which winding resistances are stated [°C]."""

BISECTIONS = 32
"""Steps of the search for a time: nine decades halved 32 times are 5e-9 of the time."""

MAX_EXPONENT = 60.0
"""Bound of a growing exponential's exponent, far beyond any relevant temperature."""


@dataclass(frozen=True, slots=True)
class Load:
    """The losses that heat a motor, shape (..., motors) [W]."""

    copper_w: Array
    """Loss in the winding's resistance at 25 °C: the mean of i² times R_25 [W]."""
    other_w: Array
    """Loss that does not depend on the winding's temperature: iron, friction, electronics [W]."""

    def at(self, winding_c: Array) -> Array:
        """Return the total loss at a winding temperature [°C], both of shape (..., motors)."""
        return self.copper_w * (1 + COPPER_ALPHA_PER_K * (winding_c - REFERENCE_C)) + self.other_w

    def __mul__(self, factor: Array | float) -> Load:
        """Return the load times a factor of shape (..., motors)."""
        return Load(self.copper_w * factor, self.other_w * factor)


@dataclass(frozen=True, slots=True)
class Response:
    """The state after a time t, x(t) = E x(0) + I u. Entries have shape (..., motors)."""

    e11: Array
    e12: Array
    e21: Array
    e22: Array
    """Entries of the matrix exponential E."""
    i11: Array
    i12: Array
    i21: Array
    i22: Array
    """Entries of its integral I [s]."""


class TwoNodeModel:
    """The models of several motors, whose constants do not change.

    Shapes: states (..., motors, 2) [°C], loads and temperatures (..., motors).
    """

    def __init__(self, constants: Sequence[ThermalConstants]) -> None:
        self._set(
            np.array([c.winding_j_per_k for c in constants]),
            np.array([c.housing_j_per_k for c in constants]),
            np.array([c.winding_to_housing_k_per_w for c in constants]),
            np.array([c.housing_to_ambient_k_per_w for c in constants]),
        )
        self.driver_sensor_ratio = np.array([c.driver_sensor_ratio for c in constants])
        """Positions of the sensors on the drives' boards, from the housing (0) to the winding (1), (motors,)."""
        self.driver_sensor_std = np.array([c.driver_sensor_std for c in constants])
        """Standard deviations of these positions, (motors,)."""
        self.resistance_std = np.array([max(c.std[2:]) if c.std else 0.0 for c in constants])
        """Stated relative standard deviations of the thermal resistances, (motors,); 0 if none is stated."""

    def _set(self, cw: Array, ch: Array, r1: Array, r2: Array) -> None:
        self.cw = cw
        """Heat capacities of the windings, (motors,) [J/K]."""
        self.ch = ch
        """Heat capacities of the housings, (motors,) [J/K]."""
        self.r1 = r1
        """Thermal resistances from winding to housing, (motors,) [K/W]."""
        self.r2 = r2
        """Thermal resistances from housing to ambient, (motors,) [K/W]."""
        # Coefficients of the differential equation, which every step uses.
        self._copper = COPPER_ALPHA_PER_K / cw
        self._to_winding, self._to_housing = 1 / (r1 * cw), 1 / (r1 * ch)
        self._from_housing = -(1 / r1 + 1 / r2) / ch

    @classmethod
    def from_arrays(cls, cw: Array, ch: Array, r1: Array, r2: Array) -> TwoNodeModel:
        """Return a model with constants given as arrays of one shape [J/K, J/K, K/W, K/W]."""
        model = cls(())
        model._set(cw, ch, r1, r2)
        model.driver_sensor_ratio = model.driver_sensor_std = model.resistance_std = np.zeros_like(cw)
        return model

    def __len__(self) -> int:
        """Return the number of motors."""
        return len(self.cw)

    def at_ambient(self, ambient_c: float, worlds: tuple[int, ...] = ()) -> Array:
        """Return the state of motors at ambient temperature, shape (*worlds, motors, 2) [°C]."""
        return np.full((*worlds, len(self), 2), float(ambient_c))

    def driver_c(self, state_c: Array) -> Array:
        """Return what the sensors on the drives' boards measure in states (..., motors, 2), (..., motors) [°C]."""
        winding, housing = state_c[..., 0], state_c[..., 1]
        return housing + self.driver_sensor_ratio * (winding - housing)

    def response(self, copper_w: Array, seconds: Array | float) -> Response:
        """Return the response after `seconds` under a copper loss at 25 °C; both broadcast against (..., motors)."""
        b, c = self._to_winding, self._to_housing
        a, d = self._copper * copper_w - b, self._from_housing
        # The eigenvalues are mean ± spread; spread > 0, since b c > 0.
        mean, half = (a + d) / 2, (a - d) / 2
        spread = np.sqrt(half * half + b * c)
        values = _modes((mean - spread) * seconds, (mean + spread) * seconds, seconds)
        fast, slow = values[:, 0], values[:, 1]
        # Sylvester's formula: f(A) = (f(slow) + f(fast)) / 2 + (f(slow) - f(fast)) / (2 spread) (A - mean).
        middle, slope = (slow + fast) / 2, (slow - fast) / (2 * spread)
        diagonal = slope * half
        (e11, i11), (e12, i12), (e21, i21), (e22, i22) = middle + diagonal, slope * b, slope * c, middle - diagonal
        return Response(e11, e12, e21, e22, i11, i12, i21, i22)

    def inputs(self, load: Load, ambient_c: Array | float) -> tuple[Array, Array]:
        """Return the input u of both nodes, (..., motors) [K/s]: the part that does not depend on the state."""
        heat = load.copper_w * (1 - REFERENCE_C * COPPER_ALPHA_PER_K) + load.other_w
        return heat / self.cw, np.asarray(ambient_c) / (self.r2 * self.ch)

    def step(self, state_c: Array, load: Load, ambient_c: Array | float, dt_s: Array | float) -> Array:
        """Return the state after `dt_s` [s] of a constant load; exact for any `dt_s`."""
        r = self.response(load.copper_w, dt_s)
        u1, u2 = self.inputs(load, ambient_c)
        w, h = state_c[..., 0], state_c[..., 1]
        winding = r.e11 * w + r.e12 * h + r.i11 * u1 + r.i12 * u2
        housing = r.e21 * w + r.e22 * h + r.i21 * u1 + r.i22 * u2
        return np.stack([winding, housing], axis=-1)

    def affine(self, load: Load, ambient_c: Array | float, seconds: Array | float) -> Array:
        """Return the matrices that advance (winding, housing, 1) under a constant load, (..., motors, 3, 3)."""
        r = self.response(load.copper_w, seconds)
        u1, u2 = self.inputs(load, ambient_c)
        out = np.zeros((*r.e11.shape, 3, 3))
        out[..., 0, 0], out[..., 0, 1], out[..., 0, 2] = r.e11, r.e12, r.i11 * u1 + r.i12 * u2
        out[..., 1, 0], out[..., 1, 1], out[..., 1, 2] = r.e21, r.e22, r.i21 * u1 + r.i22 * u2
        out[..., 2, 2] = 1
        return out

    def matrices(self, seconds: ArrayLike) -> tuple[Array, Array, Array]:
        """Return E, b and a of x' = E x + b P + a T_a: the state after `seconds` of a loss P [W] in air at T_a [°C].

        Returns:
            Arrays of shape (..., motors, 2, 2), (..., motors, 2) and (..., motors, 2), where (...) is the shape of
            `seconds`.
        """
        r = self.response(np.zeros(len(self)), np.asarray(seconds, dtype=float)[..., None])
        matrix = np.stack([np.stack([r.e11, r.e12], axis=-1), np.stack([r.e21, r.e22], axis=-1)], axis=-2)
        by_loss = np.stack([r.i11 / self.cw, r.i21 / self.cw], axis=-1)
        by_ambient = np.stack([r.i12, r.i22], axis=-1) / (self.r2 * self.ch)[:, None]
        return matrix, by_loss, by_ambient

    def stepper(self, dt_s: float) -> Callable[[Array, Array, Array | float], Array]:
        """Return a fast step of fixed length `dt_s` [s]: (state, loss (..., motors) [W], ambient [°C]) -> state.

        The loss is constant during a step: for steps much shorter than the time constant of a winding.
        """
        matrix, by_loss, by_ambient = self.matrices(dt_s)

        def step(state_c: Array, loss_w: Array, ambient_c: Array | float) -> Array:
            moved = (matrix @ state_c[..., None])[..., 0]
            return moved + by_loss * loss_w[..., None] + by_ambient * np.asarray(ambient_c)

        return step

    def winding_at(self, seconds: Array, state_c: Array, load: Load, ambient_c: Array | float) -> Array:
        """Return the winding temperature after `seconds`, which broadcast against (..., motors) [°C]."""
        r = self.response(load.copper_w, seconds)
        u1, u2 = self.inputs(load, ambient_c)
        return r.e11 * state_c[..., 0] + r.e12 * state_c[..., 1] + r.i11 * u1 + r.i12 * u2

    def steady(self, load: Load, ambient_c: Array | float) -> Array:
        """Return the steady state of a constant load, (..., motors, 2) [°C]; infinite if there is none."""
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
        horizon_s: Array | float = 86400.0,
    ) -> Array:
        """Return the time until the winding reaches `limit_c` under a constant load, (..., motors) [s].

        Under a constant load a winding rises monotonically, or falls and then rises. The crossing of the final rise is
        found by bisection in the logarithm of time.

        Returns:
            0 if the winding is at the limit already, infinity if it does not reach it within `horizon_s`, NaN if the
            limit is NaN.
        """
        limit = np.broadcast_to(
            np.asarray(limit_c, dtype=float), np.broadcast_shapes(state_c.shape[:-1], load.copper_w.shape)
        )
        end = self.winding_at(np.asarray(horizon_s), state_c, load, ambient_c)
        low, high = np.full(limit.shape, -4.0), np.full(limit.shape, np.log10(horizon_s))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.winding_at(10.0**middle, state_c, load, ambient_c) < limit
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        times = np.where(end > limit, 10.0**high, np.inf)
        return np.where(np.isnan(limit), np.nan, np.where(state_c[..., 0] >= limit, 0.0, times))


def _modes(fast: Array, slow: Array, seconds: Array | float) -> Array:
    """Return exp(x) and its integral over `seconds` [s] for both exponents x, (2, 2, ..., motors)."""
    exponent = np.array([fast, slow])
    rise = np.expm1(np.minimum(exponent, MAX_EXPONENT))
    mean = np.divide(rise, exponent, out=np.ones_like(rise), where=np.abs(exponent) >= 1e-9)
    return np.array([rise + 1, mean * seconds])


def resistance_at(resistance_25_ohm: Array | float, winding_c: Array) -> Array:
    """Return the resistance of a winding at `winding_c` [°C] from its value at 25 °C [Ω]."""
    return np.asarray(resistance_25_ohm * (1 + COPPER_ALPHA_PER_K * (np.asarray(winding_c) - REFERENCE_C)))
