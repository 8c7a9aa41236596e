"""The page's clock on this machine's."""

from __future__ import annotations

import math

import pytest

from waldo.collect.headset.clock_offset import WINDOW, ClockOffset

MS = 1_000_000
AHEAD_MS = 5000.0
"""By how much this machine's clock is ahead of the page's."""


def trip(offset: ClockOffset, at_ms: float, out_ms: float, back_ms: float) -> None:
    """Add a round trip at a time of this machine's clock."""
    page_ms = at_ms + out_ms - AHEAD_MS
    offset.add(round(at_ms * MS), page_ms, round((at_ms + out_ms + back_ms) * MS))


def test_without_a_round_trip_a_time_is_unknown() -> None:
    assert ClockOffset().stamp_ns(10.0, 0) is None


def test_equal_ways_give_the_exact_time() -> None:
    offset = ClockOffset()
    trip(offset, 10_000, 4, 4)
    assert offset.stamp_ns(6000.0, 99_000 * MS) == 11_000 * MS


def test_the_shortest_round_trip_counts() -> None:
    offset = ClockOffset()
    trip(offset, 10_000, 200, 2)
    trip(offset, 11_000, 1, 1)
    trip(offset, 12_000, 3, 300)
    assert offset.stamp_ns(6000.0, 99_000 * MS) == 11_000 * MS


def test_an_unequal_way_errs_by_half_of_the_round_trip_at_most() -> None:
    offset = ClockOffset()
    trip(offset, 10_000, 0, 8)
    found = offset.stamp_ns(6000.0, 99_000 * MS)
    assert found is not None
    assert abs(found - 11_000 * MS) <= 4 * MS


def test_old_round_trips_are_forgotten_since_clocks_drift() -> None:
    offset = ClockOffset()
    offset.add(0, 0.0, 0)
    for _ in range(WINDOW):
        trip(offset, 10_000, 4, 4)
    assert offset.stamp_ns(6000.0, 99_000 * MS) == 11_000 * MS


def test_a_stamp_is_never_in_the_future() -> None:
    offset = ClockOffset()
    trip(offset, 10_000, 4, 4)
    assert offset.stamp_ns(60_000.0, 11_000 * MS) == 11_000 * MS


@pytest.mark.parametrize(
    ("sent", "page_ms", "received"), [(10, 0.0, 5), (0, 0.0, 2000 * MS), (0, math.nan, 1), (0, math.inf, 1)]
)
def test_impossible_round_trips_are_ignored(sent: int, page_ms: float, received: int) -> None:
    offset = ClockOffset()
    offset.add(sent, page_ms, received)
    assert offset.stamp_ns(0.0, 10) is None
