import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.reading.align import align, frame_grid, regular_grid
from waldo.errors import ConfigError

MS = 1_000_000


def at(*milliseconds):
    return np.array(milliseconds, np.int64) * MS


def index(policy, instants, stamps, max_staleness_s=1.0):
    return align(at(*instants), at(*stamps), policy, max_staleness_s=max_staleness_s).index.tolist()


def test_hold_takes_the_last_sample():
    assert index("hold", [-1, 0, 9, 10, 25, 40], [0, 10, 20]) == [-1, 0, 0, 1, 2, 2]


def test_nearest_takes_the_closest():
    assert index("nearest", [-1, 4, 6, 14, 40], [0, 10, 20]) == [0, 0, 1, 1, 2]


def test_next_takes_the_following_sample_and_at_the_end_the_last():
    assert index("next", [-1, 0, 1, 10, 25], [0, 10, 20]) == [0, 0, 1, 1, 2]


def test_linear_interpolates():
    found = align(at(-1, 0, 5, 10, 20, 21), at(0, 10, 20), "linear", max_staleness_s=1.0)
    values = found.apply(np.array([[0.0], [1.0], [5.0]]))[:, 0]
    assert values[1:5].tolist() == [0.0, 0.5, 1.0, 5.0]
    assert np.isnan(values[[0, 5]]).all()


def test_linear_at_a_sample_before_nan_is_the_sample():
    found = align(at(10), at(0, 10, 20), "linear", max_staleness_s=1.0)
    assert found.apply(np.array([[0.0], [1.0], [np.nan]])).tolist() == [[1.0]]


def test_samples_that_are_too_old_are_not_valid():
    found = align(at(5, 15, 30), at(0, 10), "hold", max_staleness_s=0.01)
    assert found.valid.tolist() == [True, True, False]
    assert found.staleness_ns.tolist() == [5 * MS, 5 * MS, 20 * MS]
    assert np.isnan(found.apply(np.array([[1.0], [2.0]]))[2]).all()


def test_newer_samples_have_negative_staleness():
    assert align(at(5), at(0, 7), "next", max_staleness_s=1.0).staleness_ns.tolist() == [-2 * MS]


def test_stamps_out_of_order_are_sorted():
    assert index("hold", [5, 15, 25], [20, 0, 10]) == [1, 2, 0]


def test_an_empty_stream_is_never_valid():
    found = align(at(5, 6), at(), "nearest", max_staleness_s=1.0)
    assert not found.valid.any()
    assert np.isnan(found.apply(np.empty((0, 2)))).all()


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError) as error:
        align(at(1), at(1), "lerp", max_staleness_s=1.0)  # type: ignore[arg-type]
    assert str(error.value) == "policy is 'lerp', expected one of hold, nearest, next, linear"


stamps = st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(lambda x: np.array(sorted(x), np.int64) * MS)


@given(stamps, stamps)
def test_nearest_is_never_farther_than_hold_or_next(instants, samples):
    near = np.abs(align(instants, samples, "nearest", max_staleness_s=10.0).staleness_ns)
    for policy in ("hold", "next"):
        other = align(instants, samples, policy, max_staleness_s=10.0)
        assert (near <= np.abs(other.staleness_ns))[other.valid].all()
    held = align(instants, samples, "hold", max_staleness_s=10.0)
    assert (held.staleness_ns[held.valid] >= 0).all()


def test_a_regular_grid_does_not_drift():
    grid = regular_grid(0, 3_600_000_000_000, 30.0)
    assert len(grid) == 108_001
    assert grid[-1] == 3_600_000_000_000


def test_a_camera_without_faults_is_its_own_grid():
    frames = np.round(np.arange(90) * 1e9 / 30).astype(np.int64)
    assert np.array_equal(frame_grid(frames, 30.0), frames)


def test_a_slow_clock_keeps_one_row_per_frame():
    frames = np.round(np.arange(3000) * 1e9 / 29.8).astype(np.int64)
    assert np.array_equal(frame_grid(frames, 30.0), frames)


def test_jitter_keeps_one_row_per_frame():
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, 300)
    frames = np.round((np.arange(300) + jitter) * 1e9 / 30).astype(np.int64)
    assert np.array_equal(frame_grid(frames, 30.0), frames)


def test_missing_frames_get_their_own_rows():
    frames = np.delete(np.round(np.arange(90) * 1e9 / 30).astype(np.int64), [40, 41, 70])
    grid = frame_grid(frames, 30.0)
    assert np.abs(grid - np.arange(90) * 1e9 / 30).max() <= 2
