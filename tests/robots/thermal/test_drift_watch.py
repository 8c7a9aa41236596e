"""Stopped fans and replaced motors raise an alarm; motors with the usual variation do not."""

from dataclasses import replace

import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.robots.driver import MotorSensors
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.drift_watch import DriftWatch
from waldo.robots.thermal.monitor import HeatMonitor, MonitorConfig
from waldo.robots.thermal.two_node import Load, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)


class Motors:
    """Motors with individual, slowly varying gears, friction, air temperature, constants and sensor errors.

    `spread` (motors,) scales these deviations. Each motor has a housing sensor or, if `winding` (motors,), a winding
    sensor.
    """

    def __init__(self, spread, winding):
        self.rng, self.spread, self.winding = np.random.default_rng(0), np.array(spread), np.array(winding)
        self.count = count = len(spread)
        spread = self.spread
        nominal = TwoNodeModel([CONSTANTS] * count)
        self.watch = DriftWatch(nominal)
        off = [np.exp(spread * self.rng.normal(0, 0.05, count)) for _ in range(4)]
        self.true = TwoNodeModel.from_arrays(
            nominal.cw * off[0], nominal.ch * off[1], nominal.r1 * off[2], nominal.r2 * off[3]
        )
        self.air, self.gear = spread * self.rng.normal(0, [[4.0], [0.08]], (2, count))
        self.friction = spread * np.abs(self.rng.normal(0, 0.05, count))
        self.gain, self.offset = (
            np.exp(spread * self.rng.normal(0, 0.03, count)),
            spread * self.rng.normal(0, 1.5, count),
        )
        self.period, self.work_ratio = self.rng.uniform(6, 30, count), self.rng.uniform(0.4, 0.9, count)
        self.torque = np.sqrt(self.rng.uniform(0.5, 1.0, count) / self.work_ratio)
        self.state = np.repeat((25.0 + self.air)[:, None], 2, axis=1)
        self.seconds = 0
        self.ever = np.zeros(count, dtype=bool)

    def scale(self, motors, *, capacity=1.0, resistance1=1.0, resistance2=1.0):
        """Change the constants of some motors."""
        factors = np.ones((3, self.count))
        factors[:, motors] = np.array([[capacity], [resistance1], [resistance2]])
        true = self.true
        self.true = TwoNodeModel.from_arrays(
            true.cw * factors[0], true.ch * factors[0], true.r1 * factors[1], true.r2 * factors[2]
        )

    def work(self, minutes):
        """Work in cycles of some seconds; torques are relative to the continuous torque, which produces 9 W."""
        for _ in range(round(minutes * 60)):
            stay = np.exp(-1 / 1800)
            fresh = self.spread * np.sqrt(1 - stay**2)
            self.air = stay * self.air + fresh * self.rng.normal(0, 4.0, self.count)
            self.gear = stay * self.gear + fresh * self.rng.normal(0, 0.08, self.count)
            torque = np.where((self.seconds / self.period) % 1 < self.work_ratio, self.torque, 0.1 * self.torque)
            real = Load(9.0 * np.square((torque + self.friction) / np.exp(self.gear)), np.zeros(self.count))
            self.state = self.true.step(self.state, real, 25.0 + self.air, 1.0)
            reported = Load(9.0 * np.square(torque * self.gain), np.zeros(self.count))
            readings = np.round(self.state + self.offset[:, None])
            winding = np.where(self.winding, readings[:, 0], np.nan)
            housing = np.where(self.winding, np.nan, readings[:, 1])
            self.watch.step(reported, 1.0, {"winding": winding, "housing": housing})
            self.ever |= self.watch.alarm
            self.seconds += 1


HEALTHY, HOT_START = slice(0, 40), slice(40, 43)
REPLACED = {"hotter": slice(43, 48), "colder": slice(48, 53)}


@pytest.fixture(scope="module")
def hour():
    """The motors after an hour; motors are independent.

    Forty with the usual variation, half of them with a housing sensor, half with a winding sensor; three that start
    hot; and two kinds of five that were replaced by smaller and by larger motors.
    """
    motors = Motors([1.0] * 40 + [0.0] * 13, [False] * 20 + [True] * 20 + [False] * 3 + [True] * 10)
    for motor, factor in ((REPLACED["hotter"], 2.0), (REPLACED["colder"], 0.2)):
        motors.scale(motor, capacity=1 / factor, resistance1=factor, resistance2=factor)
    motors.state[HOT_START] = [70.0, 60.0]
    motors.work(60)
    return motors


def test_healthy_motors_raise_no_alarm_in_an_hour(hour):
    assert not hour.ever[HEALTHY].any()
    assert [hour.watch.describe(i) for i in range(40)] == [""] * 40


def test_a_stopped_fan_raises_an_alarm_within_forty_minutes_that_is_cleared_afterwards():
    motors = Motors([0.0] * 5, [False] * 5)
    motors.work(15)
    assert not motors.ever.any()
    motors.scale(slice(None), resistance2=2.5)
    while not motors.watch.alarm.all() and motors.seconds < 55 * 60:
        motors.work(1)
    assert motors.watch.alarm.all()
    assert motors.watch.describe(0).endswith("K hotter than predicted: blocked fan or a different motor?")
    motors.scale(slice(None), resistance2=1 / 2.5)
    while motors.watch.alarm.any() and motors.seconds < 115 * 60:
        motors.work(1)
    motors.work(5)
    assert not motors.watch.alarm.any()


@pytest.mark.parametrize("difference", ["hotter", "colder"])
def test_a_replaced_motor_raises_an_alarm_within_an_hour(hour, difference):
    motors = REPLACED[difference]
    assert hour.watch.alarm[motors].all()
    assert f"K {difference} than predicted" in hour.watch.describe(motors.start)


def test_a_motor_that_starts_hot_raises_no_alarm(hour):
    assert not hour.ever[HOT_START].any()


def test_without_a_sensor_there_is_no_drift():
    watch = DriftWatch(TwoNodeModel([CONSTANTS]))
    for value in (np.nan, -886.0, np.nan):
        watch.step(Load(np.full(1, 5.0), np.zeros(1)), 400.0, {"housing": np.full(1, value)})
    assert np.isnan(watch.drift_k).all()
    assert watch.describe(0) == ""


def test_the_monitor_reports_the_alarm():
    monitor = HeatMonitor(load_robot("so101"), MonitorConfig(governor=None))
    normal = replace(MotorSensors.unknown(6), current_a=np.full(6, 0.1), housing_c=np.full(6, 25.0))
    monitor.step(normal, np.zeros(6), 1.0, 0)
    hot = replace(normal, housing_c=np.array([25.0, 85.0, 25.0, 25.0, 25.0, 25.0]))
    for _ in range(320):
        readings = monitor.step(hot, np.zeros(6), 1.0, 0)
    assert "K hotter than predicted" in readings.notes[1]
    assert readings.notes[0] == ""
