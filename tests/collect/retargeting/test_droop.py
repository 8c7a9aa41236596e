"""Compensation of droop: a loaded joint comes to its target, and fast motion or an obstacle does not wind it up."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.collect.retargeting.droop import MAX_DROOP, Droop

DT_S = 1 / 60
BOTH = np.array([0, 1])


def test_a_loaded_joint_comes_to_its_desired_position() -> None:
    droop, measured = Droop(np.array([True, False])), np.zeros(2)
    for _ in range(300):
        droop.step(np.zeros(2), np.zeros(2), measured, DT_S, BOTH)
        measured = droop.offset - 0.04
    np.testing.assert_allclose(measured, [0, -0.04], atol=1e-4)  # the second joint is not compensated


def test_the_offset_of_a_blocked_joint_is_bounded() -> None:
    droop = Droop(np.array([True, True]))
    for _ in range(600):
        droop.step(np.ones(2), np.zeros(2), np.zeros(2), DT_S, BOTH)
    np.testing.assert_allclose(droop.offset, MAX_DROOP)


def test_the_lag_of_a_fast_motion_is_not_a_droop() -> None:
    droop = Droop(np.array([True, True]))
    for _ in range(60):
        droop.step(np.full(2, 0.1), np.full(2, 2.0 * DT_S), np.zeros(2), DT_S, BOTH)
    assert np.abs(droop.offset).max() < 0.002


def test_joints_that_do_not_move_keep_their_offset() -> None:
    droop = Droop(np.array([True, True]))
    droop.step(np.ones(2), np.zeros(2), np.zeros(2), DT_S, np.array([1]))
    assert droop.offset[0] == 0 < droop.offset[1]


def test_it_starts_with_the_droop_under_a_held_command() -> None:
    droop = Droop(np.array([True, True]))
    droop.start(np.zeros(2), np.array([0.05, 0.3]))
    np.testing.assert_allclose(droop.offset, [0.05, 0])  # the second joint was moved by other means
    droop.start(np.zeros(2), None)
    assert droop.offset == pytest.approx(0)
