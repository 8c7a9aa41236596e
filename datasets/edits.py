"""What was changed about sealed episodes without touching them: deleted, restored, relabelled, calibrated, linked.

`edits.jsonl` in a dataset's folder is the truth: a line for each change, appended and forced onto the disk. What holds
now is what the lines add up to, in their order::

    {"edit": "delete", "episodes": "3-5"}
    {"edit": "restore", "episodes": "4"}
    {"edit": "relabel", "episodes": "0-9", "task": "lift the red cube", "outcome": "success"}
    {"edit": "latency", "cameras": {"cameras/front": 33000000}}
    {"edit": "link", "episodes": "0-99", "source": "/data/monday", "of": "0-99"}
    {"edit": "collect", "episodes": "3,5"}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from waldo.datasets import jsonlines
from waldo.datasets.indices import format_indices, parse_indices
from waldo.datasets.recording.journal import sync_folder
from waldo.datasets.store_path import Place, current_size
from waldo.errors import FileError, WaldoError

FILE = "edits.jsonl"
"""The name in a dataset's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEdits:
    """What was changed about one episode."""

    task: str | None = None
    """The instruction instead of the recorded one; None: as recorded."""
    outcome: str | None = None
    """The outcome instead of the recorded one; None: as recorded."""
    latency_ns: Mapping[str, int] = field(default_factory=dict)
    """Camera -> how long after the light its frames were stamped [ns]."""


UNCHANGED = EpisodeEdits()
"""What holds for an episode about which nothing was changed."""


class Edits:
    """What the edits of a dataset add up to."""

    def __init__(self, folder: Place) -> None:
        """Read the edits of a dataset's folder."""
        self.path = folder / FILE
        self.deleted: set[int] = set()
        """Tombstones: episodes that are left out of everything."""
        self.collected: set[int] = set()
        """Deleted episodes whose files are gone for good."""
        self.highest = -1
        """Highest index that any edit names."""
        self._labels: defaultdict[int, EpisodeEdits] = defaultdict(EpisodeEdits)
        self._latency: dict[str, int] = {}
        self.nbytes = -1
        """Bytes of the file that are read: what identifies this state."""
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since; a no-op where nothing was."""
        nbytes = current_size(self.path)
        if nbytes == self.nbytes:
            return
        lines = jsonlines.read(self.path)
        if lines.damaged:
            which = f"line {lines.damaged[0]} is damaged (its checksum is wrong), so what was deleted cannot be known"
            raise FileError(self.path, which, "bring the file back from a copy; or move it away and repeat the edits")
        self.deleted, self.collected, self.highest = set(), set(), -1
        self._labels, self._latency = defaultdict(EpisodeEdits), {}
        for number, edit in enumerate(lines.values, 1):
            try:
                self._apply(edit)
            except (KeyError, TypeError, AttributeError, WaldoError) as error:
                found = f"line {number} cannot be understood ({error!r})"
                raise FileError(self.path, found, "it may come from a newer waldo: update waldo") from error
        self.nbytes = nbytes

    def of(self, index: int) -> EpisodeEdits:
        """Return what was changed about an episode."""
        known = self._labels.get(index, UNCHANGED)
        return replace(known, latency_ns=self._latency | dict(known.latency_ns)) if self._latency else known

    @property
    def relabelled(self) -> Mapping[int, EpisodeEdits]:
        """Episode -> what was changed, for those with changes of their own."""
        return self._labels

    @property
    def latency_ns(self) -> Mapping[str, int]:
        """Camera -> latency [ns] that holds for all episodes that have none of their own."""
        return self._latency

    def append(self, edit: str, episodes: Iterable[int] | None = None, **values: Any) -> None:
        """Write down a change of some episodes (None: of all, those to come included) and let it hold."""
        self.refresh()
        named = {} if episodes is None else {"episodes": format_indices(episodes)}
        line = {"edit": edit, **named, **values}
        before, after = jsonlines.append(self.path, [line], sync=True)
        if not before and isinstance(self.path, Path):
            sync_folder(self.path.parent)
        if before == self.nbytes:
            self._apply(line)
            self.nbytes = after
        else:
            self.refresh()

    def _apply(self, edit: Mapping[str, Any]) -> None:
        """Let one line hold."""
        kind, which = edit["edit"], parse_indices(edit["episodes"]) if "episodes" in edit else None
        self.highest = max(self.highest, *which) if which else self.highest
        match kind, which:
            case "delete", set():
                self.deleted |= which
            case "restore", set():
                self.deleted -= which - self.collected
            case "collect", set():
                self.collected |= which
            case "relabel", set():
                labels = {key: edit[key] for key in ("task", "outcome") if key in edit}
                for index in which:
                    self._labels[index] = replace(self._labels[index], **labels)
            case "latency", None:
                self._latency |= edit["cameras"]
            case "latency", set():
                for index in which:
                    known = dict(self._labels[index].latency_ns)
                    self._labels[index] = replace(self._labels[index], latency_ns=known | edit["cameras"])
            case "link", set():
                pass  # where episodes came from, for people
            case _:
                raise KeyError(kind)
