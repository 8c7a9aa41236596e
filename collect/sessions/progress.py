"""Progress against a plan: the episodes of a dataset that count, by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from waldo.collect.sessions.plan import CELL, SESSION, SessionPlan
from waldo.datasets.dataset import Dataset
from waldo.errors import WaldoError


class Progress:
    """Counts the episodes of a plan in a dataset; deleted ones and other outcomes do not count."""

    def __init__(self, plan: SessionPlan, dataset: Dataset) -> None:
        """Initialize; the episodes are read by `refresh`."""
        self._plan, self._dataset = plan, dataset
        self._cells: dict[int, str] = {}
        self.done: Mapping[str, int] = {}
        """Key of a cell -> number of its episodes that count."""

    def refresh(self) -> None:
        """Read the episodes that are new, and all edits."""
        entries = self._dataset.catalog.entries
        for entry in entries:
            if entry.episode not in self._cells:
                self._cells[entry.episode] = self._cell_of(entry.episode)
        counted = Counter(
            self._cells[entry.episode] for entry in entries if self._plan.count == "saved" or entry.outcome == "success"
        )
        self.done = {cell.key: counted[cell.key] for cell in self._plan.cells}

    def _cell_of(self, index: int) -> str:
        """Return the cell of an episode; empty if it is of no cell of this plan, or cannot be read."""
        try:
            # Also one that a page deletes meanwhile.
            attributes = self._dataset.stored_episode(index).attributes
        except WaldoError:  # `waldo check` reports it
            return ""
        return str(attributes.get(CELL, "")) if attributes.get(SESSION) == self._plan.name else ""

    def add(self, key: str, outcome: str) -> None:
        """Count an episode that was just saved and is not finalized yet."""
        if self._plan.count == "saved" or outcome == "success":
            self.done = {**self.done, key: self.done.get(key, 0) + 1}
