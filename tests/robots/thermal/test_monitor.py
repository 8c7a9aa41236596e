"""The heat monitor of a robot: motors with few sensors, missing readings, forecasts and the episode budget."""

from dataclasses import replace

import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.robots.driver import MotorSensors
from waldo.robots.thermal.monitor import HeatMonitor

ROBOT = load_robot("so101")
STILL = np.zeros(6)


def sensors(**known):
    return replace(MotorSensors.unknown(6), **{name: np.full(6, value) for name, value in known.items()})


def watch(monitor, readings, seconds):
    for _ in range(seconds):
        last = monitor.step(readings, STILL, 1.0, 0)
    return last


def test_a_current_alone_is_enough_for_an_estimate_and_a_forecast():
    readings = watch(HeatMonitor(ROBOT), sensors(current_a=1.0), 120)
    assert (readings.winding_c > 35).all()
    assert (readings.winding_std_k > 1).all()
    assert (readings.time_to_limit_p10_s < readings.time_to_limit_s).all()
    assert readings.notes == ("",) * 6


def test_a_motor_without_load_readings_is_not_assumed_to_be_cold():
    readings = watch(HeatMonitor(ROBOT), sensors(housing_c=61.0), 5)
    assert (readings.winding_c == 61.0).all()
    assert np.isnan(readings.time_to_limit_s).all()
    assert np.isnan(readings.winding_std_k).all()
    assert readings.notes[0] == "reports no current or torque: temperature is sensor-only, no forecast"


def test_a_missing_reading_keeps_the_recent_load():
    monitor, other = HeatMonitor(ROBOT), HeatMonitor(ROBOT)
    for one in (monitor, other):
        watch(one, sensors(current_a=1.5), 120)
    missing = watch(monitor, sensors(), 10)
    present = watch(other, sensors(current_a=1.5), 10)
    np.testing.assert_allclose(missing.winding_c, present.winding_c, atol=0.5)
    assert missing.notes[0] == ""


def test_sensor_readings_are_passed_on():
    readings = HeatMonitor(ROBOT).step(sensors(current_a=0.1, housing_c=33.0), STILL, 0.1, 0)
    assert (readings.housing_sensor_c == 33.0).all()
    assert np.isnan(readings.winding_sensor_c).all()


def test_a_load_beyond_the_sustainable_one_reduces_the_speed():
    monitor = HeatMonitor(ROBOT)
    readings = watch(monitor, sensors(current_a=1.6), 400)
    assert readings.derate_ratio[0] < 0.9
    assert monitor.derating is not None
    assert monitor.derating.speed_ratio == pytest.approx(readings.derate_ratio[0])


def record(monitor, amperes, seconds, pause_s):
    """Record an episode and pause; return the winding temperature at the end of the episode [°C]."""
    monitor.recording = True
    hot = watch(monitor, sensors(current_a=amperes), seconds).winding_c[0]
    monitor.recording = False
    watch(monitor, sensors(current_a=0.05), pause_s)
    return hot


def test_the_predicted_number_of_episodes_fits_and_is_reported_once():
    monitor = HeatMonitor(ROBOT)
    readings = watch(monitor, sensors(current_a=0.05), 5)
    assert np.isnan(readings.episodes_left).all()
    assert np.isnan(readings.time_to_limit_planned_s).all()
    for _ in range(3):
        record(monitor, 1.3, 20, 15)
        text = monitor.pop_episode_message()
        assert monitor.pop_episode_message() == ""
    assert text == "about 7 more episodes like the last 3 before shoulder_pan reaches its temperature limit"
    assert (monitor.step(sensors(current_a=0.05), STILL, 0.1, 0).episodes_left == 7).all()
    peaks = [record(monitor, 1.3, 20, 15) for _ in range(8)]
    # The governor acts 4 K below the limit.
    assert [peak < monitor.limit_c[0] - 4 for peak in peaks] == [True] * 7 + [False]


def test_the_planned_load_is_the_mean_of_the_last_episodes():
    monitor = HeatMonitor(ROBOT)
    record(monitor, 2.0, 60, 301)
    readings = watch(monitor, sensors(current_a=0.05), 1)
    assert np.isinf(readings.time_to_limit_s).all()
    again = watch(monitor, sensors(current_a=2.0), 120)
    assert 0 < readings.time_to_limit_planned_s[0] < 3600
    assert again.time_to_limit_planned_s[0] < readings.time_to_limit_planned_s[0]
