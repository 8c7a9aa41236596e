"""Allocation of episode indices: each one above every index that was ever used in the dataset."""

from __future__ import annotations

from collections.abc import Callable


class IndexAllocator:
    """Allocates indices while the dataset's lock is held, without listing the folder for every episode."""

    def __init__(self, highest: Callable[[], int], exists: Callable[[int], bool]) -> None:
        """Create an allocator.

        Args:
            highest: Returns the highest index that was ever used, -1 if there is none; called once.
            exists: Returns whether an index has a journal or an episode.
        """
        self._highest, self._exists = highest, exists
        self._next: int | None = None
        self._last: int | None = None

    def peek(self) -> int:
        """Return the index that the next episode will get; a discarded last episode frees its index."""
        if self._next is None:
            self._next = 1 + self._highest()
        elif self._last is not None and not self._exists(self._last):
            self._next, self._last = self._last, None
        return self._next

    def confirm(self, index: int) -> None:
        """Mark the index that `peek` returned as used by an episode that was created."""
        self._last, self._next = index, index + 1

    def reserve(self, count: int) -> range:
        """Allocate consecutive indices, which are not freed."""
        first = self.peek()
        self._last, self._next = None, first + count
        return range(first, first + count)
