"""Motion of a robot, by which episodes start and end."""

from __future__ import annotations

import numpy as np

from waldo.collect.sessions.motion import MotionWatch


def test_motion_is_noticed_and_noise_is_not() -> None:
    watch = MotionWatch(0.03)
    assert watch.still_s(0.0) == float("inf")
    for k in range(100):  # noise of a sensor
        watch.add(np.array([0.005 * (-1) ** k, 0.0]), k / 100)
    assert watch.still_s(1.0) == float("inf")
    watch.add(np.array([0.04, 0.0]), 1.0)
    assert watch.still_s(1.5) == 0.5


def test_slow_motion_adds_up() -> None:
    watch = MotionWatch(0.03)
    for k in range(10):
        watch.add(np.array([0.01 * k]), float(k))
    assert watch.still_s(9.0) <= 4.0


def test_a_position_that_is_not_finite_is_no_motion() -> None:
    watch = MotionWatch(0.03)
    watch.add(np.array([0.0]), 0.0)
    watch.add(np.array([np.nan]), 1.0)
    watch.add(np.array([0.01]), 2.0)
    assert watch.still_s(2.0) == float("inf")


def test_a_position_that_is_not_finite_is_not_the_reference() -> None:
    watch = MotionWatch(0.1)
    watch.add(np.array([np.nan, 0.0]), 0.0)
    watch.add(np.array([0.0, 0.0]), 1.0)
    watch.add(np.array([0.0, np.inf]), 2.0)
    assert watch.still_s(3.0) == np.inf
    watch.add(np.array([0.2, 0.0]), 4.0)
    assert watch.still_s(5.0) == 1.0


def test_an_array_that_is_written_again_is_not_the_reference() -> None:
    watch, position = MotionWatch(0.1), np.zeros(2)
    watch.add(position, 0.0)
    position += 0.2
    watch.add(position, 1.0)
    assert watch.still_s(1.5) == 0.5
    position += 0.2
    watch.add(position, 2.0)
    assert watch.still_s(2.5) == 0.5
