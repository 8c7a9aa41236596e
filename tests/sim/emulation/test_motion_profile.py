"""Motion profiles reach their goals within their limits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.sim.emulation.motion_profile import UNLIMITED, MotionProfiles

ALL = np.array([True])
values = st.floats(-500, 500)
velocities = st.floats(500, 5000) | st.just(UNLIMITED)
accelerations = st.floats(5000, 50_000) | st.just(UNLIMITED)


@settings(max_examples=50)
@given(start=values, goal=values, velocity=velocities, acceleration=accelerations, step=st.floats(0.002, 0.05))
def test_a_profile_arrives_within_its_limits(
    start: float, goal: float, velocity: float, acceleration: float, step: float
) -> None:
    paths = MotionProfiles(np.array([start]))
    distance = abs(goal - start)
    longest_s = distance / velocity + 4 * (distance / acceleration) ** 0.5 + min(velocity / acceleration, 1.0) + 0.2
    elapsed_s, before = 0.0, 0.0
    while elapsed_s < longest_s:
        paths.approach(ALL, np.array([goal]), np.array([velocity]), np.array([acceleration]), step)
        assert abs(paths.velocity[0]) <= velocity * (1 + 1e-9)
        if paths.velocity[0]:
            assert abs(paths.velocity[0] - before) <= acceleration * step * (1 + 1e-9)
        before = paths.velocity[0]
        elapsed_s += step
    assert paths.position[0] == goal
    assert paths.velocity[0] == 0


def test_an_unlimited_motion_is_at_its_goal_at_once() -> None:
    paths = MotionProfiles(np.zeros(2))
    unlimited = np.full(2, UNLIMITED)
    paths.approach(np.array([True, False]), np.array([700.0, 900.0]), unlimited, unlimited, 0.002)
    assert paths.position.tolist() == [700.0, 0.0]


def test_a_trapezoid_has_the_duration_of_its_formula() -> None:
    paths, seconds = MotionProfiles(np.zeros(1)), 0.0
    while paths.position[0] < 1000:
        paths.approach(ALL, np.array([1000.0]), np.array([500.0]), np.array([1000.0]), 0.001)
        seconds += 0.001
    assert abs(seconds - (1000 / 500 + 500 / 1000)) < 0.04


def test_a_turning_setpoint_does_not_run_away_from_a_blocked_joint() -> None:
    paths = MotionProfiles(np.zeros(1))
    for _ in range(1000):
        paths.turn(ALL, np.array([500.0]), np.array([UNLIMITED]), 0.01)
        paths.limit_lead(ALL, np.zeros(1), 100.0)
    assert paths.position[0] == 100.0
