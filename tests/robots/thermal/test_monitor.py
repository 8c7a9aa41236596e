"""The heat monitor of a robot: what is said of motors that tell little, and of readings that are missing."""

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


def watch(monitor, told, seconds):
    for _ in range(seconds):
        readings = monitor.step(told, STILL, 1.0, 0)
    return readings


def test_a_current_alone_is_enough_for_an_estimate_and_a_forecast():
    readings = watch(HeatMonitor(ROBOT), sensors(current_a=1.5), 120)
    assert (readings.winding_c > 35).all()
    assert (readings.winding_std_k > 1).all()
    assert (readings.time_to_limit_p10_s < readings.time_to_limit_s).all()
    assert readings.notes == ("",) * 6


def test_a_motor_that_tells_no_load_is_not_taken_for_a_cold_one():
    readings = watch(HeatMonitor(ROBOT), sensors(housing_c=61.0), 5)
    assert (readings.winding_c == 61.0).all()
    assert np.isnan(readings.time_to_limit_s).all()
    assert np.isnan(readings.winding_std_k).all()
    assert readings.notes[0] == "tells neither current nor torque: its heat is only what a sensor reads"


def test_a_reading_that_is_missing_goes_on_as_recently():
    monitor, other = HeatMonitor(ROBOT), HeatMonitor(ROBOT)
    for one in (monitor, other):
        watch(one, sensors(current_a=1.5), 120)
    gone = watch(monitor, sensors(), 10)
    there = watch(other, sensors(current_a=1.5), 10)
    np.testing.assert_allclose(gone.winding_c, there.winding_c, atol=0.5)
    assert gone.notes[0] == ""


def test_what_the_sensors_read_is_passed_on():
    readings = HeatMonitor(ROBOT).step(sensors(current_a=0.1, housing_c=33.0), STILL, 0.1, 0)
    assert (readings.housing_sensor_c == 33.0).all()
    assert np.isnan(readings.winding_sensor_c).all()


def test_a_robot_that_works_too_hard_is_slowed():
    monitor = HeatMonitor(ROBOT)
    readings = watch(monitor, sensors(current_a=1.6), 400)
    assert readings.derate_ratio[0] < 0.9
    assert monitor.derating is not None
    assert monitor.derating.speed_ratio == pytest.approx(readings.derate_ratio[0])


def record(monitor, amperes, seconds, pause_s):
    """Record an episode and rest; return the winding's temperature at its end [°C]."""
    monitor.recording = True
    hot = watch(monitor, sensors(current_a=amperes), seconds).winding_c[0]
    monitor.recording = False
    watch(monitor, sensors(current_a=0.05), pause_s)
    return hot


def test_the_operator_hears_how_many_more_episodes_fit_and_so_it_comes():
    monitor = HeatMonitor(ROBOT)
    readings = watch(monitor, sensors(current_a=0.05), 5)
    assert np.isnan(readings.episodes_left).all()
    assert np.isnan(readings.time_to_limit_planned_s).all()
    for _ in range(3):
        record(monitor, 1.5, 30, 5)
        text = monitor.pop_episode_message()
        assert monitor.pop_episode_message() == ""
    assert text == "7 more episodes like the last 3 fit; shoulder_pan ends them"
    assert (monitor.step(sensors(current_a=0.05), STILL, 0.1, 0).episodes_left == 7).all()
    peaks = [record(monitor, 1.5, 30, 5) for _ in range(8)]
    # The governor would hold back 4 K below the limit.
    assert [peak < monitor.limit_c[0] - 4 for peak in peaks] == [True] * 7 + [False]


def test_the_planned_load_is_that_of_the_last_episodes():
    monitor = HeatMonitor(ROBOT)
    record(monitor, 2.0, 60, 301)
    readings = watch(monitor, sensors(current_a=0.05), 1)
    assert np.isinf(readings.time_to_limit_s).all()
    again = watch(monitor, sensors(current_a=2.0), 120)
    assert 0 < readings.time_to_limit_planned_s[0] < 3600
    assert again.time_to_limit_planned_s[0] < readings.time_to_limit_planned_s[0]
