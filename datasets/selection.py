"""Filters on a dataset's catalog, shared by all commands that take episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from waldo.datasets.indices import parse_indices

if TYPE_CHECKING:
    from waldo.datasets.catalog import Entry

type Outcome = Literal["success", "failure", "unknown"]
"""Result of an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Episodes that match all given filters; an unset filter matches everything."""

    episodes: str = ""
    """Indices and ranges, such as `0-9,12`."""
    outcome: tuple[Outcome, ...] = ()
    """Result of the attempt: success, failure or unknown; several match any of them."""
    task: tuple[str, ...] = ()
    """Instruction, or a pattern with * and ?, such as `"lift*"`; several match any of them."""
    reason: tuple[str, ...] = ()
    """Why the recording ended, such as `interrupted`; several match any of them."""
    min_duration_s: float | None = None
    """Minimum duration [s]."""
    max_duration_s: float | None = None
    """Maximum duration [s]."""
    max_lost: int | None = None
    """Maximum number of lost messages."""
    max_winding_c: float | None = None
    """Upper limit of the maximum winding temperature [°C]; episodes without temperatures do not match."""
    min_winding_c: float | None = None
    """Lower limit of the maximum winding temperature [°C]; episodes without temperatures do not match."""

    @property
    def is_everything(self) -> bool:
        """Whether no filter is set, so that all episodes match."""
        return all(getattr(self, field.name) == field.default for field in fields(self))

    def of(self, entries: Sequence[Entry]) -> list[int]:
        """Return the indices of the matching entries, in their order."""
        indices = parse_indices(self.episodes)
        if indices:
            entries = [entry for entry in entries if entry.episode in indices]
        if self.outcome:
            entries = [entry for entry in entries if entry.outcome in self.outcome]
        if self.reason:
            entries = [entry for entry in entries if entry.reason in self.reason]
        if self.task:
            # Datasets have few tasks and many episodes: match each task once.
            tasks = {entry.task for entry in entries}
            matching = {task for task in tasks if any(fnmatchcase(task, pattern) for pattern in self.task)}
            entries = [entry for entry in entries if entry.task in matching]
        return [entry.episode for entry in entries if self._is_within_limits(entry)]

    def _is_within_limits(self, entry: Entry) -> bool:
        """Return whether the numeric values of an entry are within the limits."""
        return (
            _within(self.min_duration_s, entry.duration_s, self.max_duration_s)
            and _within(None, entry.lost, self.max_lost)
            and _within(self.min_winding_c, entry.max_winding_c, self.max_winding_c)
        )


def _within(low: float | None, value: float | None, high: float | None) -> bool:
    """Return whether a value is within optional limits; an unknown value is not within any limit."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)
