"""Motion limits, and the path of a limited motion through joint space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.robots.control.limits import MotionLimiter
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor

DT = 1 / 60

PATH_TOLERANCE = 0.01
"""Deviation of a limited path from the full-speed path [rad], at 60 Hz and up to 30 rad/s²."""


def robot(joints: int = 2, speed: Sequence[float] = (), acceleration: Sequence[float] = ()) -> Robot:
    """Return a robot with round limits."""
    speeds, accelerations = speed or [3.0] * joints, acceleration or [30.0] * joints
    one = {"motor": Motor(name="m"), "lower": -1.0, "upper": 2.0, "effort": 1.0}
    return Robot(
        name="toy",
        model="toy",
        joints=tuple(
            Joint(name=f"j{i}", velocity=v, acceleration=a, **one)
            for i, (v, a) in enumerate(zip(speeds, accelerations, strict=True))
        ),
        cameras=(),
        mjcf="",
    )


def path_to(target: Sequence[float], limited: Robot, speed_ratio: float) -> np.ndarray:
    """Return the setpoints from rest at zero until the target is reached, shape (steps, joints)."""
    limiter = MotionLimiter(limited)
    limiter.reset(np.zeros(len(target)))
    path = [np.zeros(len(target))] * 2
    while np.abs(path[-1] - target).max() > 1e-6:
        path.append(limiter.step(np.array(target), DT, speed_ratio=speed_ratio).copy())
        assert len(path) < 6_000
    return np.array(path)


def deviation(path: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest distance of a path's points from the polyline through the reference's points."""
    start, segment = reference[:-1], np.diff(reference, axis=0)
    squared = np.maximum(np.square(segment).sum(axis=1), 1e-30)
    worst = 0.0
    for point in path:
        along = np.clip(((point - start) * segment).sum(axis=1) / squared, 0, 1)
        nearest = start + along[:, None] * segment
        worst = max(worst, float(np.sqrt(np.square(nearest - point).sum(axis=1)).min()))
    return worst


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-9, 9), st.floats(0.1, 2)), min_size=5, max_size=60))
def test_no_command_exceeds_a_limit(targets: list[tuple[float, float, float]]) -> None:
    limiter = MotionLimiter(robot(1))
    previous, speed = limiter.position.copy(), np.zeros(1)
    for target, target_velocity, ratio in targets:
        velocity = np.array([target_velocity])
        now = limiter.step(np.array([target]), DT, target_velocity=velocity, speed_ratio=ratio).copy()
        new_speed = (now - previous) / DT
        assert -1.0 <= now[0] <= 2.0
        assert abs(new_speed[0]) <= 3.0 + 1e-9
        assert abs(new_speed[0] - speed[0]) <= 30.0 * DT + 1e-9
        previous, speed = now, new_speed


def test_the_target_is_reached_without_overshoot() -> None:
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


def test_each_world_has_its_own_speed_ratio() -> None:
    many, target = MotionLimiter(robot()), np.array([2.0, 1.0])
    many.reset(np.zeros((2, 2)))
    single = [MotionLimiter(robot()) for _ in range(2)]
    for limiter in single:
        limiter.reset(np.zeros(2))
    for _ in range(40):
        together = many.step(np.tile(target, (2, 1)), DT, speed_ratio=np.array([1.0, 0.3]))
        apart = [one.step(target, DT, speed_ratio=ratio) for one, ratio in zip(single, (1.0, 0.3), strict=True)]
    np.testing.assert_array_equal(together, np.array(apart))


def test_reset_of_some_worlds_leaves_the_others() -> None:
    limiter = MotionLimiter(robot(1))
    limiter.reset(np.zeros((2, 1)))
    limiter.step(np.ones((2, 1)), DT)
    limiter.reset(np.array([[0.7]]), np.array([1]))
    assert limiter.position[1, 0] == 0.7
    assert limiter.velocity[1, 0] == 0.0
    assert limiter.velocity[0, 0] > 0.0


def test_worlds_at_whole_numbers_are_reset_to_fractions() -> None:
    limiter = MotionLimiter(robot(1))
    limiter.reset(np.array([[0], [1]]))
    limiter.reset(np.array([[0.7]]), np.array([1]))
    assert limiter.position.tolist() == [[0.0], [0.7]]


