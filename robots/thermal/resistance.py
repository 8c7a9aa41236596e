"""A brushed motor's winding as its own thermometer: copper's resistance rises by 0.4 % a kelvin.

At (nearly) standstill `R = PWM V / I` and `T = 25 + (R / R_25 - 1) / α`. Rounded registers leave some kelvins of doubt,
less the more current flows; R_25 itself, brushes and leads included, is learned while a motor with current in it is
still as warm as its housing, after a rest or at the start. Shapes (motors,); NaN is "not told".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.robots.driver import MotorSensors
from waldo.robots.motor import Motor
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermometerConfig:
    """When a resistance is believed, and how finely registers tell; the steps are those of Feetech's STS servos."""

    pwm_step: float = 0.001
    """Resolution of the PWM ratio."""
    voltage_step_v: float = 0.1
    """Resolution of the supply voltage [V]."""
    current_step_a: float = 0.0065
    """Resolution of the current [A]."""
    least_a: float = 0.2
    """Less current tells nothing [A]."""
    steady: float = 0.1
    """A current that has changed by more than this share since the last reading was not read together with the PWM."""
    emf_std: float = 0.3
    """How uncertain the torque constant is by which the back-EMF is taken off, as a share."""
    most_std_k: float = 8.0
    """A temperature that is less certain than this is not told [K]."""
    alike_k: float = 2.0
    """Winding and housing this near each other are taken as equally warm: then R_25 is learned [K]."""
    sure_k: float = 2.5
    """R_25 is learned only from a temperature at least so certain [K]."""
    prior_std: float = 0.15
    """How far R_25 may be from the data sheet, its logarithm's standard deviation; thrice that is not believed."""


class ResistanceThermometer:
    """Tells the windings' temperatures of several motors from what their drives measure."""

    def __init__(self, motors: Sequence[Motor], config: ThermometerConfig | None = None) -> None:
        """Take the motors; one without a published resistance is never told."""
        self.config = config or ThermometerConfig()
        self._r25 = np.array([m.resistance_ohm or np.nan for m in motors])
        self._kt = np.array([m.torque_constant_nm_per_a or np.nan for m in motors])
        self.offset: Array = np.zeros(len(motors))
        """Logarithm of the real R_25 over the data sheet's, as learned."""
        self.offset_std: Array = np.full(len(motors), self.config.prior_std)
        """Its standard deviation."""
        self._learned: NDArray[np.bool_] = np.zeros(len(motors), dtype=bool)
        self._last_a: Array = np.full(len(motors), np.nan)

    def read(
        self, sensors: MotorSensors, velocity_rad_s: Array, observer: HeatObserver, dt_s: float
    ) -> tuple[Array, Array]:
        """Return winding temperatures [°C] and their standard deviations [K]; NaN where nothing can be said.

        Learns R_25 from the motors that the observer knows to be as warm as their housing; of these nothing is told.
        """
        c = self.config
        ohm, std = self._resistance(sensors, velocity_rad_s)
        off = np.log(ohm / self._r25)
        warm = 1 + COPPER_ALPHA_PER_K * (observer.winding_c - 25)
        alike = np.abs(observer.winding_c - observer.housing_c) < c.alike_k
        learns = np.isfinite(off) & alike & (observer.winding_std_k < c.sure_k)
        self._learn(off - np.log(warm), std, COPPER_ALPHA_PER_K * observer.winding_std_k / warm, learns, dt_s, observer)
        celsius = 25 + (np.exp(off - self.offset) - 1) / COPPER_ALPHA_PER_K
        kelvin = (1 / COPPER_ALPHA_PER_K + celsius - 25) * np.hypot(std, self.offset_std)
        believed = np.abs(self.offset) < 3 * c.prior_std
        told = np.isfinite(off) & self._learned & believed & ~learns & (kelvin < c.most_std_k)
        return np.where(told, celsius, np.nan), np.where(told, kelvin, np.nan)

    def _resistance(self, sensors: MotorSensors, velocity_rad_s: Array) -> tuple[Array, Array]:
        """Return resistances [Ω], NaN where none can be had, and the standard deviation of their logarithm."""
        c = self.config
        pwm, volts, amperes = sensors.pwm_ratio, sensors.voltage_v, sensors.current_a
        steady = np.abs(amperes - self._last_a) < c.steady * np.abs(amperes)
        self._last_a = amperes.copy()
        good = steady & (np.abs(amperes) >= c.least_a) & (pwm * amperes > 0) & (volts > 0)
        pwm, volts, amperes = (np.where(good, values, np.nan) for values in (pwm, volts, amperes))
        drop, emf = pwm * volts, np.nan_to_num(self._kt) * np.nan_to_num(velocity_rad_s)
        left = np.where((drop - emf) / amperes > 0, drop - emf, np.nan)
        steps = (c.pwm_step / pwm, c.voltage_step_v / volts, c.current_step_a / amperes)
        variance = sum(np.square(step) for step in steps) / 12 + np.square(c.emf_std * emf / left)
        return left / amperes, np.sqrt(variance)

    def _learn(
        self, off: Array, std: Array, sure: Array, which: NDArray[np.bool_], dt_s: float, observer: HeatObserver
    ) -> None:
        """Learn R_25 from readings whose own error changes with every few seconds, and the temperature's does not."""
        same = math.sqrt(max(1.0, observer.config.sensor_correlation_s / max(dt_s, 1e-9)))
        gain = np.square(self.offset_std) / (np.square(self.offset_std) + np.square(std * same) + np.square(sure))
        # However long a temperature is off, its error does not average out.
        after = np.maximum(self.offset_std * np.sqrt(1 - gain), np.minimum(sure, self.offset_std))
        self.offset = np.where(which, self.offset + gain * (off - self.offset), self.offset)
        self.offset_std = np.where(which, after, self.offset_std)
        self._learned |= which
