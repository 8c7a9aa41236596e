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
    """Motors with heat scales and ambient temperatures of their own, and sensors that round."""

    def __init__(self, scale=(1.0,), ambient=(25.0,)):
        self.scale, self.ambient = np.array(scale), np.array(ambient)
        self.model = TwoNodeModel([CONSTANTS] * len(self.scale))
        self.state = np.repeat(self.ambient[:, None], 2, axis=1)
        self.rng = np.random.default_rng(0)

    def step(self, watts, dt):
        self.state = self.model.step(self.state, Load(watts * self.scale, np.zeros(len(self.scale))), self.ambient, dt)

    def reads(self, node):
        return np.round(self.state[:, node] + self.rng.normal(0, 0.4, len(self.scale)))


def watts_at(second):
    return 12.0 if (second // 60) % 2 == 0 else 2.0


def run(truth, observer, seconds, sensors=("winding", "housing"), dt=1.0, unread=()):
    """Return the errors of the winding temperatures, (steps, motors) [K]; the motors `unread` lack a winding sensor."""
    errors = []
    count = len(truth.scale)
    for k in range(round(seconds / dt)):
        watts = watts_at(k * dt)
        truth.step(watts, dt)
        readings = {name: truth.reads(("winding", "housing").index(name)) for name in sensors}
        if "winding" in readings:
            readings["winding"][list(unread)] = np.nan
        observer.step(Load(np.full(count, watts), np.zeros(count)), dt, readings)
        errors.append(observer.winding_c - truth.state[:, 0])
    return np.array(errors)


@pytest.fixture
def observer():
    return HeatObserver(TwoNodeModel([CONSTANTS]))


MOTORS = {
    "warm": (1.3, 29.0),
    "standard": (1.3, 25.0),
    "housing sensor": (1.3, 28.0),
    "blocked": (2.6, 25.0),
    "usual": (1.15, 22.0),
}
"""Motor -> heat scale and ambient temperature [°C]."""
WARM, STANDARD, HOUSING_SENSOR, BLOCKED, USUAL = range(5)


@pytest.fixture(scope="module")
def hour():
    """The errors (steps, motors) [K] and the observer of the motors after an hour; motors are independent."""
    scale, ambient = zip(*MOTORS.values(), strict=True)
    observer = HeatObserver(TwoNodeModel([CONSTANTS] * len(MOTORS)))
    return run(Truth(scale, ambient), observer, 3600, unread=[HOUSING_SENSOR]), observer


def test_with_a_winding_sensor_the_error_is_within_its_rounding(hour):
    errors = hour[0][300:, WARM]
    assert np.abs(errors).max() < 2.0
    assert np.sqrt(np.mean(np.square(errors))) < 0.8


def test_the_heat_scale_is_estimated(hour):
    assert hour[1].scale[STANDARD] == pytest.approx(1.3, abs=0.1)


def test_with_a_housing_sensor_alone_the_error_is_within_its_standard_deviation(hour):
    errors, observer = hour
    std = observer.winding_std_k[HOUSING_SENSOR]
    assert abs(errors[-1, HOUSING_SENSOR]) < 3 * std
    assert 0.3 < std < 12


def test_the_constant_error_of_a_sensor_does_not_average_out(hour):
    # 1.0 K in the winding and 1.5 K on the housing.
    assert 0.7 < hour[1].winding_std_k[STANDARD] < 1.0


def test_a_blocked_fan_is_noticed(hour):
    assert "times the modeled heat: blocked fan or a different motor?" in hour[1].health()[BLOCKED]


def test_a_motor_within_the_expected_range_is_not_reported(hour):
    assert hour[1].health()[USUAL] == ""


def test_without_sensors_the_standard_deviation_is_bounded(observer):
    run(Truth(), observer, 600, sensors=())
    short = observer.winding_std_k[0]
    run(Truth(), observer, 20000, sensors=(), dt=20.0)
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


def test_the_report_of_a_heat_scale_has_a_hysteresis(observer):
    # The estimate of the heat scale is set to values around the threshold.
    reported = []
    for logarithm in (0.5, 0.55, 0.5, 0.4, 0.35, 0.5):
        observer.mean[:, 3], observer.covariance[:, 3, 3] = logarithm, 1e-4
        observer.step(Load(np.zeros(1), np.zeros(1)), 1e-6)
        reported.append(bool(observer.health()[0]))
    assert reported == [False, True, True, True, False, False]


def test_motors_are_independent():
    many = HeatObserver(TwoNodeModel([CONSTANTS] * 3))
    one, blind = (HeatObserver(TwoNodeModel([CONSTANTS])) for _ in range(2))
    for k in range(100):
        load = np.array([12.0, 3.0, 0.0])
        many.step(Load(load, np.zeros(3)), 1.0, {"winding": np.array([np.nan, 26.0 + k // 10, np.nan])})
        one.step(Load(load[1:2], np.zeros(1)), 1.0, {"winding": np.array([26.0 + k // 10])})
        blind.step(Load(load[:1], np.zeros(1)), 1.0)
    np.testing.assert_allclose(many.mean[1], one.mean[0])
    np.testing.assert_allclose(many.covariance[1], one.covariance[0])
    np.testing.assert_allclose(many.mean[0], blind.mean[0])
    np.testing.assert_allclose(many.covariance[0], blind.covariance[0])
