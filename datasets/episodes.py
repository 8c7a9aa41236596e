"""The episodes of a dataset as a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from waldo.datasets.episode import Episode
from waldo.errors import InvalidValueError


class Episodes(Sequence[Episode]):
    """The episodes of a dataset, each opened when it is accessed."""

    def __init__(self, items: Sequence[tuple[int, Callable[[], Episode]]]) -> None:
        """Create the sequence from each episode's index and a function that opens it."""
        self._items = items

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._items)

    @overload
    def __getitem__(self, position: int) -> Episode: ...
    @overload
    def __getitem__(self, position: slice) -> Episodes: ...
    def __getitem__(self, position: int | slice) -> Episode | Episodes:
        """Return the episode at a position, which differs from its index if episodes before it were deleted."""
        if isinstance(position, slice):
            return Episodes(self._items[position])
        return self._items[position][1]()

    def with_index(self, index: int) -> Episode:
        """Return the episode with an index."""
        for known, opener in self._items:
            if known == index:
                return opener()
        available = f"{self._items[0][0]} to {self._items[-1][0]}" if self._items else "none"
        raise InvalidValueError("episode index", index, f"one of the dataset's ({available})")
