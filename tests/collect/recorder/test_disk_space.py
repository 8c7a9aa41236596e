"""How long the disk lasts is said ahead, and recording stops while the episode can still be closed."""

import math
from pathlib import Path

import pytest

from waldo.collect.recorder.disk_space import RESERVE_BYTES, SEAL_RATIO, DiskWatch, space_left

MB = 1_000_000


def test_the_sealed_copy_counts_as_well(tmp_path: Path) -> None:
    left = space_left(free_bytes=RESERVE_BYTES + 305 * MB, journal_bytes=100 * MB, bytes_per_s=1 * MB)
    seconds = left.seconds_left
    assert seconds == pytest.approx((305 - 105) / (1 + SEAL_RATIO))
    # After so long, what is free takes exactly the sealed journal.
    assert RESERVE_BYTES + (305 - seconds) * MB == pytest.approx(SEAL_RATIO * (100 + seconds) * MB + RESERVE_BYTES)
    assert left.low
    assert not left.full


def test_full_is_said_before_the_disk_is() -> None:
    assert space_left(free_bytes=RESERVE_BYTES + 50 * MB, journal_bytes=100 * MB, bytes_per_s=MB).full
    assert space_left(free_bytes=0, journal_bytes=0, bytes_per_s=0).full


def test_the_rate_is_that_of_the_last_seconds(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path)
    free = RESERVE_BYTES + 10_000 * MB
    assert watch.check(0.0, 0, free).seconds_left == math.inf
    for second in range(1, 31):
        space = watch.check(float(second), second * 2 * MB, free)
    assert space.seconds_left == pytest.approx((10_000 - SEAL_RATIO * 60) / (2 * (1 + SEAL_RATIO)))
    assert str(space) == "disk: 40 min left"
    # Another episode begins: the last one's rate stands until this one has its own.
    assert watch.check(31.0, 1, free).seconds_left == pytest.approx(10_000 / (2 * (1 + SEAL_RATIO)))


def test_the_real_disk_is_asked(tmp_path: Path) -> None:
    assert DiskWatch(tmp_path).check(0.0, 0).seconds_left == math.inf
