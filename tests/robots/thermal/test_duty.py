"""Duty, equivalent torque and energy of motors."""

import numpy as np
import pytest

from waldo.robots.thermal.duty import DutyMeter


def test_duty_energy_and_peak_of_an_intermittent_load():
    meter = DutyMeter(np.array([1.0, np.nan]))
    for tick in range(600):
        torque = np.array([2.0 if tick % 4 == 0 else 0.0, 1.0])
        meter.add(torque, np.array([1.0, 2.0]), np.array([30.0 + tick / 100, 25.0]), 0.1)
    assert meter.seconds[0] == pytest.approx(60.0)
    np.testing.assert_allclose(meter.duty_ratio, [0.25, 1.0])
    np.testing.assert_allclose(meter.equivalent_torque_nm, [1.0, 1.0])
    np.testing.assert_allclose(meter.heating_w, [1.0, 2.0])
    np.testing.assert_allclose(meter.joules, [60.0, 120.0])
    assert meter.peak_winding_c[0] == pytest.approx(35.99)


def test_only_the_last_ten_minutes_count():
    meter = DutyMeter(np.array([1.0]))
    for tick in range(1800):
        meter.add(np.array([2.0 if tick < 900 else 0.0]), np.ones(1), np.full(1, 30.0), 1.0)
        if tick == 899:
            assert meter.duty_ratio[0] == pytest.approx(1.0)
        if tick == 1199:
            # Half of the ten minutes is before the end of the load, within the ten seconds of a bin.
            assert meter.duty_ratio[0] == pytest.approx(0.5, abs=10 / 600)
    assert meter.duty_ratio[0] == 0.0
    assert meter.heating_w[0] == pytest.approx(1.0)
    assert meter.equivalent_torque_nm[0] == 0.0
    assert meter.seconds[0] == 1800


def test_one_world_is_restarted_without_the_others():
    meter = DutyMeter(np.array([1.0]), worlds=(2,))
    meter.add(np.ones((2, 1)), np.ones((2, 1)), np.full((2, 1), 40.0), 1.0)
    meter.restart(np.array([1]))
    meter.add(np.zeros((2, 1)), np.ones((2, 1)), np.full((2, 1), 30.0), 1.0)
    np.testing.assert_allclose(meter.duty_ratio[:, 0], [0.5, 0.0])
    np.testing.assert_allclose(meter.joules[:, 0], [2.0, 1.0])
    np.testing.assert_allclose(meter.peak_winding_c[:, 0], [40.0, 30.0])


def test_worlds_that_are_not_stepped_count_nothing():
    meter = DutyMeter(np.array([1.0]), worlds=(3,))
    for _ in range(25):
        meter.add(np.ones((2, 1)), np.ones((2, 1)), np.full((2, 1), 40.0), 1.0, np.array([0, 2]))
    np.testing.assert_allclose(meter.seconds[:, 0], [25, 0, 25])
    np.testing.assert_allclose(meter.duty_ratio[:, 0], [1, 0, 1])
