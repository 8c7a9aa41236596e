"""Heat monitor of a robot: from motor sensors to temperatures, time to limit, duty and derating.

Plain code with time passed in; the robot node calls `HeatMonitor.step` once per cycle. A motor whose constants are
neither published nor identified is shown as its sensors report, without a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot
from waldo.robots.driver import MotorSensors
from waldo.robots.motor import ThermalConstants
from waldo.robots.motor_readings import MotorReadings
from waldo.robots.thermal import forecast, state_file
from waldo.robots.thermal.drift_watch import DriftWatch
from waldo.robots.thermal.duty import DutyMeter
from waldo.robots.thermal.episode_budget import EpisodeLoads, describe, episodes_left
from waldo.robots.thermal.forecast import Quantiles
from waldo.robots.thermal.governor import Derating, Governor, GovernorConfig
from waldo.robots.thermal.limits import COOL_MARGIN_K
from waldo.robots.thermal.losses import UNKNOWN as UNKNOWN_CURRENT
from waldo.robots.thermal.losses import Currents, LossModel
from waldo.robots.thermal.observer import AMBIENT, HeatObserver, ObserverConfig
from waldo.robots.thermal.resistance import ResistanceThermometer, ThermometerConfig
from waldo.robots.thermal.sustained import utilization_ratio
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

PLACEHOLDER = ThermalConstants(
    winding_j_per_k=20.0,
    housing_j_per_k=200.0,
    winding_to_housing_k_per_w=1.0,
    housing_to_ambient_k_per_w=2.0,
    basis="assumed",
    source="placeholder for a motor without constants; results that depend on it are not reported",
)

FORECAST_EVERY_S = 0.5
"""Interval of forecasts [s]."""

COUNT_EVERY_S = 5.0
"""Interval of computing the episode budget while no episode is recorded [s]."""

NO_LOAD_READING = "reports no current or torque: temperature is sensor-only, no forecast"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """Parameters of the heat monitor."""

    observer: ObserverConfig = field(default_factory=ObserverConfig)
    """Error models of motors and sensors."""
    governor: GovernorConfig | None = field(default_factory=GovernorConfig)
    """How the robot is slowed down before a limit; None to disable."""
    thermometer: ThermometerConfig | None = field(default_factory=ThermometerConfig)
    """How the winding temperature of a brushed motor is computed from its resistance; None to disable."""
    recent_s: float = 30.0
    """Time constant of the mean that represents the recent load [s]; longer than a work cycle."""
    cool_to_k: float = COOL_MARGIN_K
    """Margin below the limit at which a winding has cooled down [K]."""
    load_std: float = 0.15
    """Relative standard deviation of the future load around the recent one."""


class HeatMonitor:
    """Monitors the motors of one robot. Shapes (joints,)."""

    def __init__(
        self,
        robot: Robot,
        config: MonitorConfig | None = None,
        *,
        serials: Sequence[str] = (),
        state: Path | None = None,
    ) -> None:
        """Start with all motors at ambient temperature.

        Args:
            robot: The robot.
            config: Parameters.
            serials: Serial number of each motor; empty to number them.
            state: File that stores the temperatures across restarts; None for none.
        """
        self.robot, self.config = robot, config or MonitorConfig()
        motors = [joint.motor for joint in robot.joints]
        self.known: NDArray[np.bool_] = np.array(
            [m.thermal is not None and m.resistance_ohm is not None for m in motors]
        )
        """Motors whose constants are known."""
        self.unmeasured: NDArray[np.bool_] = np.ones(len(motors), dtype=bool)
        """Motors that have never reported a current, torque or duty cycle: their losses are unknown."""
        self.model = TwoNodeModel([m.thermal or PLACEHOLDER for m in motors])
        self.losses = LossModel(motors)
        self.observer = HeatObserver(self.model, self.config.observer)
        thermometer = self.config.thermometer
        self.thermometer = None if thermometer is None else ResistanceThermometer(motors, thermometer)
        self.drift = DriftWatch(self.model, self.config.observer)
        self.limit_c = np.array([np.nan if m.winding_limit_c is None else m.winding_limit_c for m in motors])
        limited = np.where(self.known, self.limit_c, np.nan)
        self.governor = None if self.config.governor is None else Governor(limited, self.config.governor)
        rated = [np.nan if m.rated_torque_nm is None else m.rated_torque_nm for m in motors]
        self.duty = DutyMeter(np.array(rated))
        self.recent = Load(np.zeros(len(motors)), np.zeros(len(motors)))
        """Recent mean load [W]."""
        self.serials = list(serials) or [f"{robot.name}-{i}" for i in range(len(motors))]
        self.restored = ""
        """Outcome of `restore`, as text."""
        self._state, self._saved_s, self._seconds = state, 0.0, 0.0
        self._forecast_s = -np.inf
        unknown = np.full(len(motors), np.nan)
        self._to_limit = self._planned = self._cooling = Quantiles(p10=unknown, p50=unknown, p90=unknown)
        self.recording = False
        """Whether an episode is being recorded; set by the caller."""
        self.episodes = EpisodeLoads(len(motors))
        self.episodes_left: Array = unknown
        """Further episodes like the last ones before the limit; NaN before the first one has ended."""
        self._counted_s = -np.inf
        self._episode_ended, self._episode_message = False, ""

    def restore(self, now_ns: int) -> str:
        """Restore the temperatures of the last run, cooled down for the time in between; return the outcome as text."""
        if self._state is not None:
            self.restored = state_file.restore(self._state, self.observer, self.serials, now_ns)
        return self.restored

    def save(self, now_ns: int) -> None:
        """Save the temperatures for the next run."""
        if self._state is not None:
            state_file.save(self._state, self.observer, self.serials, now_ns)

    def step(self, sensors: MotorSensors, velocity_rad_s: Array, dt_s: float, now_ns: int) -> MotorReadings:
        """Advance by `dt_s` [s] with the present sensor readings and return the readings of all motors."""
        currents = self.losses.currents(
            current_a=sensors.current_a,
            torque_nm=sensors.torque_nm,
            duty_ratio=sensors.pwm_ratio,
            voltage_v=sensors.voltage_v,
            velocity_rad_s=velocity_rad_s,
            winding_c=self.observer.winding_c,
        )
        load = self._load(currents, velocity_rad_s)
        self._observe(sensors, velocity_rad_s, load, dt_s)
        fraction = min(1.0, dt_s / self.config.recent_s)
        self.recent = Load(
            self.recent.copper_w + fraction * (load.copper_w - self.recent.copper_w),
            self.recent.other_w + fraction * (load.other_w - self.recent.other_w),
        )
        self._episode_ended |= self.episodes.add(load, dt_s, recording=self.recording)
        torque = np.where(np.isfinite(sensors.torque_nm), sensors.torque_nm, currents.current_a * self.losses.kt)
        winding_c = self.observer.winding_c
        self.duty.add(np.nan_to_num(torque), load.at(winding_c), winding_c, dt_s)
        self._seconds += dt_s
        if self._seconds - self._forecast_s >= FORECAST_EVERY_S:
            self._forecast(self._seconds - max(self._forecast_s, 0.0))
        if self._seconds - self._saved_s >= state_file.SAVE_EVERY_S:
            self._saved_s = self._seconds
            self.save(now_ns)
        return self._readings(sensors, currents.current_a, torque)

    def _load(self, currents: Currents, velocity_rad_s: Array) -> Load:
        """Return the present load; a motor without a reading keeps its recent load."""
        measured = self.losses.load(currents.current_a, velocity_rad_s)
        missing = currents.origin == UNKNOWN_CURRENT
        self.unmeasured &= missing
        return Load(
            np.where(self.known, np.where(missing, self.recent.copper_w, measured.copper_w), 0.0),
            np.where(self.known, np.where(missing, self.recent.other_w, measured.other_w), 0.0),
        )

    def _observe(self, sensors: MotorSensors, velocity_rad_s: Array, load: Load, dt_s: float) -> None:
        """Update the temperature estimates and the drift alarms."""
        readings = {"winding": sensors.winding_c, "housing": sensors.housing_c, "driver": sensors.driver_c}
        self.observer.step(load, dt_s, readings)
        if self.thermometer is not None:
            temperatures, std = self.thermometer.read(sensors, velocity_rad_s, self.observer, dt_s)
            self.observer.correct_winding(temperatures, std, dt_s)
        self.drift.step(load, dt_s, readings)

    def _forecast(self, since_s: float) -> None:
        """Update the time to limit, the cool-down time, the episode budget and the governor."""
        observer, c = self.observer, self.config
        self._forecast_s = self._seconds
        self._to_limit = self._time_to_limit(self.recent)
        if planned := self.episodes.planned:
            self._planned = self._time_to_limit(planned)
        if self._episode_ended or (not self.recording and self._seconds - self._counted_s >= COUNT_EVERY_S):
            self._count_episodes()
        zero = np.zeros(len(self.model))
        cooling = forecast.predict(
            self.model, observer.mean, observer.covariance, Load(zero, zero), 0.0, forecast.time_grid()
        )
        self._cooling = forecast.cool_down_time(cooling, self.limit_c - c.cool_to_k, observer.winding_c)
        if self.governor is not None:
            self.governor.step(observer, self.recent, since_s)

    def _time_to_limit(self, load: Load) -> Quantiles:
        """Return the time to limit under a load [W]."""
        observer = self.observer
        trajectory = forecast.predict(
            self.model, observer.mean, observer.covariance, load, self.config.load_std, forecast.time_grid()
        )
        return forecast.time_to_limit(trajectory, self.limit_c, observer.winding_c)

    def _count_episodes(self) -> None:
        """Update the number of further episodes below the temperature at which the governor acts."""
        self._counted_s, cycle, observer = self._seconds, self.episodes.cycle, self.observer
        if cycle is None:
            return
        cycle = cycle * observer.scale
        ambient = observer.mean[:, AMBIENT]
        start = self.model.step(observer.state_c, cycle.idle, ambient, self.episodes.remaining_pause_s(cycle))
        margin = 0.0 if self.config.governor is None else self.config.governor.margin_k
        left = episodes_left(self.model, start, ambient, self.limit_c - margin, cycle)
        self.episodes_left = np.where(self.known & ~self.unmeasured, left, np.nan)
        if self._episode_ended:
            self._episode_ended = False
            self._episode_message = describe(self.episodes_left, len(self.episodes), self.robot.joint_names)

    def pop_episode_message(self) -> str:
        """Return the episode budget as text, once after each episode that has ended; otherwise empty text."""
        message, self._episode_message = self._episode_message, ""
        return message

    @property
    def derating(self) -> Derating | None:
        """Latest output of the governor; None without one."""
        return None if self.governor is None else self.governor.derating

    def _readings(self, sensors: MotorSensors, current_a: Array, torque_nm: Array) -> MotorReadings:
        """Return the readings of all motors; without known constants, only those of the sensors."""
        observer, known = self.observer, self.known & ~self.unmeasured
        sensor_c = _first_known(sensors.winding_c, sensors.housing_c, sensors.driver_c)
        speed = 1.0 if self.derating is None else self.derating.speed_ratio

        def if_known(values: Array, otherwise: Array | float = np.nan) -> Array:
            return np.where(known, values, otherwise)

        return MotorReadings(
            winding_c=if_known(observer.winding_c, sensor_c),
            winding_std_k=if_known(observer.winding_std_k),
            housing_c=if_known(observer.housing_c, sensors.housing_c),
            housing_std_k=if_known(observer.housing_std_k),
            current_a=np.where(np.isfinite(sensors.current_a), sensors.current_a, if_known(current_a)),
            voltage_v=sensors.voltage_v,
            torque_nm=torque_nm,
            duty_ratio=self.duty.duty_ratio,
            utilization_ratio=if_known(self._utilization()),
            time_to_limit_s=if_known(self._to_limit.p50),
            time_to_limit_p10_s=if_known(self._to_limit.p10),
            time_to_limit_p90_s=if_known(self._to_limit.p90),
            time_to_limit_planned_s=if_known(self._planned.p50),
            episodes_left=self.episodes_left.copy(),
            cooldown_s=if_known(self._cooling.p50),
            derate_ratio=np.full(len(known), speed),
            limit_c=self.limit_c.copy(),
            winding_sensor_c=sensors.winding_c,
            housing_sensor_c=sensors.housing_c,
            driver_sensor_c=sensors.driver_c,
            notes=self._notes(sensors),
        )

    def _utilization(self) -> Array:
        """Return the thermal utilization at the mean heating of the last ten minutes."""
        observer = self.observer
        heating_w = self.duty.heating_w * observer.scale
        return utilization_ratio(self.model, heating_w, self.limit_c, observer.mean[:, AMBIENT])

    def _notes(self, sensors: MotorSensors) -> tuple[str, ...]:
        """Return the faults and warnings of each motor as text; empty where there is none."""
        known = self.known & ~self.unmeasured
        unmeasured = [NO_LOAD_READING * one for one in self.unmeasured.tolist()]
        drifts = [self.drift.describe(i) * bool(known[i]) for i in range(len(known))]
        columns = zip(sensors.faults, unmeasured, self.observer.health(), drifts, strict=True)
        return tuple("; ".join(filter(None, parts)) for parts in columns)


def _first_known(*columns: Array) -> Array:
    """Return for each motor the first of several values that is finite."""
    out = columns[-1]
    for column in reversed(columns[:-1]):
        out = np.where(np.isfinite(column), column, out)
    return out
