"""Motion limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.robots.control.limits import MotionLimiter
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor

DT = 1 / 60


def robot(joints: int = 2) -> Robot:
    """A robot whose limits are easy to reckon with."""
    one = {"motor": Motor(name="m"), "lower": -1.0, "upper": 2.0, "velocity": 3.0, "acceleration": 30.0, "effort": 1.0}
    return Robot(
        name="toy", model="toy", joints=tuple(Joint(name=f"j{i}", **one) for i in range(joints)), cameras=(), mjcf=""
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-9, 9)), min_size=5, max_size=60))
def test_no_command_breaks_a_limit(targets: list[tuple[float, float]]) -> None:
    limiter = MotionLimiter(robot(1))
    previous, speed = limiter.position.copy(), np.zeros(1)
    for target, moving in targets:
        now = limiter.step(np.array([target]), DT, target_velocity=np.array([moving])).copy()
        new_speed = (now - previous) / DT
        assert -1.0 <= now[0] <= 2.0
        assert abs(new_speed[0]) <= 3.0 + 1e-9
        assert abs(new_speed[0] - speed[0]) <= 30.0 * DT + 1e-9
        previous, speed = now, new_speed


def test_reaches_the_target_and_stays_without_overshoot() -> None:
    limiter = MotionLimiter(robot(1))
    path = [limiter.step(np.array([1.0]), DT)[0] for _ in range(120)]
    assert path[-1] == pytest.approx(1.0, abs=1e-6)
    assert max(path) <= 1.0 + 1e-9


def test_worlds_share_one_limiter() -> None:
    one, many = MotionLimiter(robot()), MotionLimiter(robot())
    many.reset(np.zeros((3, 2)))
    one.reset(np.zeros(2))
    target = np.array([0.5, -0.5])
    for _ in range(10):
        single = one.step(target, DT)
        together = many.step(np.tile(target, (3, 1)), DT)
    np.testing.assert_array_equal(together, np.tile(single, (3, 1)))


def test_reset_of_some_worlds_leaves_the_others() -> None:
    limiter = MotionLimiter(robot(1))
    limiter.reset(np.zeros((2, 1)))
    limiter.step(np.ones((2, 1)), DT)
    limiter.reset(np.array([[0.7]]), np.array([1]))
    assert limiter.position[1, 0] == 0.7
    assert limiter.velocity[1, 0] == 0.0
    assert limiter.velocity[0, 0] > 0.0


def test_a_moving_target_is_followed_without_lag_and_not_overrun_when_it_stops_gently() -> None:
    limiter = MotionLimiter(robot(1))
    times = np.arange(0, 2, DT)
    path = 0.5 + 0.5 * np.sin(np.pi * (times - 0.5))
    speed = 0.5 * np.pi * np.cos(np.pi * (times - 0.5))
    behind = [
        at - limiter.step(np.array([at]), DT, target_velocity=np.array([v]))[0]
        for at, v in zip(path, speed, strict=True)
    ]
    assert np.abs(behind).max() < 0.002
    without = MotionLimiter(robot(1))
    assert max(at - without.step(np.array([at]), DT)[0] for at in path) > 0.02
