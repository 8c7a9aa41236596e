"""The publishers of one topic, distinguished by their sequence numbers.

Each publisher numbers its messages from 1, and rclpy does not pass which publisher a message is from. A message whose
number follows the last one of a publisher is that publisher's; after a gap, the number of publishers on the graph
decides between a loss and a publisher that has just started.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

ACTIVE_NS = 1_000_000_000
"""Time after which a publisher without messages is no longer active [ns]."""

FORGET_NS = 60_000_000_000
"""Time after which a publisher without messages is forgotten [ns]."""


class Start(Enum):
    """Why a message starts a new count."""

    FIRST = "first"
    RESTARTED = "restarted"
    """The topic's publisher was replaced by a new one."""
    ADDED = "added"
    """There is a further publisher."""


@dataclass(slots=True)
class _Count:
    last: int
    received_ns: int


class Publishers:
    """Counts of a topic's publishers. Times are those of any one clock [ns]."""

    def __init__(self) -> None:
        """Start without publishers."""
        self._counts: list[_Count] = []

    def add(self, sequence: int, now_ns: int, publishers: Callable[[], int]) -> tuple[int, Start | None]:
        """Register a message.

        Args:
            sequence: Its number.
            now_ns: When it was received.
            publishers: Returns the number of publishers on the graph.

        Returns:
            The number of messages of its publisher that are missing before it, and why it starts a new count.
        """
        self._counts = [count for count in self._counts if now_ns - count.received_ns < FORGET_NS]
        matching = [count for count in self._counts if count.last + 1 == sequence]
        if matching:
            # The most recent one: a publisher that has ended may have reached the same number.
            following = max(matching, key=lambda count: count.received_ns)
            following.last, following.received_ns = sequence, now_ns
            return 0, None
        if not self._counts:
            self._counts.append(_Count(sequence, now_ns))
            return 0, Start.FIRST
        active = [count for count in self._counts if now_ns - count.received_ns < ACTIVE_NS]
        if publishers() > max(1, len(active)):
            self._counts.append(_Count(sequence, now_ns))
            return 0, Start.ADDED
        before = [count for count in self._counts if count.last < sequence]
        if before:
            # The smallest gap: with equal chances of each publisher, the most likely one.
            count = max(before, key=lambda count: count.last)
            missing = sequence - count.last - 1
            count.last, count.received_ns = sequence, now_ns
            return missing, None
        # The old count stays for a while: the graph may not have listed a second publisher yet.
        self._counts.append(_Count(sequence, now_ns))
        return 0, Start.RESTARTED

    def precede(self, sequence: int) -> bool:
        """Return whether the last message of a publisher has the number before `sequence`."""
        return any(count.last + 1 == sequence for count in self._counts)

    def active(self, now_ns: int) -> int:
        """Return the number of publishers with recent messages."""
        return sum(now_ns - count.received_ns < ACTIVE_NS for count in self._counts)


class Numbering:
    """Numbers for the stored messages of a topic with any number of publishers: a gap is a loss."""

    def __init__(self) -> None:
        """Start without messages."""
        self._last: int | None = None
        self._missing = 0

    def missing(self, messages: int) -> None:
        """Count missing messages before the next one."""
        self._missing += messages

    def next(self, sequence: int) -> int:
        """Return the number of the next stored message; the first one keeps its publisher's number."""
        self._last = sequence if self._last is None else self._last + 1 + self._missing
        self._missing = 0
        return self._last
