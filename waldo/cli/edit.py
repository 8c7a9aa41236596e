"""Commands that list and edit episodes without rewriting them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo import console
from waldo.cli.support.arguments import DatasetAddress, Folder
from waldo.datasets.indices import format_indices, parse_indices
from waldo.datasets.selection import Outcome, Selection
from waldo.errors import (
    ConfigError,
    ConflictingOptionsError,
    InvalidValueError,
    MissingOptionError,
    NoFilterError,
    NoMatchError,
    count,
)

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.links import Part


@dataclass(frozen=True, kw_only=True)
class List:
    """List the episodes of a dataset that match all filters."""

    dataset: DatasetAddress
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Filters."""
    deleted: bool = False
    """List deleted episodes instead."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Print the episodes."""
        from waldo.cli.dataset import print_json
        from waldo.cli.support import tables

        dataset = _open(self.dataset)
        catalog = dataset.deleted if self.deleted else dataset.catalog
        selected = set(self.selection.of(catalog))
        entries = [entry for entry in catalog if entry.episode in selected]
        if self.json:
            print_json([entry._asdict() for entry in entries])
        else:
            tables.print_entries(entries, catalog.unreadable)
        return 0


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Mark episodes as deleted. `waldo restore` undoes this; `waldo gc` removes them permanently."""

    dataset: DatasetAddress
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Filters; at least one, or --all."""
    all: bool = False
    """Delete every episode."""
    dry_run: bool = False
    """Print the episodes without deleting them."""

    def run(self) -> int:
        """Delete the episodes and print them."""
        dataset, indices = _select(self.dataset, self.selection, self.all, "delete every episode")
        if self.dry_run:
            console.out().print(f"would delete {_described(indices)}")
            return 0
        dataset.delete(indices)
        undo = f"waldo restore {self.dataset} --episodes {format_indices(indices)}"
        console.out().print(f"deleted {_described(indices)}; to undo: {undo}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Restore deleted episodes."""

    dataset: DatasetAddress
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Filters on the deleted episodes; without one, all are restored."""

    def run(self) -> int:
        """Restore the episodes and print them."""
        dataset = _open(self.dataset)
        indices = self.selection.of(dataset.deleted)
        if not indices:
            raise NoMatchError("deleted episode", len(dataset.deleted), f"see: waldo list {self.dataset} --deleted")
        dataset.restore(indices)
        console.out().print(f"restored {_described(indices)}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Change the instruction or outcome of episodes. The recorded values are kept beside the new ones."""

    dataset: DatasetAddress
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Filters; at least one, or --all."""
    all: bool = False
    """Change every episode."""
    new_task: str | None = None
    """New instruction."""
    new_outcome: Outcome | None = None
    """New outcome."""

    def run(self) -> int:
        """Change the labels and print the episodes."""
        if self.new_task is None and self.new_outcome is None:
            raise MissingOptionError("waldo relabel", "--new-task or --new-outcome")
        dataset, indices = _select(self.dataset, self.selection, self.all, "change every episode")
        dataset.relabel(indices, task=self.new_task, outcome=self.new_outcome)
        console.out().print(f"relabeled {_described(indices)}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Create a dataset from selected episodes. Files are hard links, so nothing is copied within one file system."""

    dataset: DatasetAddress
    """The dataset's folder."""
    out: Folder
    """Folder of the new dataset."""
    selection: Selection = field(default_factory=Selection)
    """Filters."""

    def run(self) -> int:
        """Create the dataset and print its size."""
        from waldo.datasets.links import Part

        dataset = _open(self.dataset)
        _link(self.out, [Part(dataset, dataset.select(self.selection))])
        return 0


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge datasets into a new one. Files are hard links, so nothing is copied within one file system."""

    out: Folder
    """Folder of the new dataset."""
    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the datasets; their episodes are numbered in this order."""
    selection: Selection = field(default_factory=Selection)
    """Filters, applied to each dataset."""

    def run(self) -> int:
        """Create the dataset and print its size."""
        from waldo.datasets.links import Part

        if not self.datasets:
            raise InvalidValueError("datasets", "none", "at least one folder")
        opened = [_open(path) for path in self.datasets]
        _link(self.out, [Part(dataset, dataset.select(self.selection)) for dataset in opened])
        return 0


@dataclass(frozen=True, kw_only=True)
class Split:
    """Split a dataset into new ones, by fraction or by episode: `waldo split data train=0.9 val=0.1`.

    Fractions are drawn at random within each task, so every part contains every task. Files are hard links.
    """

    dataset: DatasetAddress
    """The dataset's folder."""
    parts: Annotated[tuple[str, ...], tyro.conf.Positional]
    """FOLDER=FRACTION or FOLDER=EPISODES for each part, such as `train=0.9 val=0.1` or `a=0-49 b=50-99`."""
    selection: Selection = field(default_factory=Selection)
    """Filters."""
    seed: int = 0
    """Seed of the random draw."""

    def run(self) -> int:
        """Create the datasets and print their sizes."""
        from waldo.datasets.links import Part
        from waldo.datasets.split import split

        dataset = _open(self.dataset)
        wanted = dict(_part(text) for text in self.parts)
        selected = set(dataset.select(self.selection))
        found = split([entry for entry in dataset.catalog if entry.episode in selected], wanted, self.seed)
        for folder, indices in found.items():
            _link(Path(folder), [Part(dataset, indices)])
        return 0


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Permanently remove deleted episodes and free their disk space."""

    dataset: DatasetAddress
    """The dataset's folder."""
    yes: bool = False
    """Remove them; otherwise only print what would be removed."""

    def run(self) -> int:
        """Remove the episodes and print the freed space."""
        from waldo.files import format_bytes

        dataset = _open(self.dataset)
        indices = [entry.episode for entry in dataset.deleted]
        described = f"{count(len(indices), 'deleted episode')} ({format_indices(indices)})" if indices else "no episode"
        if not self.yes and not indices:
            console.out().print("nothing to remove: no episode is deleted")
            return 0
        if not self.yes:
            console.out().print(f"would remove {described} permanently; to do so: waldo gc {self.dataset} --yes")
            return 0
        with dataset.lock("waldo gc"):
            console.out().print(f"removed {described}, {format_bytes(dataset.prune())} freed")
        return 0


def _open(path: str | Path) -> Dataset:
    from waldo.datasets.dataset import Dataset

    return Dataset.open(path)


def _select(path: str, selection: Selection, everything: bool, change: str) -> tuple[Dataset, list[int]]:
    """Return the dataset and the selected episodes.

    Raises:
        ConflictingOptionsError: If both a filter and --all are given.
        NoFilterError: If neither is given.
        NoMatchError: If no episode matches.
    """
    if everything and not selection.is_everything:
        raise ConflictingOptionsError("--all", "a filter")
    if selection.is_everything and not everything:
        raise NoFilterError(change)
    dataset = _open(path)
    indices = dataset.select(selection)
    if not indices:
        raise NoMatchError("episode", len(dataset.catalog), f"see: waldo list {path}")
    return dataset, indices


def _described(indices: list[int]) -> str:
    """Return "3 episodes (0-2)"."""
    return f"{count(len(indices), 'episode')} ({format_indices(indices)})"


def _part(text: str) -> tuple[str, float | set[int]]:
    """Return the folder and the fraction or episodes of one part of a split."""
    folder, _, amount = text.rpartition("=")
    try:
        wanted = float(amount) if "." in amount else parse_indices(amount)
    except (ValueError, ConfigError):
        wanted = None
    if not folder or not wanted:
        raise InvalidValueError("part", text, "FOLDER=FRACTION such as train=0.9, or FOLDER=EPISODES such as a=0-49")
    return folder, wanted


def _link(out: Path, parts: list[Part]) -> None:
    """Create a dataset from hard links and print its size."""
    from waldo.datasets.links import link

    with console.progress() as progress:
        bar: Any = progress.add_task("linking", total=None, note="")
        dataset = link(out, parts, lambda done, total: progress.update(bar, completed=done, total=total))
    console.out().print(f"{out}: {count(len(dataset.indices), 'episode')}")
