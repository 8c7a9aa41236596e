"""Winding temperatures from resistances: rounded registers, a deviating resistance, wrong constants."""

from dataclasses import replace

import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.robots.driver import MotorSensors
from waldo.robots.thermal import monitor as monitor_module
from waldo.robots.thermal.monitor import HeatMonitor, MonitorConfig
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.resistance import ResistanceThermometer
from waldo.robots.thermal.two_node import Load, TwoNodeModel, resistance_at

ROBOT = load_robot("so101")
MOTOR = ROBOT.joints[0].motor
STILL = np.zeros(6)
VOLTS = 7.4


class Servos:
    """Six servos that hold loads, with individual constants and rounded registers."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        nominal = TwoNodeModel([MOTOR.need_thermal("a test")] * 6)
        factors = np.exp(rng.normal(0, 0.25, (4, 6)))
        self.true = TwoNodeModel.from_arrays(
            nominal.cw * factors[0], nominal.ch * factors[1], nominal.r1 * factors[2], nominal.r2 * factors[3]
        )
        self.r25 = MOTOR.need("resistance_ohm", "a test") * np.exp(rng.normal(0, 0.1, 6))
        self.offset = rng.normal(0, 1.5, 6)
        self.state = np.full((6, 2), 24.0)

    def hold(self, amperes, dt_s=0.1):
        current = np.full(6, amperes)
        self.state = self.true.step(self.state, Load(np.square(current) * self.r25, STILL), 24.0, dt_s)
        pwm = current * resistance_at(self.r25, self.state[:, 0]) / VOLTS
        return replace(
            MotorSensors.unknown(6),
            current_a=np.round(current / 0.0065) * 0.0065,
            pwm_ratio=np.round(pwm, 3),
            voltage_v=np.full(6, VOLTS),
            housing_c=np.round(self.state[:, 1] + self.offset),
        )


@pytest.fixture
def without_forecasts(monkeypatch):
    """Forecasts do not affect the estimates and take most of the time."""
    monkeypatch.setattr(monitor_module, "FORECAST_EVERY_S", 1e9)


def errors(thermometer, seed):
    """Return the errors of the winding temperatures (steps, 6) [K] over fifteen minutes of changing loads."""
    servos = Servos(seed)
    config = MonitorConfig(governor=None)
    monitor = HeatMonitor(ROBOT, config if thermometer else replace(config, thermometer=None))
    found = []
    for k in range(1800):
        amperes = 0.02 if k < 20 else (1.4, 0.6, 1.1)[k // 60 % 3]
        readings = monitor.step(servos.hold(amperes, 0.5), STILL, 0.5, 0)
        found.append(readings.winding_c - servos.state[:, 0])
    return np.array(found)[120:], readings


@pytest.mark.usefixtures("without_forecasts")
def test_the_thermometer_reduces_the_error():
    pairs = [[np.sqrt(np.mean(np.square(errors(on, seed)[0]))) for on in (False, True)] for seed in range(2)]
    without, with_it = np.mean(pairs, axis=0)
    assert with_it < 0.6 * without
    assert with_it < 4.0


@pytest.mark.usefixtures("without_forecasts")
def test_the_error_is_within_the_standard_deviation():
    found, readings = errors(True, 7)
    assert (np.abs(found[-1]) < 3 * readings.winding_std_k).all()


def read(thermometer, sensors, observer, velocity=STILL):
    thermometer.read(sensors, velocity, observer, 0.1)
    return thermometer.read(sensors, velocity, observer, 0.1)


@pytest.fixture
def calibrated():
    """A thermometer that was calibrated on cold motors, its observer, and the servos, which are hot now."""
    servos, thermometer = Servos(), ResistanceThermometer([MOTOR] * 6)
    observer = HeatObserver(TwoNodeModel([MOTOR.need_thermal("a test")] * 6))
    for _ in range(100):
        sensors = servos.hold(0.4)
        observer.step(Load(np.full(6, 0.2), STILL), 0.1, {"housing": sensors.housing_c})
        thermometer.read(sensors, STILL, observer, 0.1)
    servos.state[:] = [80.0, 50.0]
    observer.mean[:, :2] = [70.0, 50.0]
    return thermometer, observer, servos


def test_the_temperature_of_a_hot_winding_is_within_its_standard_deviation(calibrated):
    thermometer, observer, servos = calibrated
    np.testing.assert_allclose(thermometer.offset, np.log(servos.r25 / 2.68), atol=0.02)
    celsius, kelvin = read(thermometer, servos.hold(1.5), observer)
    assert (np.abs(celsius - servos.state[:, 0]) < 3 * kelvin).all()
    assert (kelvin < 4).all()


def test_a_low_current_gives_no_temperature(calibrated):
    thermometer, observer, servos = calibrated
    assert np.isnan(read(thermometer, servos.hold(0.1), observer)[0]).all()


def test_a_lower_current_is_less_certain(calibrated):
    thermometer, observer, servos = calibrated
    strong, weak = (read(thermometer, servos.hold(amperes), observer)[1] for amperes in (1.5, 0.5))
    assert (strong < weak).all()


def test_a_turning_motor_gives_no_temperature(calibrated):
    thermometer, observer, servos = calibrated
    assert np.isnan(read(thermometer, servos.hold(1.0), observer, np.full(6, 2.0))[0]).all()


def test_a_current_that_has_just_changed_gives_no_temperature(calibrated):
    thermometer, observer, servos = calibrated
    read(thermometer, servos.hold(0.5), observer)
    assert np.isnan(thermometer.read(servos.hold(1.5), STILL, observer, 0.1)[0]).all()


def test_before_calibration_there_is_no_temperature():
    servos, thermometer = Servos(), ResistanceThermometer([MOTOR] * 6)
    observer = HeatObserver(TwoNodeModel([MOTOR.need_thermal("a test")] * 6))
    observer.mean[:, 0] = 60.0
    assert np.isnan(read(thermometer, servos.hold(1.5), observer)[0]).all()


def test_a_resistance_far_from_the_data_sheet_is_not_used(calibrated):
    # As with a drive that reports the supply current instead of the winding current.
    thermometer, observer, servos = calibrated
    thermometer.offset[2] = 0.9
    known = np.isfinite(read(thermometer, servos.hold(1.5), observer)[0])
    assert known.tolist() == [True, True, False, True, True, True]


def test_drives_without_pwm_readings_change_nothing():
    sensors = replace(MotorSensors.unknown(6), current_a=np.full(6, 1.0), voltage_v=np.full(6, VOLTS))
    observer = HeatObserver(TwoNodeModel([MOTOR.need_thermal("a test")] * 6))
    celsius, _ = read(ResistanceThermometer([MOTOR] * 6), sensors, observer)
    before = observer.mean.copy()
    observer.correct_winding(celsius, celsius, 0.1)
    np.testing.assert_array_equal(observer.mean, before)
