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


def test_a_stall_that_is_longer_than_the_window_makes_nothing_fresh() -> None:
    delay = TransportDelay()
    for k in range(10):
        delay.late_ns(k * 20 * MS, k * 20 * MS)
    stalled_ns = 3 * WINDOW_NS
    late = [delay.late_ns((200 + 20 * k) * MS, stalled_ns + k * MS) for k in range(50)]
    assert min(late) > 2 * WINDOW_NS


def test_another_clock_is_accepted_after_the_window() -> None:
    delay = TransportDelay()
    delay.late_ns(0, 0)
    period_ns = 20 * MS
    late = [delay.late_ns(k * period_ns - 500 * MS, k * period_ns) for k in range(1, 2 * WINDOW_NS // period_ns)]
    assert late[0] == 500 * MS
    accepted = late.index(0)
    assert WINDOW_NS <= (accepted + 1) * period_ns <= WINDOW_NS + 3 * period_ns
    assert set(late[accepted:]) == {0}
