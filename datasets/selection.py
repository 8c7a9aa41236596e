"""Which episodes: filters on the catalogue that every command which takes episodes shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from waldo.datasets.indices import parse_indices

if TYPE_CHECKING:
    from waldo.datasets.catalog import Entry

type Outcome = Literal["success", "failure", "unknown"]
"""How an attempt went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Episodes for which everything holds that is said; what is left out holds for all."""

    episodes: str = ""
    """Indices and runs of them, such as `0-9,12`."""
    outcome: tuple[Outcome, ...] = ()
    """How the attempt went: success, failure, unknown; any of those named."""
    task: tuple[str, ...] = ()
    """The instruction, or a pattern with * and ?, such as `"lift*"`; any of those named."""
    reason: tuple[str, ...] = ()
    """Why the recording ended, such as `interrupted`; any of those named."""
    min_duration_s: float | None = None
    """Shortest duration [s]."""
    max_duration_s: float | None = None
    """Longest duration [s]."""
    max_lost: int | None = None
    """Most messages that may be missing."""
    max_winding_c: float | None = None
    """Hottest winding [°C]; an episode without temperatures is not taken."""
    min_winding_c: float | None = None
    """Coolest that the hottest winding may be [°C]; an episode without temperatures is not taken."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is said, so that all episodes are meant."""
        return all(getattr(self, field.name) == field.default for field in fields(self))

    def of(self, entries: Sequence[Entry]) -> list[int]:
        """Return the indices of the entries for which everything holds, in their order."""
        named = parse_indices(self.episodes)
        if named:
            entries = [entry for entry in entries if entry.episode in named]
        if self.outcome:
            entries = [entry for entry in entries if entry.outcome in self.outcome]
        if self.reason:
            entries = [entry for entry in entries if entry.reason in self.reason]
        if self.task:
            # Few tasks, many episodes: each task is matched once.
            tasks = {entry.task for entry in entries}
            meant = {task for task in tasks if any(fnmatchcase(task, pattern) for pattern in self.task)}
            entries = [entry for entry in entries if entry.task in meant]
        return [entry.episode for entry in entries if self._fits(entry)]

    def _fits(self, entry: Entry) -> bool:
        """Whether the numbers of an entry lie within the limits."""
        return (
            _within(self.min_duration_s, entry.duration_s, self.max_duration_s)
            and _within(None, entry.lost, self.max_lost)
            and _within(self.min_winding_c, entry.hottest_c, self.max_winding_c)
        )


def _within(low: float | None, value: float | None, high: float | None) -> bool:
    """Whether a value lies between two limits that may be absent; one that is not known lies within none."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)
