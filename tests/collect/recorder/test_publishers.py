"""Messages of several publishers are distinguished, and each loss is counted exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.recorder.publishers import ACTIVE_NS, Numbering, Publishers, Start


def missing(sequence: list[int], publishers: int = 1, period_ns: int = 10_000_000) -> tuple[int, list[Start | None]]:
    """Return the number of missing messages and the starts."""
    counts = Publishers()
    found = [counts.add(number, k * period_ns, lambda: publishers) for k, number in enumerate(sequence)]
    return sum(lost for lost, _ in found), [start for _, start in found if start is not None]


def test_a_gap_of_one_publisher_is_a_loss() -> None:
    assert missing([7, 8, 12, 13]) == (3, [Start.FIRST])


def test_a_restarted_publisher_loses_nothing() -> None:
    assert missing([500, 501, 1, 2, 3]) == (0, [Start.FIRST, Start.RESTARTED])


def test_two_publishers_have_counts_of_their_own() -> None:
    assert missing([1, 900, 2, 901, 3, 902], publishers=2) == (0, [Start.FIRST, Start.ADDED])
    assert missing([900, 1, 901, 2, 902, 3], publishers=2) == (0, [Start.FIRST, Start.ADDED])
    assert missing([1, 900, 2, 903, 3, 904], publishers=2) == (2, [Start.FIRST, Start.ADDED])


def test_a_publisher_is_forgotten_after_a_minute() -> None:
    counts, wall_ns, second = Publishers(), 1_700_000_000 * 10**9, 10**9
    assert counts.add(1, wall_ns, lambda: 1) == (0, Start.FIRST)
    assert counts.add(3, wall_ns + 59 * second, lambda: 1) == (1, None)
    assert counts.add(9, wall_ns + 119 * second, lambda: 1) == (0, Start.FIRST)


def test_a_second_publisher_that_the_graph_lists_late_is_not_a_loss_of_the_first() -> None:
    assert missing([500, 1, 501, 2, 502]) == (0, [Start.FIRST, Start.RESTARTED])


def test_a_publisher_is_active_while_it_publishes() -> None:
    counts = Publishers()
    counts.add(1, 0, lambda: 1)
    counts.add(50, 10, lambda: 2)
    assert counts.active(20) == 2
    assert counts.active(20 + ACTIVE_NS) == 0


def test_a_publisher_that_has_ended_does_not_become_active_again() -> None:
    counts, period_ns = Publishers(), ACTIVE_NS // 30
    for k, number in enumerate([*range(1, 41), *range(1, 80)]):
        counts.add(number, k * period_ns, lambda: 1)
        assert counts.active(k * period_ns) == 1 or number < 31


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.sets(st.integers(0, 39)), st.integers(100, 10_000))
def test_losses_of_two_publishers_are_exact_unless_their_first_message_is_lost(
    turns: list[bool], lost: set[int], start: int
) -> None:
    """Two publishers take turns; some messages are lost, but not the first and the last of each."""
    numbers = {True: 1, False: start}
    sent: list[tuple[bool, int]] = []
    for turn in [True, False, *turns, True, False]:
        sent.append((turn, numbers[turn]))
        numbers[turn] += 1
    kept = [k for k in range(len(sent)) if k - 2 not in lost or k >= len(sent) - 2 or k < 2]
    assert missing([sent[k][1] for k in kept], publishers=2)[0] == len(sent) - len(kept)


def test_stored_numbers_have_a_gap_exactly_where_messages_are_missing() -> None:
    numbering, stored = Numbering(), []
    for sequence, lost in ((40, 0), (41, 0), (1, 0), (5, 3), (6, 0)):
        numbering.missing(lost)
        stored.append(numbering.next(sequence))
    assert stored == [40, 41, 42, 46, 47]
    assert np.diff(stored).tolist() == [1, 1, 4, 1]
