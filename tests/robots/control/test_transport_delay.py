"""The age of a command counts from its publication, whatever the clocks of both machines show."""

from __future__ import annotations

import pytest

from waldo.robots.control.transport_delay import WINDOW_NS, TransportDelay

MS = 1_000_000


@pytest.mark.parametrize("clock_ns", [0, 3_600_000 * MS, -3_600_000 * MS])
def test_a_message_that_waited_is_late_by_its_waiting_time(clock_ns: int) -> None:
    delay = TransportDelay()
    for k in range(100):
        assert delay.late_ns(clock_ns + k * 20 * MS, k * 20 * MS + 2 * MS) == 0
    # The receiver stalls for 1.5 s and then handles what has arrived.
    late = [delay.late_ns(clock_ns + (2000 + 20 * k) * MS, 3500 * MS) for k in range(75)]
    assert late == [(1500 - 20 * k - 2) * MS for k in range(75)]


def test_jitter_is_measured_from_the_smallest_delay() -> None:
    delay = TransportDelay()
    assert [delay.late_ns(k * 20 * MS, k * 20 * MS + d * MS) for k, d in enumerate((5, 1, 4, 1, 30))] == [
        0,
        0,
        3 * MS,
        0,
        29 * MS,
    ]


def test_another_clock_is_accepted_after_the_window() -> None:
    delay = TransportDelay()
    delay.late_ns(0, 0)
    assert delay.late_ns(-500 * MS, 10 * MS) == 510 * MS
    assert delay.late_ns(WINDOW_NS - 489 * MS, WINDOW_NS + 11 * MS) == 0
