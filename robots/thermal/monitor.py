"""A robot's motors under watch: what their sensors say becomes temperatures, time left, duty, and what to do about it.

Plain code with time passed in; the robot node calls `step` once a cycle. Motors whose constants nobody has published,
and that nobody has identified yet, are shown as their sensors read, without a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot
from waldo.robots.driver import MotorSensors
from waldo.robots.motor_readings import MotorReadings
from waldo.robots.thermal import forecast, state_file
from waldo.robots.thermal.drift_watch import DriftWatch
from waldo.robots.thermal.duty import DutyMeter
from waldo.robots.thermal.episode_budget import EpisodeLoads, describe, episodes_left
from waldo.robots.thermal.forecast import Quantiles
from waldo.robots.thermal.governor import Derating, Governor, GovernorConfig
from waldo.robots.thermal.losses import UNKNOWN as UNKNOWN_CURRENT
from waldo.robots.thermal.losses import LossModel
from waldo.robots.thermal.observer import A, HeatObserver, ObserverConfig
from waldo.robots.thermal.resistance import ResistanceThermometer, ThermometerConfig
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel
from waldo.typing import Array

UNKNOWN = ThermalConstants(
    winding_j_per_k=20.0,
    housing_j_per_k=200.0,
    winding_to_housing_k_per_w=1.0,
    housing_to_ambient_k_per_w=2.0,
    basis="assumed",
    source="stands in for a motor of which nothing is known; nothing that comes of it is shown",
)

FORECAST_EVERY_S = 0.5
"""Pause between two forecasts [s]."""

COUNT_EVERY_S = 5.0
"""Pause between two counts of the episodes that fit, while none is recorded [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """How a robot's heat is watched."""

    observer: ObserverConfig = field(default_factory=ObserverConfig)
    """What is expected of motors and sensors."""
    governor: GovernorConfig | None = field(default_factory=GovernorConfig)
    """How the robot is slowed before a limit; None: never."""
    thermometer: ThermometerConfig | None = field(default_factory=ThermometerConfig)
    """When a brushed winding's resistance tells its temperature; None: never."""
    recent_s: float = 30.0
    """Time constant of the mean load that stands for the recent one [s]; longer than a cycle of the work."""
    cool_to_k: float = 20.0
    """How far below its limit a winding has cooled down [K]."""
    load_std: float = 0.15
    """How far the load may be from the recent one, as a share; one standard deviation."""


class HeatMonitor:
    """Watches the motors of one robot. Shapes (joints,)."""

    def __init__(
        self,
        robot: Robot,
        config: MonitorConfig | None = None,
        *,
        serials: Sequence[str] = (),
        state: Path | None = None,
    ) -> None:
        """Take the robot, what identifies each motor, and the file that its heat survives a restart in."""
        self.robot, self.config = robot, config or MonitorConfig()
        motors = [joint.motor for joint in robot.joints]
        self.known: NDArray[np.bool_] = np.array(
            [m.thermal is not None and m.resistance_ohm is not None for m in motors]
        )
        self.blind: NDArray[np.bool_] = np.ones(len(motors), dtype=bool)
        """Which motors have never told a current, a torque or a duty cycle: of their heat nobody knows anything."""
        self.model = TwoNodeModel([m.thermal or UNKNOWN for m in motors])
        self.losses = LossModel(motors)
        self.observer = HeatObserver(self.model, self.config.observer)
        told = self.config.thermometer
        self.thermometer = None if told is None else ResistanceThermometer(motors, told)
        self.drift = DriftWatch(self.model, self.config.observer)
        self.limit_c = np.array([np.nan if m.winding_limit_c is None else m.winding_limit_c for m in motors])
        limited = np.where(self.known, self.limit_c, np.nan)
        self.governor = None if self.config.governor is None else Governor(limited, self.config.governor)
        rated = [np.nan if m.rated_torque_nm is None else m.rated_torque_nm for m in motors]
        self.duty = DutyMeter(np.array(rated))
        self.recent = Load(np.zeros(len(motors)), np.zeros(len(motors)))
        self.serials = list(serials) or [f"{robot.name}-{i}" for i in range(len(motors))]
        self.restored = ""
        self._state, self._saved_s, self._seconds = state, 0.0, 0.0
        self._forecast_s = -np.inf
        nothing = np.full(len(motors), np.nan)
        self._to_limit = self._planned = self._cooling = Quantiles(p10=nothing, p50=nothing, p90=nothing)
        self.recording = False
        """Whether an episode is being recorded now; whoever knows sets it."""
        self.episodes = EpisodeLoads(len(motors))
        self.episodes_left: Array = nothing
        """How many more episodes like the last ones fit, (joints,); NaN before one has ended."""
        self._counted_s = -np.inf
        self._ended, self._told_episodes = False, ""

    def restore(self, now_ns: int) -> str:
        """Take up the heat of the last run, cooled for the time in between; say what was done."""
        if self._state is not None:
            self.restored = state_file.restore(self._state, self.observer, self.serials, now_ns)
        return self.restored

    def save(self, now_ns: int) -> None:
        """Keep the heat for the next run."""
        if self._state is not None:
            state_file.save(self._state, self.observer, self.serials, now_ns)

    def step(self, sensors: MotorSensors, velocity_rad_s: Array, dt_s: float, now_ns: int) -> MotorReadings:
        """Let `dt_s` [s] pass with what the motors say now, and return what is to be said of them."""
        observer = self.observer
        found = self.losses.currents(
            current_a=sensors.current_a,
            torque_nm=sensors.torque_nm,
            duty_ratio=sensors.pwm_ratio,
            voltage_v=sensors.voltage_v,
            velocity_rad_s=velocity_rad_s,
            winding_c=observer.winding_c,
        )
        told = self.losses.load(found.current_a, velocity_rad_s)
        silent = found.basis == UNKNOWN_CURRENT
        self.blind &= silent
        # A reading that is missing says nothing of the motor: it goes on as recently.
        load = Load(
            np.where(self.known, np.where(silent, self.recent.copper_w, told.copper_w), 0.0),
            np.where(self.known, np.where(silent, self.recent.other_w, told.other_w), 0.0),
        )
        readings = {"winding": sensors.winding_c, "housing": sensors.housing_c, "driver": sensors.driver_c}
        observer.step(load, dt_s, readings)
        if self.thermometer is not None:
            observer.take_winding(*self.thermometer.read(sensors, velocity_rad_s, observer, dt_s), dt_s)
        self.drift.step(load, dt_s, readings)
        share = min(1.0, dt_s / self.config.recent_s)
        self.recent = Load(
            self.recent.copper_w + share * (load.copper_w - self.recent.copper_w),
            self.recent.other_w + share * (load.other_w - self.recent.other_w),
        )
        self._ended |= self.episodes.add(load, dt_s, recording=self.recording)
        torque = np.where(np.isfinite(sensors.torque_nm), sensors.torque_nm, found.current_a * self.losses.kt)
        self.duty.add(np.nan_to_num(torque), load.at(observer.winding_c), observer.winding_c, dt_s)
        self._seconds += dt_s
        if self._seconds - self._forecast_s >= FORECAST_EVERY_S:
            self._forecast(self._seconds - max(self._forecast_s, 0.0))
        if self._seconds - self._saved_s >= state_file.SAVE_EVERY_S:
            self._saved_s = self._seconds
            self.save(now_ns)
        return self._readings(sensors, found.current_a, torque)

    def _forecast(self, since_s: float) -> None:
        """Work out the time left, and how fast the robot may move."""
        observer, c = self.observer, self.config
        self._forecast_s = self._seconds
        seconds = forecast.instants()
        course = forecast.course(self.model, observer.mean, observer.covariance, self.recent, c.load_std, seconds)
        self._to_limit = forecast.time_to_limit(course, self.limit_c, observer.winding_c)
        if planned := self.episodes.planned:
            course = forecast.course(self.model, observer.mean, observer.covariance, planned, c.load_std, seconds)
            self._planned = forecast.time_to_limit(course, self.limit_c, observer.winding_c)
        if self._ended or (not self.recording and self._seconds - self._counted_s >= COUNT_EVERY_S):
            self._count_episodes()
        nothing = np.zeros(len(self.model))
        rest = forecast.course(self.model, observer.mean, observer.covariance, Load(nothing, nothing), 0.0, seconds)
        self._cooling = forecast.cool_down(rest, self.limit_c - c.cool_to_k, observer.winding_c)
        if self.governor is not None:
            self.governor.step(observer, self.recent, since_s)

    def _count_episodes(self) -> None:
        """Work out how many more episodes fit below the temperature at which the governor would hold back."""
        self._counted_s, work, observer = self._seconds, self.episodes.work, self.observer
        if work is None:
            return
        work = work * observer.scale
        ambient = observer.mean[:, A]
        begin = self.model.step(observer.state_c, work.idle, ambient, self.episodes.rest_s(work))
        margin = 0.0 if self.config.governor is None else self.config.governor.margin_k
        left = episodes_left(self.model, begin, ambient, self.limit_c - margin, work)
        self.episodes_left = np.where(self.known & ~self.blind, left, np.nan)
        if self._ended:
            self._ended = False
            self._told_episodes = describe(self.episodes_left, len(self.episodes), self.robot.joint_names)

    def pop_episode_message(self) -> str:
        """Return how many more episodes fit, in words, once after each that has ended; else nothing."""
        text, self._told_episodes = self._told_episodes, ""
        return text

    @property
    def derating(self) -> Derating | None:
        """What the governor asks for now; None without one."""
        return None if self.governor is None else self.governor.derating

    def _readings(self, sensors: MotorSensors, current_a: Array, torque_nm: Array) -> MotorReadings:
        """Return what is known of each motor; of one without constants, only what its sensors say."""
        observer, known = self.observer, self.known & ~self.blind
        blind = [
            "tells neither current nor torque: its heat is only what a sensor reads" * b for b in self.blind.tolist()
        ]
        drifts = [self.drift.describe(i) * bool(known[i]) for i in range(len(known))]
        seen = _first_known(sensors.winding_c, sensors.housing_c, sensors.driver_c)
        speed = 1.0 if self.derating is None else self.derating.speed_ratio

        def shown(values: Array, otherwise: Array | float = np.nan) -> Array:
            return np.where(known, values, otherwise)

        return MotorReadings(
            winding_c=shown(observer.winding_c, seen),
            winding_std_k=shown(observer.winding_std_k),
            housing_c=shown(observer.housing_c, sensors.housing_c),
            housing_std_k=shown(observer.housing_std_k),
            current_a=np.where(np.isfinite(sensors.current_a), sensors.current_a, shown(current_a)),
            voltage_v=sensors.voltage_v,
            torque_nm=torque_nm,
            duty_ratio=self.duty.duty_ratio,
            utilization_ratio=self.duty.utilization_ratio,
            time_to_limit_s=shown(self._to_limit.p50),
            time_to_limit_p10_s=shown(self._to_limit.p10),
            time_to_limit_p90_s=shown(self._to_limit.p90),
            time_to_limit_planned_s=shown(self._planned.p50),
            episodes_left=self.episodes_left.copy(),
            cooldown_s=shown(self._cooling.p50),
            derate_ratio=np.full(len(known), speed),
            limit_c=self.limit_c.copy(),
            winding_sensor_c=sensors.winding_c,
            housing_sensor_c=sensors.housing_c,
            driver_sensor_c=sensors.driver_c,
            notes=tuple(
                "; ".join(filter(None, parts))
                for parts in zip(sensors.faults, blind, observer.health(), drifts, strict=True)
            ),
        )


def _first_known(*columns: Array) -> Array:
    """Return for each motor the first of several values that is a number."""
    out = columns[-1]
    for column in reversed(columns[:-1]):
        out = np.where(np.isfinite(column), column, out)
    return out
