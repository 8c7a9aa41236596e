"""Losses of a motor from what its drive reports: current, else torque, else duty cycle and voltage.

The loss is `i² R(T)` in the winding plus speed-dependent losses (iron, friction). The current that belongs to a torque
depends on the direction of the power flow: a gear with efficiency η adds its loss to the motor's torque when the motor
drives the load, and subtracts it when the load drives the motor. At standstill friction may act in either direction,
and the current is taken between the two: that of a gear without loss. Shapes (..., motors); NaN for unknown.
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
"""Origins of a current, in order of preference."""


STANDSTILL_RAD_S = 0.01
"""Speed of the joint below which the motor neither drives the load nor is driven by it [rad/s]."""


@dataclass(frozen=True, slots=True)
class Currents:
    """Winding currents and their origin."""

    current_a: Array
    """Current, (..., motors) [A]; 0 where unknown."""
    origin: NDArray[np.int64]
    """MEASURED, FROM_TORQUE, FROM_DUTY or UNKNOWN, (..., motors)."""


class LossModel:
    """The losses of several motors; all arguments and results have shape (..., motors)."""

    def __init__(self, motors: Sequence[Motor]) -> None:
        self.kt = _column(motors, "torque_constant_nm_per_a")
        """Torque constants, (motors,) [N·m/A]; NaN if not published."""
        self.r25 = _column(motors, "resistance_ohm")
        """Winding resistances at 25 °C, (motors,) [Ω]; NaN if not published."""
        self.efficiency = np.array([m.efficiency_ratio if m.efficiency_ratio is not None else 1.0 for m in motors])
        self.iron = np.array([m.iron_loss_w_per_rad2_s2 or 0.0 for m in motors])

    def current_from_torque(self, torque_nm: Array, velocity_rad_s: Array) -> Array:
        """Return the current [A] of a joint torque [N·m] at a joint speed [rad/s]."""
        # An unknown speed counts as standstill.
        direction = np.where(np.abs(velocity_rad_s) >= STANDSTILL_RAD_S, np.sign(torque_nm * velocity_rad_s), 0.0)
        return torque_nm / self.kt * self.efficiency**-direction

    def current_from_duty(self, duty_ratio: Array, voltage_v: Array, velocity_rad_s: Array, winding_c: Array) -> Array:
        """Return the current [A] of a brushed motor from PWM ratio (-1 to 1), supply voltage [V] and speed [rad/s]."""
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
        """Return the best available current of each motor."""
        from_torque = self.current_from_torque(torque_nm, velocity_rad_s)
        from_duty = self.current_from_duty(duty_ratio, voltage_v, velocity_rad_s, winding_c)
        known = np.stack([np.isfinite(values) for values in (current_a, from_torque, from_duty)])
        origin = np.where(known.any(axis=0), known.argmax(axis=0), UNKNOWN)
        chosen = np.choose(origin, [current_a, from_torque, from_duty, np.zeros_like(from_torque)])
        return Currents(chosen, origin)

    def load(self, current_a: Array, velocity_rad_s: Array) -> Load:
        """Return the losses of a current [A] at a joint speed [rad/s]; NaN if the resistance is not published."""
        return Load(np.square(current_a) * self.r25, self.iron * np.square(np.nan_to_num(velocity_rad_s)))


def _column(motors: Sequence[Motor], name: str) -> Array:
    values = (getattr(motor, name) for motor in motors)
    return np.array([np.nan if value is None else value for value in values], dtype=float)
