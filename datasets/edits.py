"""Changes to finalized episodes that leave the episodes untouched: deletion, labels, camera latency, provenance.

They are stored in `edits.jsonl` in the dataset's folder: one line per change, appended and flushed to disk. The current
state results from applying all lines in order::

    {"edit": "delete", "episodes": "3-5"}
    {"edit": "restore", "episodes": "4"}
    {"edit": "relabel", "episodes": "0-9", "task": "lift the red cube", "outcome": "success"}
    {"edit": "subtasks", "episodes": "3", "subtasks": [[0.0, "reach for the cube"], [2.4, "lift it"]]}
    {"edit": "latency", "cameras": {"cameras/front": 33000000}}
    {"edit": "link", "episodes": "0-99", "source": "/data/monday", "of": "0-99"}
    {"edit": "collect", "episodes": "3,5"}

`link` records where episodes come from; `collect` marks episodes with pruned files.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from waldo.datasets.indices import format_indices, parse_indices
from waldo.datasets.storage import jsonlines
from waldo.datasets.storage.store_path import StorePath, current_size
from waldo.errors import FileError, InvalidValueError, WaldoError
from waldo.files import sync_file

FILE = "edits.jsonl"
"""Name in the dataset's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """A part of an episode, which ends where the next one starts."""

    start_s: float
    """Start after the episode's first stamp [s]."""
    text: str
    """Its instruction."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a start before the episode, or without a text."""
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise InvalidValueError("start of a subtask", self.start_s, "a time within the episode [s]")
        if not self.text.strip():
            raise InvalidValueError("subtask", self.text, "an instruction in words")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEdits:
    """The changes to one episode."""

    task: str | None = None
    """Instruction that replaces the recorded one; None: as recorded."""
    outcome: str | None = None
    """Outcome that replaces the recorded one; None: as recorded."""
    latency_ns: Mapping[str, int] = field(default_factory=dict)
    """Camera -> delay between exposure and stamp [ns]."""
    subtasks: tuple[Subtask, ...] | None = None
    """Subtasks that replace the recorded ones; None: as recorded."""


UNCHANGED = EpisodeEdits()
"""The edits of an episode without changes."""


class Edits:
    """The current state of a dataset's edits."""

    def __init__(self, folder: StorePath) -> None:
        """Read the edits in a dataset's folder."""
        self.path = folder / FILE
        self.deleted: set[int] = set()
        """Indices of deleted episodes."""
        self.pruned: set[int] = set()
        """Indices of deleted episodes with permanently removed files."""
        self.highest_index = -1
        """Highest index in any edit; -1 if there is none."""
        self._labels: defaultdict[int, EpisodeEdits] = defaultdict(EpisodeEdits)
        self._latency: dict[str, int] = {}
        self.nbytes = -1
        """Size of the file when it was read [bytes]; it identifies the state."""
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if its size has changed."""
        try:
            nbytes = current_size(self.path)
        except OSError as error:
            raise FileError(self.path, f"cannot be read ({error.strerror or error})", "move it away") from error
        if nbytes == self.nbytes:
            return
        lines = jsonlines.read(self.path)
        if lines.damaged:
            found = f"line {lines.damaged[0]} is damaged, so the deleted episodes are unknown"
            raise FileError(self.path, found, "restore the file from a copy, or move it away and repeat the edits")
        self.deleted, self.pruned, self.highest_index = set(), set(), -1
        self._labels, self._latency = defaultdict(EpisodeEdits), {}
        for number, edit in enumerate(lines.values, 1):
            try:
                self._apply(edit)
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError, WaldoError) as error:
                found = f"line {number} is not a known edit ({error!r})"
                raise FileError(self.path, found, "it may come from a newer version: update waldo") from error
        self.nbytes = nbytes

    def of(self, index: int) -> EpisodeEdits:
        """Return the changes to an episode."""
        known = self._labels.get(index, UNCHANGED)
        return replace(known, latency_ns=self._latency | dict(known.latency_ns)) if self._latency else known

    @property
    def relabeled(self) -> Mapping[int, EpisodeEdits]:
        """Index -> changes, for episodes with changes of their own."""
        return self._labels

    @property
    def latency_ns(self) -> Mapping[str, int]:
        """Camera -> latency [ns], for episodes without a value of their own."""
        return self._latency

    def append(self, edit: str, episodes: Iterable[int] | None = None, **values: Any) -> None:
        """Store and apply a change.

        Args:
            edit: Kind of change, such as "delete".
            episodes: Indices of the episodes; None for all, including future ones.
            **values: Further values of the change.
        """
        self.refresh()
        indices = {} if episodes is None else {"episodes": format_indices(episodes)}
        line = {"edit": edit, **indices, **values}
        before, after = jsonlines.append(self.path, [line], sync=True)
        if not before and isinstance(self.path, Path):
            sync_file(self.path.parent)
        if before == self.nbytes:
            self._apply(line)
            self.nbytes = after
        else:
            self.refresh()

    def _apply(self, edit: Mapping[str, Any]) -> None:
        """Apply one line."""
        kind, indices = edit["edit"], parse_indices(edit["episodes"]) if "episodes" in edit else None
        self.highest_index = max(self.highest_index, *indices) if indices else self.highest_index
        match kind, indices:
            case "delete", set():
                self.deleted |= indices
            case "restore", set():
                self.deleted -= indices - self.pruned
            case "collect", set():
                self.pruned |= indices
            case "relabel", set():
                labels = {key: edit[key] for key in ("task", "outcome") if key in edit}
                if not all(isinstance(label, str | None) for label in labels.values()):
                    raise TypeError(f"{kind} has {labels}, expected text")
                for index in indices:
                    self._labels[index] = replace(self._labels[index], **labels)
            case "subtasks", set():
                found = tuple(Subtask(start_s=float(start), text=str(text)) for start, text in edit["subtasks"])
                for index in indices:
                    self._labels[index] = replace(self._labels[index], subtasks=found)
            case "latency", None:
                self._latency |= _latencies(edit)
            case "latency", set():
                for index in indices:
                    known = dict(self._labels[index].latency_ns)
                    self._labels[index] = replace(self._labels[index], latency_ns=known | _latencies(edit))
            case "link", set():
                pass  # informational
            case _:
                raise KeyError(kind)


def _latencies(edit: Mapping[str, Any]) -> dict[str, int]:
    """Return camera -> latency [ns] of a line."""
    found = edit["cameras"]
    if not isinstance(found, dict) or not all(isinstance(latency, int) for latency in found.values()):
        raise TypeError(f"cameras is {found!r:.100}, expected a number for each camera")
    return found
