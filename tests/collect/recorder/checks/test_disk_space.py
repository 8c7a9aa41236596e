"""The remaining time is known in advance, and recording stops while the episode can still be closed."""

import math
from pathlib import Path

import pytest

from waldo.collect.recorder.checks.disk_space import FINALIZED_RATIO, RESERVE_BYTES, DiskWatch, Space, remaining_space

MB = 1_000_000


def test_the_finalized_copy_counts_as_well(tmp_path: Path) -> None:
    left = remaining_space(free_bytes=RESERVE_BYTES + 305 * MB, journal_bytes=100 * MB, bytes_per_s=1 * MB)
    seconds = left.remaining_s
    assert seconds == pytest.approx((305 - 105) / (1 + FINALIZED_RATIO))
    # After this time, the free space is exactly that of the finalized journal.
    assert RESERVE_BYTES + (305 - seconds) * MB == pytest.approx(FINALIZED_RATIO * (100 + seconds) * MB + RESERVE_BYTES)
    assert left.low
    assert not left.full


def test_a_disk_is_full_while_the_episode_still_fits() -> None:
    assert remaining_space(free_bytes=RESERVE_BYTES + 50 * MB, journal_bytes=100 * MB, bytes_per_s=MB).full
    assert remaining_space(free_bytes=0, journal_bytes=0, bytes_per_s=0).full


def test_the_rate_is_that_of_the_last_ten_seconds(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path)
    free = RESERVE_BYTES + 10_000 * MB
    assert watch.check(0.0, 0, free).remaining_s == math.inf
    for second in range(1, 31):
        space = watch.check(float(second), second * 2 * MB, free)
    assert space.remaining_s == pytest.approx((10_000 - FINALIZED_RATIO * 60) / (2 * (1 + FINALIZED_RATIO)))
    assert str(space) == "disk: 40 min remaining"
    # In a new episode the previous rate stands until the new one is measured.
    assert watch.check(31.0, 1, free).remaining_s == pytest.approx(10_000 / (2 * (1 + FINALIZED_RATIO)))


def test_by_default_the_free_space_is_that_of_the_disk(tmp_path: Path) -> None:
    assert DiskWatch(tmp_path).check(0.0, 0).remaining_s == math.inf


def test_texts_and_bounds_of_the_remaining_time() -> None:
    assert str(Space(math.inf)) == "disk: rate unknown"
    assert str(Space(-5.0)) == "disk: 0 min remaining"
    assert not Space(600.0).low
    assert Space(599.0).low
    assert Space(0.0).full
    assert not Space(0.1).full


def test_a_change_of_the_rate_is_followed_within_the_window(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path)
    free = RESERVE_BYTES + 10_000 * MB
    written = 0
    for second in range(41):
        written += (1 if second < 20 else 4) * MB
        space = watch.check(float(second), written, free)
    assert space.remaining_s == pytest.approx((10_000 - FINALIZED_RATIO * written / MB) / (4 * (1 + FINALIZED_RATIO)))
