"""Winding temperature of a brushed motor from its resistance: copper gains 0.4 % per kelvin.

At (nearly) standstill `R = PWM V / I` and `T = 25 + (R / R_25 - 1) / α`. Rounded registers leave an uncertainty of some
kelvins, which decreases with the current. R_25, which includes brushes and leads, is calibrated while a motor with a
current in it is still as warm as its housing: at the start or after standing idle. Shapes (motors,); NaN for unknown.
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
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, REFERENCE_C
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermometerConfig:
    """Resolution of the registers and conditions for using a resistance; defaults for Feetech's STS servos."""

    pwm_step: float = 0.001
    """Resolution of the PWM ratio."""
    voltage_step_v: float = 0.1
    """Resolution of the supply voltage [V]."""
    current_step_a: float = 0.0065
    """Resolution of the current [A]."""
    min_current_a: float = 0.2
    """Currents below this are ignored [A]."""
    steady_ratio: float = 0.1
    """Largest relative change of the current since the last reading: beyond it, PWM and current were not sampled
    together."""
    emf_std: float = 0.3
    """Relative standard deviation of the torque constant that the back-EMF is computed with."""
    max_std_k: float = 8.0
    """Largest standard deviation of a temperature that is returned [K]."""
    equal_k: float = 2.0
    """Largest difference between winding and housing at which R_25 is calibrated [K]."""
    calibration_std_k: float = 2.5
    """Largest standard deviation of the winding temperature at which R_25 is calibrated [K]."""
    prior_std: float = 0.15
    """Standard deviation of the logarithm of R_25 over its published value; beyond three of them it is not used."""


class ResistanceThermometer:
    """Computes the winding temperatures of several motors from the measurements of their drives."""

    def __init__(self, motors: Sequence[Motor], config: ThermometerConfig | None = None) -> None:
        """Prepare for `motors`; one without a published resistance has no temperatures."""
        self.config = config or ThermometerConfig()
        self._r25 = np.array([m.resistance_ohm or np.nan for m in motors])
        self._kt = np.array([m.torque_constant_nm_per_a or np.nan for m in motors])
        self.offset: Array = np.zeros(len(motors))
        """Logarithm of the calibrated R_25 over the published one."""
        self.offset_std: Array = np.full(len(motors), self.config.prior_std)
        """Standard deviation of `offset`."""
        self._calibrated: NDArray[np.bool_] = np.zeros(len(motors), dtype=bool)
        self._last_a: Array = np.full(len(motors), np.nan)

    def read(
        self, sensors: MotorSensors, velocity_rad_s: Array, observer: HeatObserver, dt_s: float
    ) -> tuple[Array, Array]:
        """Return winding temperatures [°C] and their standard deviations [K]; NaN where there is none.

        R_25 is calibrated on the motors that are as warm as their housing according to the observer; no temperature is
        returned for these motors.
        """
        c = self.config
        ohm, std = self._resistance(sensors, velocity_rad_s)
        log_ratio = np.log(ohm / self._r25)
        warm = 1 + COPPER_ALPHA_PER_K * (observer.winding_c - REFERENCE_C)
        equal = np.abs(observer.winding_c - observer.housing_c) < c.equal_k
        calibrating = np.isfinite(log_ratio) & equal & (observer.winding_std_k < c.calibration_std_k)
        warm_std = COPPER_ALPHA_PER_K * observer.winding_std_k / warm
        self._calibrate(log_ratio - np.log(warm), std, warm_std, calibrating, dt_s, observer)
        celsius = REFERENCE_C + (np.exp(log_ratio - self.offset) - 1) / COPPER_ALPHA_PER_K
        kelvin = (1 / COPPER_ALPHA_PER_K + celsius - REFERENCE_C) * np.hypot(std, self.offset_std)
        plausible = np.abs(self.offset) < 3 * c.prior_std
        usable = np.isfinite(log_ratio) & self._calibrated & plausible & ~calibrating & (kelvin < c.max_std_k)
        return np.where(usable, celsius, np.nan), np.where(usable, kelvin, np.nan)

    def _resistance(self, sensors: MotorSensors, velocity_rad_s: Array) -> tuple[Array, Array]:
        """Return resistances [Ω], NaN where there is none, and the standard deviations of their logarithms."""
        c = self.config
        pwm, volts, amperes = sensors.pwm_ratio, sensors.voltage_v, sensors.current_a
        steady = np.abs(amperes - self._last_a) < c.steady_ratio * np.abs(amperes)
        self._last_a = amperes.copy()
        good = steady & (np.abs(amperes) >= c.min_current_a) & (pwm * amperes > 0) & (volts > 0)
        pwm, volts, amperes = (np.where(good, values, np.nan) for values in (pwm, volts, amperes))
        drop, emf = pwm * volts, np.nan_to_num(self._kt) * np.nan_to_num(velocity_rad_s)
        resistive = np.where((drop - emf) / amperes > 0, drop - emf, np.nan)
        steps = (c.pwm_step / pwm, c.voltage_step_v / volts, c.current_step_a / amperes)
        variance = sum(np.square(step) for step in steps) / 12 + np.square(c.emf_std * emf / resistive)
        return resistive / amperes, np.sqrt(variance)

    def _calibrate(
        self,
        offset: Array,
        reading_std: Array,
        warm_std: Array,
        which: NDArray[np.bool_],
        dt_s: float,
        observer: HeatObserver,
    ) -> None:
        """Update `offset` with readings.

        The error of a reading changes every few seconds (`reading_std`); the error that the winding temperature causes
        (`warm_std`) is constant and does not average out.
        """
        correlated = math.sqrt(max(1.0, observer.config.sensor_correlation_s / max(dt_s, 1e-9)))
        prior = np.square(self.offset_std)
        gain = prior / (prior + np.square(reading_std * correlated) + np.square(warm_std))
        after = np.maximum(self.offset_std * np.sqrt(1 - gain), np.minimum(warm_std, self.offset_std))
        self.offset = np.where(which, self.offset + gain * (offset - self.offset), self.offset)
        self.offset_std = np.where(which, after, self.offset_std)
        self._calibrated |= which
