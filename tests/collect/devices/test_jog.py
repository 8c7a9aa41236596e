import numpy as np
import pytest

from waldo.collect.devices.jog import LEAD_S, Jog
from waldo.robots.description import Robot

DT_S = 1 / 60


def test_a_target_moves_by_speed_and_time(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    target = jog.step(np.zeros(2), np.array([1.0, -0.5]), DT_S)
    np.testing.assert_allclose(target, [1.5 * DT_S, -0.75 * DT_S])


def test_a_deflection_is_limited_to_full_speed(toy_robot: Robot) -> None:
    np.testing.assert_allclose(Jog(toy_robot, 0.5).step(np.zeros(2), np.array([3.0, -3.0]), DT_S), [0.025, -0.025])


def test_the_target_does_not_run_away_from_a_blocked_joint(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    for _ in range(100):
        target = jog.step(np.zeros(2), np.array([1.0, 0.0]), DT_S)
    assert target[0] == pytest.approx(1.5 * LEAD_S)


def test_the_target_stays_within_the_joint_limits(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    for _ in range(100):
        target = jog.step(np.array([1.99, -1.99]), np.array([1.0, -1.0]), DT_S)
    np.testing.assert_array_equal(target, [2.0, -2.0])


def test_after_release_the_target_starts_at_the_measured_position(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    jog.step(np.zeros(2), np.ones(2), DT_S)
    jog.release()
    np.testing.assert_allclose(jog.step(np.ones(2), np.zeros(2), DT_S), [1.0, 1.0])


def test_a_number_that_is_not_finite_drops_the_target(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    assert jog.step(np.zeros(2), np.ones(2), DT_S) is not None
    assert jog.step(np.array([0, np.nan]), np.ones(2), DT_S) is None
    assert jog.step(np.zeros(2), np.array([np.inf, 0]), DT_S) is None
    np.testing.assert_allclose(jog.step(np.ones(2), np.zeros(2), DT_S), [1.0, 1.0])
