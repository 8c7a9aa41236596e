"""The commands that change what a dataset holds without touching an episode: list, delete, relabel, merge ..."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo import console
from waldo.cli.arguments import Folder, Where
from waldo.datasets.indices import format_indices, parse_indices
from waldo.datasets.selection import Outcome, Selection
from waldo.errors import ConfigError, InvalidValueError

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.links import Part

SEE_LIST = "waldo list shows them"
HOW_TO_SAY_ALL = "a filter; for all episodes say --episodes 0-999999"
"""What is expected where a change of everything might be a slip."""


@dataclass(frozen=True, kw_only=True)
class List:
    """List the episodes of a dataset, or those for which all filters hold."""

    dataset: Where
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""
    deleted: bool = False
    """List the deleted ones, which `waldo restore` brings back."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Print them."""
        from waldo.cli import tables
        from waldo.cli.dataset import print_json

        dataset = _open(self.dataset)
        catalog = dataset.deleted if self.deleted else dataset.catalog
        meant = set(self.selection.of(catalog))
        entries = [entry for entry in catalog if entry.episode in meant]
        if self.json:
            print_json([entry._asdict() for entry in entries])
        else:
            tables.print_entries(entries, catalog.unreadable)
        return 0


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Leave episodes out of everything; `waldo restore` brings them back, `waldo gc` frees their space."""

    dataset: Where
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""
    dry_run: bool = False
    """Only say which."""

    def run(self) -> int:
        """Delete them and say so."""
        dataset, indices = _meant(self.dataset, self.selection)
        said = f"{len(indices)} episodes ({format_indices(indices)})"
        if self.dry_run:
            console.out().print(f"would delete {said}")
            return 0
        dataset.delete(indices)
        console.out().print(f"deleted {said}; bring them back with: waldo restore {self.dataset} --episodes ...")
        return 0


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Bring deleted episodes back."""

    dataset: Where
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Which of the deleted episodes; all if nothing is said."""

    def run(self) -> int:
        """Restore them and say so."""
        dataset = _open(self.dataset)
        indices = self.selection.of(dataset.deleted)
        if not indices:
            console.out().print("no deleted episode is meant")
            return 1
        dataset.restore(indices)
        console.out().print(f"restored {len(indices)} episodes ({format_indices(indices)})")
        return 0


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Give episodes another instruction or outcome. The recorded ones stay in the episodes."""

    dataset: Where
    """The dataset's folder."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""
    new_task: str | None = None
    """The instruction from now on."""
    new_outcome: Outcome | None = None
    """The outcome from now on."""

    def run(self) -> int:
        """Relabel them and say so."""
        dataset, indices = _meant(self.dataset, self.selection)
        dataset.relabel(indices, task=self.new_task, outcome=self.new_outcome)
        console.out().print(f"relabelled {len(indices)} episodes ({format_indices(indices)})")
        return 0


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Make a new dataset of some episodes. Its files are links: nothing is copied on one file system."""

    dataset: Where
    """The dataset's folder."""
    out: Folder
    """Folder of the new dataset."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""

    def run(self) -> int:
        """Make it and say what it holds."""
        from waldo.datasets.links import Part

        dataset = _open(self.dataset)
        _link(self.out, [Part(dataset, dataset.select(self.selection))])
        return 0


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Make one dataset of several. Its files are links: nothing is copied on one file system."""

    out: Folder
    """Folder of the new dataset."""
    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the datasets, in the order in which their episodes follow."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes of each."""

    def run(self) -> int:
        """Make it and say what it holds."""
        from waldo.datasets.links import Part

        if not self.datasets:
            raise InvalidValueError("datasets", "none", "at least one folder")
        opened = [_open(path) for path in self.datasets]
        _link(self.out, [Part(dataset, dataset.select(self.selection)) for dataset in opened])
        return 0


@dataclass(frozen=True, kw_only=True)
class Split:
    """Split a dataset into new ones, by shares or by episodes: `waldo split data train=0.9 val=0.1`.

    Shares are drawn at random within each task, so that every part has every task. The files are links.
    """

    dataset: Where
    """The dataset's folder."""
    parts: Annotated[tuple[str, ...], tyro.conf.Positional]
    """FOLDER=SHARE or FOLDER=EPISODES for each part, such as `train=0.9 val=0.1` or `a=0-49 b=50-99`."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes are split."""
    seed: int = 0
    """Seed of the draw."""

    def run(self) -> int:
        """Make the parts and say what each holds."""
        from waldo.datasets.links import Part
        from waldo.datasets.split import split

        dataset = _open(self.dataset)
        wanted = dict(_part(text) for text in self.parts)
        meant = set(dataset.select(self.selection))
        found = split([entry for entry in dataset.catalog if entry.episode in meant], wanted, self.seed)
        for folder, indices in found.items():
            _link(Path(folder), [Part(dataset, indices)])
        return 0


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Remove deleted episodes for good and free their space."""

    dataset: Where
    """The dataset's folder."""
    yes: bool = False
    """Do it; otherwise only say what would go."""

    def run(self) -> int:
        """Remove them and say what that freed."""
        from waldo.cli import tables

        dataset = _open(self.dataset)
        indices = [entry.episode for entry in dataset.deleted]
        said = f"{len(indices)} deleted episodes ({format_indices(indices)})" if indices else "no deleted episodes"
        if not self.yes and not indices:
            console.out().print("nothing to remove: no episode is deleted")
            return 0
        if not self.yes:
            console.out().print(f"{said} would be removed for good; do it with: waldo gc {self.dataset} --yes")
            return 0
        with dataset.lock("waldo gc"):
            console.out().print(f"{said} removed, {tables.size(dataset.prune())} freed")
        return 0


def _open(path: str | Path) -> Dataset:
    from waldo.datasets.dataset import Dataset

    return Dataset.open(path)


def _meant(path: str, selection: Selection) -> tuple[Dataset, list[int]]:
    """Return the dataset and the episodes that a change is meant for; a change of everything has to be said."""
    if selection.is_everything:
        raise InvalidValueError("which episodes", "nothing", HOW_TO_SAY_ALL)
    dataset = _open(path)
    indices = dataset.select(selection)
    if not indices:
        raise InvalidValueError("episodes that fit the filters", 0, f"1 to {len(dataset.catalog)}", SEE_LIST)
    return dataset, indices


def _part(text: str) -> tuple[str, float | set[int]]:
    """Return folder and share, or folder and episodes, of a part of a split."""
    folder, _, what = text.rpartition("=")
    try:
        wanted = float(what) if "." in what else parse_indices(what)
    except (ValueError, ConfigError):
        wanted = None
    if not folder or not wanted:
        raise InvalidValueError("part", text, "FOLDER=SHARE such as train=0.9, or FOLDER=EPISODES such as a=0-49")
    return folder, wanted


def _link(out: Path, parts: list[Part]) -> None:
    """Make a dataset of links and say what it holds."""
    from waldo.datasets.links import link

    with console.progress() as progress:
        bar: Any = progress.add_task("linking", total=None, note="")
        dataset = link(out, parts, lambda done, total: progress.update(bar, completed=done, total=total))
    console.out().print(f"{out}: {len(dataset.indices)} episodes")
