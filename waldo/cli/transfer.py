"""`waldo push` and `waldo pull`: upload datasets to an object store and download them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waldo import console
from waldo.cli.support.arguments import DatasetAddress, Folder
from waldo.datasets.selection import Selection
from waldo.errors import FileError, InvalidValueError, NoMatchError, count

if TYPE_CHECKING:
    from waldo.datasets.storage.transfer import Transfer


@dataclass(frozen=True, kw_only=True)
class Push:
    """Upload a dataset to an object store. Episodes that are already there are skipped.

    Credentials are read from the environment, such as AWS_ACCESS_KEY_ID.
    """

    dataset: Folder
    """The dataset's folder."""
    address: DatasetAddress
    """Destination, such as `s3://bucket/name`."""
    selection: Selection = field(default_factory=Selection)
    """Filters."""

    def run(self) -> int:
        """Copy the episodes and print how many."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.storage.store_path import ObjectPath, open_path
        from waldo.datasets.storage.transfer import push

        target = open_path(self.address)
        if not isinstance(target, ObjectPath):
            raise InvalidValueError("address", self.address, "the address of an object store, such as s3://bucket/name")
        dataset = Dataset.open(self.dataset)
        indices = dataset.select(self.selection)
        if not indices:
            raise NoMatchError("episode", len(dataset.catalog), f"see: waldo list {self.dataset}")
        return _report(target, _with_progress("pushing", lambda advance: push(dataset, target, indices, advance)))


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Download a dataset from an object store. Episodes that are already here are skipped."""

    address: DatasetAddress
    """Source, such as `s3://bucket/name`."""
    dataset: Folder
    """Local folder of the dataset; created if it does not exist."""
    selection: Selection = field(default_factory=Selection)
    """Filters."""

    def run(self) -> int:
        """Copy the episodes and print how many."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.storage.transfer import free_bytes, pull
        from waldo.files import format_bytes

        source = Dataset.open(self.address)
        indices = source.select(self.selection)
        if not indices:
            raise NoMatchError("episode", len(source.catalog), f"see: waldo list {self.address}")
        wanted = {*indices}
        nbytes = sum(entry.nbytes for entry in source.catalog if entry.episode in wanted)
        if nbytes > free_bytes(self.dataset):
            found = f"{format_bytes(free_bytes(self.dataset))} free, the episodes need {format_bytes(nbytes)}"
            raise FileError(self.dataset, found, "free some space or select fewer episodes")
        return _report(
            self.dataset, _with_progress("pulling", lambda advance: pull(source, self.dataset, indices, advance))
        )


def _with_progress(label: str, work: Callable[[Callable[[int, int], None]], Transfer]) -> Transfer:
    with console.progress() as progress:
        bar: Any = progress.add_task(label, total=None, note="")
        return work(lambda done, total: progress.update(bar, completed=done, total=total))


def _report(target: object, done: Transfer) -> int:
    from waldo.files import format_bytes

    removed = f", {done.removed} removed" if done.removed else ""
    console.out().print(
        f"{target}: {count(done.moved, 'episode')} copied ({format_bytes(done.nbytes)}), {done.kept} skipped{removed}",
        markup=False,
    )
    return 0
