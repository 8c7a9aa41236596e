"""How much heat a motor makes, from whatever it tells of itself: current, else torque, else duty cycle and voltage.

The loss is `i² R(T)` in the winding, plus what turning costs: iron and friction. The current behind a torque depends on
which way power flows: a gear with efficiency η takes its share from the motor when it drives, from the load when it is
driven. Shapes (..., motors); NaN is "not told".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.robots.motor import Motor
from waldo.robots.thermal.two_node import Load, resistance_at
from waldo.typing import Array

MEASURED, FROM_TORQUE, FROM_DUTY, UNKNOWN = 0, 1, 2, 3
"""Where a current comes from, the best first."""


@dataclass(frozen=True, slots=True)
class Currents:
    """Winding currents and how they are known."""

    current_a: Array
    """Current [A] (..., motors); 0 where unknown."""
    basis: NDArray[np.int64]
    """MEASURED, FROM_TORQUE, FROM_DUTY or UNKNOWN."""


class LossModel:
    """The losses of several motors; every argument and result has shape (..., motors)."""

    def __init__(self, motors: Sequence[Motor]) -> None:
        """Take the motors; values that nobody published are NaN, and what needs them is not available."""
        self.kt = _column(motors, "torque_constant_nm_per_a")
        self.r25 = _column(motors, "resistance_ohm")
        self.efficiency = np.array([m.gear_efficiency if m.gear_efficiency is not None else 1.0 for m in motors])
        self.iron = np.array([m.iron_loss_w_per_rad2_s2 or 0.0 for m in motors])

    def current_of_torque(self, torque_nm: Array, velocity_rad_s: Array) -> Array:
        """Return the current [A] behind a torque at the joint [N·m] while it turns at a speed [rad/s]."""
        drives = torque_nm * velocity_rad_s >= 0
        return torque_nm / self.kt * np.where(drives, 1 / self.efficiency, self.efficiency)

    def current_of_duty(self, duty_ratio: Array, voltage_v: Array, velocity_rad_s: Array, winding_c: Array) -> Array:
        """Return the current [A] of a brushed motor from its PWM ratio -1..1, supply voltage [V] and speed [rad/s]."""
        return (duty_ratio * voltage_v - self.kt * velocity_rad_s) / resistance_at(self.r25, winding_c)

    def currents(
        self,
        *,
        current_a: Array,
        torque_nm: Array,
        duty_ratio: Array,
        voltage_v: Array,
        velocity_rad_s: Array,
        winding_c: Array,
    ) -> Currents:
        """Return the best current that can be had of each motor."""
        by_torque = self.current_of_torque(torque_nm, velocity_rad_s)
        by_duty = self.current_of_duty(duty_ratio, voltage_v, velocity_rad_s, winding_c)
        known = np.stack([np.isfinite(values) for values in (current_a, by_torque, by_duty)])
        basis = np.where(known.any(axis=0), known.argmax(axis=0), UNKNOWN)
        chosen = np.choose(basis, [current_a, by_torque, by_duty, np.zeros_like(by_torque)])
        return Currents(chosen, basis)

    def load(self, current_a: Array, velocity_rad_s: Array) -> Load:
        """Return what a current [A] and a speed [rad/s] heat; a motor without a published resistance makes NaN."""
        return Load(np.square(current_a) * self.r25, self.iron * np.square(np.nan_to_num(velocity_rad_s)))


def _column(motors: Sequence[Motor], name: str) -> Array:
    values = (getattr(motor, name) for motor in motors)
    return np.array([np.nan if value is None else value for value in values], dtype=float)
