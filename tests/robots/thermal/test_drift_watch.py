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
NODE = {"winding": 0, "housing": 1}


class Motors:
    """Motors with individual, slowly varying gears, friction, air temperature, constants and sensor errors."""

    def __init__(self, count, *, spread=1.0, seed=0):
        self.rng, self.count, self.spread = np.random.default_rng(seed), count, spread
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

    def work(self, minutes, sensor="housing"):
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
            self.watch.step(reported, 1.0, {sensor: np.round(self.state[:, NODE[sensor]] + self.offset)})
            self.ever |= self.watch.alarm
            self.seconds += 1


@pytest.mark.parametrize("sensor", ["housing", "winding"])
def test_healthy_motors_raise_no_alarm_in_an_hour(sensor):
    motors = Motors(20)
    motors.work(60, sensor)
    assert not motors.ever.any()
    assert [motors.watch.describe(i) for i in range(20)] == [""] * 20


def test_a_stopped_fan_raises_an_alarm_within_forty_minutes_that_is_cleared_afterwards():
    motors = Motors(5, spread=0.0)
    motors.work(15)
    assert not motors.ever.any()
    cooled = motors.true
    motors.true = TwoNodeModel.from_arrays(cooled.cw, cooled.ch, cooled.r1, 2.5 * cooled.r2)
    motors.work(40)
    assert motors.watch.alarm.all()
    assert motors.watch.describe(0).endswith("K hotter than predicted: blocked fan or a different motor?")
    motors.true = cooled
    motors.work(60)
    assert not motors.watch.alarm.any()


@pytest.mark.parametrize(("factor", "difference"), [(2.0, "hotter"), (0.2, "colder")])
def test_a_replaced_motor_raises_an_alarm_within_an_hour(factor, difference):
    motors = Motors(5, spread=0.0)
    usual = motors.true
    motors.true = TwoNodeModel.from_arrays(usual.cw / factor, usual.ch / factor, usual.r1 * factor, usual.r2 * factor)
    motors.work(60, "winding")
    assert motors.watch.alarm.all()
    assert f"K {difference} than predicted" in motors.watch.describe(0)


def test_a_motor_that_starts_hot_raises_no_alarm():
    motors = Motors(3, spread=0.0)
    motors.state[:] = [70.0, 60.0]
    motors.work(60)
    assert not motors.ever.any()


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