@pytest.mark.parametrize(("start", "limit"), [(-1.1, -1.0), (2.1, 2.0)])
def test_a_joint_that_starts_beyond_a_limit_is_not_commanded_beyond_it(start: float, limit: float) -> None:
    limiter = MotionLimiter(robot(1))
    limiter.reset(np.array([start]))
    assert limiter.step(np.array([start]), DT)[0] == limit


def test_a_moving_target_is_followed_without_lag_and_without_overshoot_when_it_slows_down() -> None:
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


@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "target", [(2.0, 1.0), (2.0, -0.2), (0.5, 0.4, -0.9), (2.0, 0.0, 1.3, -0.4, 0.1, 0.7), (1.9, 0.05)]
)
def test_a_speed_ratio_keeps_the_path(target: tuple[float, ...], ratio: float) -> None:
    full, slow = (path_to(target, robot(len(target)), r) for r in (1.0, ratio))
    assert deviation(slow, full) < PATH_TOLERANCE
    assert deviation(full, slow) < PATH_TOLERANCE


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(0.15, 1.0),
    joints=st.lists(st.tuples(st.floats(-1, 2), st.floats(0.5, 3.0), st.floats(5.0, 30.0)), min_size=2, max_size=6),
)
def test_a_speed_ratio_keeps_the_path_of_any_step(ratio: float, joints: list[tuple[float, float, float]]) -> None:
    target, speed, acceleration = zip(*joints, strict=True)
    limited = robot(len(joints), speed, acceleration)
    assert deviation(path_to(target, limited, ratio), path_to(target, limited, 1.0)) < PATH_TOLERANCE


@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.5, 0.8])
def test_a_speed_ratio_scales_time(ratio: float) -> None:
    """The duration grows by 1/r; the top speed is scaled by r, the acceleration by r²."""
    full, slow = (path_to([2.0], robot(1), r) for r in (1.0, ratio))
    half_full, half_slow = (int(np.argmax(path[:, 0] >= 1.0)) for path in (full, slow))
    assert half_slow == pytest.approx(half_full / ratio, abs=1 / ratio + 1)
    speed = np.diff(slow[:, 0]) / DT
    assert speed.max() == pytest.approx(3.0 * ratio)
    assert np.diff(speed).max() / DT == pytest.approx(30.0 * ratio**2)


def test_a_moving_joint_brakes_with_full_acceleration_when_the_ratio_drops() -> None:
    limiter = MotionLimiter(robot(1))
    for _ in range(12):
        limiter.step(np.array([2.0]), DT)
    before = limiter.velocity[0]
    limiter.step(np.array([2.0]), DT, speed_ratio=0.3)
    assert before - limiter.velocity[0] == pytest.approx(30.0 * DT)


def test_a_limited_joint_is_no_faster_than_its_ratio_behind_a_moving_target() -> None:
    """A moving target does not wait: the joint falls behind at its scaled speed."""
    limiter = MotionLimiter(robot(1))
    limiter.reset(np.zeros(1))
    for k in range(60):
        limiter.step(np.array([3.0 * k * DT]), DT, speed_ratio=0.3, target_velocity=np.array([3.0]))
        assert limiter.velocity[0] <= 0.9 + 1e-9
    assert limiter.velocity[0] == pytest.approx(0.9)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-3, 4), st.integers(1, 20)), min_size=1, max_size=12),
    st.floats(5.0, 60.0),
    st.sampled_from([1 / 30, 1 / 60, 1 / 200]),
)
def test_speed_and_acceleration_stay_within_their_limits_also_at_a_position_limit(
    targets: list[tuple[float, int]], acceleration: float, dt_s: float
) -> None:
    limiter = MotionLimiter(robot(1, [3.0], [acceleration]))
    limiter.reset(np.zeros(1))
    path = [0.0, 0.0]
    for target, steps in targets:
        for _ in range(steps):
            path.append(float(limiter.step(np.array([target]), dt_s)[0]))
    velocity = np.diff(path) / dt_s
    assert np.abs(velocity).max() <= 3.0 * (1 + 1e-9)
    assert np.abs(np.diff(velocity)).max() / dt_s <= acceleration * (1 + 1e-6)
    assert -1.0 <= min(path) <= max(path) <= 2.0
