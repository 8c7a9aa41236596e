"""`waldo push` and `waldo pull`: datasets to an object store and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waldo import console
from waldo.cli.arguments import Folder, Where
from waldo.datasets.selection import Selection
from waldo.errors import FileError, InvalidValueError

if TYPE_CHECKING:
    from waldo.datasets.transfer import Transfer


@dataclass(frozen=True, kw_only=True)
class Push:
    """Copy a dataset to an object store; run again, it copies only what is missing there. Keys from the environment."""

    dataset: Folder
    """The dataset's folder."""
    address: Where
    """Where to, such as `s3://bucket/name`."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""

    def run(self) -> int:
        """Copy and say how much."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.store_path import ObjectPath, open_path
        from waldo.datasets.transfer import push

        target = open_path(self.address)
        if not isinstance(target, ObjectPath):
            raise InvalidValueError("address", self.address, "an object store's, such as s3://bucket/name")
        dataset = Dataset.open(self.dataset)
        indices = dataset.select(self.selection)
        if not indices:
            raise FileError(self.dataset, "has no episode that is asked for", "waldo list shows those it has")
        return _say(target, _with_progress("pushing", lambda advance: push(dataset, target, indices, advance)))


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Copy a dataset from an object store; run again, it copies only what is missing here."""

    address: Where
    """Where from, such as `s3://bucket/name`."""
    dataset: Folder
    """The dataset's folder here; made if it does not exist."""
    selection: Selection = field(default_factory=Selection)
    """Which episodes."""

    def run(self) -> int:
        """Copy and say how much."""
        from waldo.cli.tables import size
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.transfer import free_bytes, pull

        source = Dataset.open(self.address)
        indices = source.select(self.selection)
        if not indices:
            raise FileError(self.address, "has no episode that is asked for", "waldo list shows those it has")
        wanted = {*indices}
        nbytes = sum(entry.nbytes for entry in source.catalog if entry.episode in wanted)
        if nbytes > free_bytes(self.dataset):
            found = f"has {size(free_bytes(self.dataset))} left, the episodes take {size(nbytes)}"
            raise FileError(self.dataset, found, "free some space, or take fewer episodes")
        return _say(
            self.dataset, _with_progress("pulling", lambda advance: pull(source, self.dataset, indices, advance))
        )


def _with_progress(what: str, work: Callable[[Callable[[int, int], None]], Transfer]) -> Transfer:
    with console.progress() as progress:
        bar: Any = progress.add_task(what, total=None, note="")
        return work(lambda done, total: progress.update(bar, completed=done, total=total))


def _say(where: object, done: Transfer) -> int:
    from waldo.cli.tables import size

    removed = f", {done.removed} removed" if done.removed else ""
    console.out().print(
        f"{where}: {done.moved} episodes copied ({size(done.nbytes)}), {done.kept} were there{removed}", markup=False
    )
    return 0
