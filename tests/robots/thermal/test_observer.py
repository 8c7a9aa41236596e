"""The observer against simulated motors with known temperatures."""

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.observer import HeatObserver, ObserverConfig
from waldo.robots.thermal.sensor_watch import Sensor
from waldo.robots.thermal.two_node import Load, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)


class Truth:
    """A motor with a heat scale and an ambient temperature of its own, and sensors that round."""

    def __init__(self, *, scale=1.0, ambient=25.0, seed=0):
        self.model = TwoNodeModel([CONSTANTS])
        self.scale, self.ambient = scale, ambient
        self.state = self.model.at_ambient(ambient)
        self.rng = np.random.default_rng(seed)

    def step(self, watts, dt):
        self.state = self.model.step(self.state, Load(np.array([watts]) * self.scale, np.zeros(1)), self.ambient, dt)

    def reads(self, node):
        return np.round(self.state[:, node] + self.rng.normal(0, 0.4))


def watts_at(second):
    return 12.0 if (second // 60) % 2 == 0 else 2.0


def run(truth, observer, seconds, sensors=("winding", "housing"), dt=1.0):
    errors = []
    for k in range(round(seconds / dt)):
        watts = watts_at(k * dt)
        truth.step(watts, dt)
        readings = {name: truth.reads(("winding", "housing").index(name)) for name in sensors}
        observer.step(Load(np.array([watts]), np.zeros(1)), dt, readings)
        errors.append(observer.winding_c[0] - truth.state[0, 0])
    return np.array(errors)


@pytest.fixture
def observer():
    return HeatObserver(TwoNodeModel([CONSTANTS]))


def test_with_a_winding_sensor_the_error_is_within_its_rounding(observer):
    errors = run(Truth(scale=1.3, ambient=29.0), observer, 1800)
    assert np.abs(errors[300:]).max() < 2.0
    assert np.sqrt(np.mean(np.square(errors[300:]))) < 0.8


def test_the_heat_scale_is_estimated(observer):
    run(Truth(scale=1.3), observer, 3600)
    assert observer.scale[0] == pytest.approx(1.3, abs=0.1)


def test_with_a_housing_sensor_alone_the_error_is_within_its_standard_deviation(observer):
    errors = run(Truth(scale=1.3, ambient=28.0), observer, 2400, sensors=("housing",))
    std = observer.winding_std_k[0]
    assert abs(errors[-1]) < 3 * std
    assert 0.3 < std < 12


def test_without_sensors_the_standard_deviation_is_bounded(observer):
    run(Truth(), observer, 600, sensors=())
    short = observer.winding_std_k[0]
    run(Truth(), observer, 20000, sensors=())
    assert 3 < short < 30
    assert observer.winding_std_k[0] < 40


def test_a_delayed_sensor_is_compared_with_the_estimate_of_that_time():
    truth = Truth()
    late = HeatObserver(TwoNodeModel([CONSTANTS]), ObserverConfig(winding=Sensor(std_k=0.5, step_k=0.1, delay_s=20.0)))
    blind = HeatObserver(TwoNodeModel([CONSTANTS]), ObserverConfig(winding=Sensor(std_k=0.5, step_k=0.1)))
    past = []
    worst = {"late": 0.0, "blind": 0.0}
    for k in range(1200):
        truth.step(watts_at(k), 1.0)
        past.append(truth.state[:, 0].copy())
        reading = {"winding": past[max(0, k - 20)]}
        for name, observer in (("late", late), ("blind", blind)):
            observer.step(Load(np.array([watts_at(k)]), np.zeros(1)), 1.0, reading)
            if k > 300:
                worst[name] = max(worst[name], abs(observer.winding_c[0] - truth.state[0, 0]))
    assert worst["late"] < 1.0
    assert worst["blind"] > 3 * worst["late"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-886.0, "winding sensor reads -886 °C: bad sensor or wire"),
        (140.0, "winding sensor jumped to 140 °C: bad contact"),
    ],
)
def test_implausible_readings_are_reported_and_ignored(observer, value, message):
    truth = Truth()
    run(truth, observer, 300)
    before = observer.winding_c[0]
    truth.step(2.0, 1.0)
    observer.step(Load(np.array([2.0]), np.zeros(1)), 1.0, {"winding": np.array([value])})
    assert observer.health() == [message]
    assert abs(observer.winding_c[0] - before) < 3
    run(truth, observer, 60)
    assert observer.health() == [""]


def test_a_stuck_sensor_is_noticed(observer):
    truth = Truth()
    run(truth, observer, 120)
    for _ in range(900):
        truth.step(12.0, 1.0)
        observer.step(Load(np.array([12.0]), np.zeros(1)), 1.0, {"winding": np.array([30.0])})
    assert observer.health()[0].startswith("winding sensor stuck at 30 °C")


def test_a_blocked_fan_is_noticed(observer):
    run(Truth(scale=2.6), observer, 3600)
    assert "times the modeled heat: blocked fan or a different motor?" in observer.health()[0]


def test_the_report_of_a_heat_scale_has_a_hysteresis(observer):
    # The estimate of the heat scale is set to values around the threshold.
    reported = []
    for logarithm in (0.5, 0.55, 0.5, 0.4, 0.35, 0.5):
        observer.mean[:, 3], observer.covariance[:, 3, 3] = logarithm, 1e-4
        observer.step(Load(np.zeros(1), np.zeros(1)), 1e-6)
        reported.append(bool(observer.health()[0]))
    assert reported == [False, True, True, True, False, False]


def test_a_motor_within_the_expected_range_is_not_reported(observer):
    run(Truth(scale=1.15, ambient=22.0), observer, 3600)
    assert observer.health() == [""]


def test_motors_are_independent():
    many = HeatObserver(TwoNodeModel([CONSTANTS] * 3))
    one = HeatObserver(TwoNodeModel([CONSTANTS]))
    for k in range(100):
        load = np.array([12.0, 3.0, 0.0])
        many.step(Load(load, np.zeros(3)), 1.0, {"winding": np.array([np.nan, 26.0 + k // 10, np.nan])})
        one.step(Load(load[1:2], np.zeros(1)), 1.0, {"winding": np.array([26.0 + k // 10])})
    np.testing.assert_allclose(many.mean[1], one.mean[0])
    np.testing.assert_allclose(many.covariance[1], one.covariance[0])
