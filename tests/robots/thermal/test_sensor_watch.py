"""Plausibility of temperature sensors."""

import numpy as np
import pytest

from waldo.robots.thermal.sensor_watch import OUTLIER_S, RECOVERY_S, STUCK_S, Sensor, SensorWatch


@pytest.fixture
def watch():
    watch = SensorWatch(1, Sensor(std_k=1.0))
    assert accept(watch, 30.0)
    return watch


def accept(watch, value, *, expected=30.0, std=1.0, load_step=0.0, dt=1.0):
    arrays = (np.array([number]) for number in (value, expected, std, load_step))
    return bool(watch.accept(*arrays, dt)[0])


def test_a_plausible_reading_is_used_and_a_missing_one_is_not(watch):
    assert accept(watch, 31.0)
    assert not accept(watch, np.nan)
    assert watch.describe(0, "winding") == ""


@pytest.mark.parametrize("value", [-21.0, 201.0])
def test_a_reading_out_of_range_excludes_the_sensor_for_a_while(watch, value):
    assert not accept(watch, value)
    assert watch.describe(0, "winding") == f"winding sensor reads {value:.0f} °C: bad sensor or wire"
    used = [accept(watch, 30.0) for _ in range(round(RECOVERY_S))]
    assert used == [False] * (round(RECOVERY_S) - 1) + [True]
    assert watch.describe(0, "winding") == ""


def test_a_sensor_that_is_missing_while_it_is_excluded_is_used_afterwards(watch):
    assert not accept(watch, 201.0)
    for _ in range(round(RECOVERY_S)):
        assert not accept(watch, np.nan)
    assert accept(watch, 30.0)


def test_a_jump_that_the_load_does_not_explain_is_rejected(watch):
    assert not accept(watch, 55.0)
    assert watch.describe(0, "housing") == "housing sensor jumped to 55 °C: bad contact"


def test_a_jump_that_the_load_explains_is_used(watch):
    assert accept(watch, 55.0, expected=55.0, load_step=25.0)


def test_a_constant_reading_is_stuck_only_if_the_load_should_have_changed_it(watch):
    for _ in range(round(STUCK_S) + 1):
        accept(watch, 30.0, load_step=0.0)
    assert watch.describe(0, "winding") == ""
    for _ in range(round(STUCK_S) + 1):
        accept(watch, 30.0, load_step=0.1)
    assert watch.describe(0, "winding") == "winding sensor stuck at 30 °C"
    accept(watch, 31.0)
    assert watch.describe(0, "winding") == ""


def test_an_outlier_is_used_once_it_persists(watch):
    seconds = round(OUTLIER_S)
    used = [accept(watch, 31.0, expected=80.0) for _ in range(seconds + 1)]
    assert used == [False] * seconds + [True]
