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
    """Servos that hold loads, with individual constants and rounded registers."""

    def __init__(self, count=6):
        rng = np.random.default_rng(0)
        self.count = count
        nominal = TwoNodeModel([MOTOR.need_thermal("a test")] * count)
        factors = np.exp(rng.normal(0, 0.25, (4, count)))
        self.true = TwoNodeModel.from_arrays(
            nominal.cw * factors[0], nominal.ch * factors[1], nominal.r1 * factors[2], nominal.r2 * factors[3]
        )
        self.r25 = MOTOR.need("resistance_ohm", "a test") * np.exp(rng.normal(0, 0.1, count))
        self.offset = rng.normal(0, 1.5, count)
        self.state = np.full((count, 2), 24.0)
        self.rng = rng

    def hold(self, amperes, dt_s=0.1):
        current = np.full(self.count, amperes)
        load = Load(np.square(current) * self.r25, np.zeros(self.count))
        self.state = self.true.step(self.state, load, 24.0, dt_s)
        pwm = current * resistance_at(self.r25, self.state[:, 0]) / VOLTS
        return replace(
            MotorSensors.unknown(self.count),
            # The ripple of a current has the size of its resolution, so that rounding averages out.
            current_a=np.round((current + self.rng.normal(0, 0.003, self.count)) / 0.0065) * 0.0065,
            pwm_ratio=np.round(pwm, 3),
            voltage_v=np.full(self.count, VOLTS),
            housing_c=np.round(self.state[:, 1] + self.offset),
        )


@pytest.fixture(scope="module")
def quarter_hour():
    """The errors (steps, 18) [K] of 18 servos' temperatures without and with the thermometer, and their last readings.

    The loads change for fifteen minutes.
    """
    servos = Servos(18)
    joints = [replace(ROBOT.joints[0], name=f"joint{i}") for i in range(18)]
    robot, config = replace(ROBOT, joints=tuple(joints)), MonitorConfig(governor=None)
    monitors = [HeatMonitor(robot, one) for one in (replace(config, thermometer=None), config)]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        # Forecasts do not affect the estimates and take most of the time.
        patch.setattr(monitor_module, "FORECAST_EVERY_S", 1e9)
        for k in range(900):
            sensors = servos.hold(0.4 if k < 60 else (1.1, 0.5, 0.9)[k // 30 % 3], 1.0)
            readings = [monitor.step(sensors, np.zeros(18), 1.0, 0) for monitor in monitors]
            found.append([one.winding_c - servos.state[:, 0] for one in readings])
    without, with_it = np.array(found)[60:].swapaxes(0, 1)
    return without, with_it, readings[1]


def test_the_thermometer_reduces_the_error(quarter_hour):
    without, with_it = (np.sqrt(np.mean(np.square(errors))) for errors in quarter_hour[:2])
    assert with_it < 0.6 * without
    assert with_it < 4.0


def test_the_error_is_within_the_standard_deviation(quarter_hour):
    _, found, readings = quarter_hour
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
