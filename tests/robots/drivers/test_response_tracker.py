"""Which motors of a bus respond."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.robots.drivers import response_tracker
from waldo.robots.drivers.response_tracker import ResponseTracker


def test_a_motor_is_unknown_in_the_cycle_it_misses_and_lost_after_the_timeout() -> None:
    tracker = ResponseTracker(3)
    for motor in range(3):
        tracker.responded(motor)
    tracker.end_cycle([0, 1, 2], {1})
    assert [bool(missed) for missed in tracker.missed] == [False, True, False]
    assert tracker.missed[1].startswith("no response for ")
    np.testing.assert_array_equal(tracker.current, [1.0, np.nan, 1.0])
    assert tracker.lost(timeout_s=60) == []
    assert tracker.lost(timeout_s=-1) == [1]
    tracker.responded(1)
    tracker.end_cycle([1], set())
    assert tracker.lost(timeout_s=-1) == []


def test_a_motor_that_was_not_queried_for_long_is_not_lost_with_its_first_missed_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(response_tracker.time, "monotonic", lambda: now_s)
    tracker = ResponseTracker(1)
    tracker.responded(0)
    tracker.end_cycle([0], set())
    now_s += 2.0
    tracker.end_cycle([0], {0})
    assert tracker.missed == ["no response for 2000 ms"]
    assert tracker.lost(timeout_s=0.25) == []
    for _ in range(3):
        now_s += 0.1
        tracker.end_cycle([0], {0})
    assert tracker.lost(timeout_s=0.25) == [0]


def test_motors_that_were_not_queried_keep_their_state() -> None:
    tracker = ResponseTracker(2)
    tracker.end_cycle([0, 1], {0, 1})
    tracker.responded(0)
    tracker.end_cycle([0], set())
    assert tracker.missed[0] == ""
    assert tracker.missed[1] == "no response yet"
    assert tracker.lost(timeout_s=60) == [1]
