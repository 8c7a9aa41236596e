"""The filter of poses: tremor is reduced, a fast motion is hardly delayed, and the stated delays hold."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.collect.retargeting.frames import is_rotation, rotation_matrix, rotation_vector
from waldo.collect.retargeting.one_euro import PoseFilter, delay_s

DT_S = 1 / 60


def moved(x_m: float, angle_rad: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x_m
    pose[:3, :3] = rotation_matrix(np.array([0, 0, angle_rad]))
    return pose


def measured_delay_s(speed_m_s: float) -> float:
    """Return the delay of a motion with constant speed, beyond that of sampling [s]."""
    one = PoseFilter(4.0, 33.0, 6.0)
    for tick in range(120):
        found = one.step(moved(speed_m_s * tick * DT_S), DT_S)
    return (119 * DT_S * speed_m_s - found[0, 3]) / speed_m_s


def test_the_stated_delays_hold() -> None:
    assert delay_s(4.0) == pytest.approx(0.040, abs=0.001)
    assert measured_delay_s(0.001) == pytest.approx(0.040, abs=0.002)
    assert measured_delay_s(0.25) == pytest.approx(0.013, abs=0.002)
    assert measured_delay_s(1.0) == pytest.approx(0.004, abs=0.002)
    assert delay_s(0.0) == 0


def test_tremor_at_rest_is_reduced() -> None:
    rng, one = np.random.default_rng(1), PoseFilter(4.0, 33.0, 6.0)
    noise = rng.normal(0, 0.0005, 300)
    passed = [one.step(moved(x), DT_S)[0, 3] for x in noise]
    assert np.std(passed[60:]) < 0.6 * np.std(noise)


def test_a_rotation_is_filtered_along_the_shortest_way_and_stays_a_rotation() -> None:
    one = PoseFilter(4.0, 33.0, 6.0)
    one.step(moved(0, 3.0), DT_S)
    found = one.step(moved(0, -3.0), DT_S)  # 0.28 rad onward through half a turn
    step = rotation_vector(found[:3, :3] @ moved(0, 3.0)[:3, :3].T)
    assert 0 < step[2] < 0.29
    assert is_rotation(found[:3, :3])


def test_the_first_pose_passes_unchanged_and_so_does_the_first_after_a_reset() -> None:
    one = PoseFilter(4.0, 33.0, 6.0)
    np.testing.assert_array_equal(one.step(moved(1.0, 0.5), DT_S), moved(1.0, 0.5))
    one.reset()
    np.testing.assert_array_equal(one.step(moved(-1.0), DT_S), moved(-1.0))


def test_a_cutoff_of_zero_passes_everything() -> None:
    one = PoseFilter(0.0, 33.0, 6.0)
    one.step(moved(0.0), DT_S)
    np.testing.assert_array_equal(one.step(moved(1.0, 1.0), DT_S), moved(1.0, 1.0))
