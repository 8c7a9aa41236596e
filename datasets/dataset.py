"""A dataset: a folder of episodes, recorded by one process at a time (see layout.py for its files)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any

from waldo import __version__
from waldo.datasets import catalog
from waldo.datasets.catalog import Catalog
from waldo.datasets.compatibility import IncompatibleError, differences
from waldo.datasets.edits import Edits, Subtask
from waldo.datasets.episode import Episode
from waldo.datasets.episodes import Episodes
from waldo.datasets.recording.encoding import BackPressure
from waldo.datasets.recording.finalize import finalize
from waldo.datasets.recording.finalizer import Finalizer
from waldo.datasets.recording.recover import Recovered, recover, remove_unfinished
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.selection import Outcome, Selection
from waldo.datasets.storage import description
from waldo.datasets.storage.episode_attributes import MAX_WINDING, MAX_WINDING_0_1
from waldo.datasets.storage.index_allocator import IndexAllocator
from waldo.datasets.storage.layout import (
    DATASET_FILE,
    EpisodeEntry,
    episode_entries,
    episode_index,
    episode_name,
    journal_name,
)
from waldo.datasets.storage.lock import hold_lock
from waldo.datasets.storage.store_path import StorePath, entry_names, open_path, require_local
from waldo.datasets.streams import Stream
from waldo.errors import FileError, InvalidValueError, WaldoError
from waldo.files import require_empty

RESERVED = (
    "format",
    "schema_version",
    "outcome",
    "reason",
    "streams",
    "events",
    "span_ns",
    "nbytes",
    MAX_WINDING,
    MAX_WINDING_0_1,
    "journal_lost_bytes",
    "metadata_crc32c",
)
"""Attributes of an episode that the store writes itself."""

MAX_LATENCY_NS = 5_000_000_000
"""Largest accepted latency of a camera [ns]; a larger one is most likely in the wrong unit."""

IN_DATASET = "one of the dataset's"

CORRECT_SETUP = "correct the setup, or record into a new folder"


class LockRequiredError(WaldoError):
    """An operation that is only allowed while the dataset's lock is held."""

    def __init__(self, path: object, action: str) -> None:
        """Build the message from the dataset's path and the operation."""
        super().__init__(f"to {action}, hold the lock of {path}: use `with dataset.lock():`")


class Dataset:
    """A folder of episodes, local or in an object store. Recording, recovering and pruning require the lock."""

    def __init__(self, path: StorePath, robot: str) -> None:
        """Use `create` or `open` instead."""
        self.path, self.robot = path, robot
        self.on_finalized: Callable[[int], None] | None = None
        """Called with the index of each episode when it is finalized, in the thread that finalizes it."""
        self._listed: list[str] | None = None
        self._allocator: IndexAllocator | None = None
        self._finalizer = Finalizer(self._finalize)
        self._edits: Edits | None = None
        self._catalog: tuple[object, Catalog] | None = None

    @classmethod
    def create(cls, path: str | Path, *, robot: str) -> Dataset:
        """Create a dataset in a folder that is empty or does not exist."""
        folder = Path(path)
        if (folder / DATASET_FILE).exists():
            raise FileError(folder, "already contains a dataset", "open it, or choose another folder")
        require_empty(folder, "choose a new folder for the dataset")
        description.create(folder, robot)
        return cls(folder, robot)

    @classmethod
    def open(cls, path: str | StorePath) -> Dataset:
        """Open an existing dataset: a folder, or an address such as `s3://bucket/name`.

        A dataset in an object store can be read and edited; `waldo push` adds episodes to it.
        """
        folder = open_path(path)
        return cls(folder, description.robot_of(folder))

    @contextmanager
    def lock(self, holder: str = "") -> Generator[Dataset]:
        """Exclude other recorders for the duration of the block; the lock of a dead process is free.

        Args:
            holder: Name of this program, shown to other processes.
        """
        with hold_lock(self.folder("record, recover or prune"), holder):
            self._allocator = IndexAllocator(self._highest_index, self._is_used)
            try:
                yield self
            finally:
                self._allocator = None
                self._finalizer.wait()

    # Recording

    def begin(
        self, streams: Sequence[Stream], attributes: Mapping[str, Any], *, back_pressure: BackPressure = "spill"
    ) -> EpisodeWriter:
        """Start recording an episode.

        Args:
            streams: The streams to record.
            attributes: Task, seed, operator and any other values that JSON can represent.
            back_pressure: What happens when an encoder falls behind.

        Raises:
            NotFinalizedError: If an earlier episode, saved in the background, could not be finalized.
        """
        allocator = self._require_lock("record an episode")
        self._finalizer.raise_failure()
        for name in RESERVED:
            if name in attributes:
                raise InvalidValueError(
                    f"attribute {name}", attributes[name], "no such attribute: it is written by waldo"
                )
        if attributes.get("robot", self.robot) != self.robot:
            raise InvalidValueError("attribute robot", attributes["robot"], f"the dataset's robot {self.robot!r}")
        index = allocator.peek()
        journal = self.journal_path(index)
        writer = EpisodeWriter(
            journal,
            journal.with_suffix(".zarr"),
            streams,
            {"robot": self.robot, "software": {"waldo": __version__}, **attributes},
            back_pressure=back_pressure,
            finalize=self._finalize,
            finalize_later=self._finalizer.add,
        )
        allocator.confirm(index)
        return writer

    def reserve(self, count: int) -> range:
        """Reserve indices for writers in other processes; no one else gets them while the lock is held."""
        return self._require_lock("reserve indices").reserve(count)

    @property
    def next_index(self) -> int:
        """The index that the next episode gets: above every index that was ever used here."""
        return self._allocator.peek() if self._allocator else 1 + self._highest_index()

    def check_resume(self, robot: str, streams: Sequence[Stream]) -> None:
        """Raise IncompatibleError if the robot, the cameras, the joints or the rates differ from the last episode."""
        self.check_robot(robot)
        last = max(self.indices, default=None)
        found = [] if last is None else differences(self.episodes.with_index(last).streams.values(), streams)
        if found:
            raise IncompatibleError(f"{self.path} cannot be continued", found, CORRECT_SETUP)

    def check_robot(self, robot: str) -> None:
        """Raise IncompatibleError if the dataset is of another robot."""
        if robot != self.robot:
            found = [f"robot: {self.robot} in the dataset, {robot} here"]
            raise IncompatibleError(f"{self.path} cannot be continued", found, CORRECT_SETUP)

    def nominal_rate_hz(self, stream: str) -> float | None:
        """Return the nominal rate of a stream in the last episode [Hz]; None if there is none."""
        last = max(self.indices, default=None)
        found = None if last is None else self.episodes.with_index(last).streams.get(stream)
        return None if found is None else found.rate_hz

    @property
    def pending(self) -> int:
        """Number of saved episodes that are not finalized yet; a crash loses none of them."""
        return self._finalizer.pending

    def wait(self, report: Callable[[int], None] | None = None) -> None:
        """Wait until every saved episode is finalized; raise NotFinalizedError if one could not be.

        Args:
            report: Called every second with the number of episodes that remain.
        """
        self._finalizer.wait(report)

    def recover(self) -> Sequence[Recovered]:
        """Finish the episodes that a crash cut off; return what was recovered and what was lost."""
        self._require_lock("recover episodes")
        self._finalizer.wait()
        remove_unfinished(self.folder("recover"))
        return [recover(journal, self._finalize) for journal in self.unfinished]

    # Episodes

    def folder(self, action: str) -> Path:
        """Return the dataset's folder; raise FileError in an object store, where `action` is not possible."""
        return require_local(self.path, action)

    def journal_path(self, index: int) -> Path:
        """Return the path of an episode's journal."""
        return self.folder("record") / journal_name(index)

    def episode_path(self, index: int) -> StorePath:
        """Return the path of a finished episode."""
        return self.path / episode_name(index)

    @property
    def edits(self) -> Edits:
        """The edits of the episodes, up to date."""
        if self._edits is None:
            self._edits = Edits(self.path)
        self._edits.refresh()
        return self._edits

    @property
    def catalog(self) -> Catalog:
        """One entry per episode, after all edits, without opening the episodes."""
        indices, edits = self.indices, self.edits
        key = (indices, edits.nbytes)
        if self._catalog is None or self._catalog[0] != key:
            self._catalog = key, catalog.load(self.path, indices, edits)
        return self._catalog[1]

    @property
    def deleted(self) -> Catalog:
        """The episodes that were deleted and can be restored."""
        restorable = self.edits.deleted - self.edits.pruned
        return catalog.load(self.path, [index for index in self.stored_indices if index in restorable], self.edits)

    @property
    def episodes(self) -> Episodes:
        """The finished episodes by position; each is opened when it is accessed."""
        edits = self.edits
        return Episodes([(i, partial(Episode, self.episode_path(i), edits=edits.of(i))) for i in self.indices])

    def episode(self, index: int) -> Episode:
        """Open a finished episode by its index."""
        if index in self.edits.deleted:
            raise InvalidValueError("episode index", index, IN_DATASET)
        return self.stored_episode(index)

    def stored_episode(self, index: int) -> Episode:
        """Open a finished episode by its index, also a deleted one."""
        if not self.episode_path(index).is_dir():
            raise InvalidValueError("episode index", index, IN_DATASET)
        return Episode(self.episode_path(index), edits=self.edits.of(index))

    @property
    def indices(self) -> Sequence[int]:
        """The indices of the finished episodes that are not deleted, in the order of `episodes`."""
        deleted = self.edits.deleted
        return [index for index in self.stored_indices if index not in deleted]

    @property
    def stored_indices(self) -> list[int]:
        """The indices of all episodes with files, including deleted ones."""
        return sorted(entry.episode for entry in self._entries() if entry.kind == "zarr")

    @property
    def unfinished(self) -> Sequence[Path]:
        """The journals of episodes that are being recorded or were cut off."""
        if not isinstance(self.path, Path):
            return []
        return sorted(self.path / entry.name for entry in self._entries() if entry.kind == "journal")

    def select(self, selection: Selection) -> list[int]:
        """Return the indices of the episodes that match the filters, in increasing order."""
        return selection.of(self.catalog)

    # Edits

    @property
    def latency_ns(self) -> Mapping[str, int]:
        """Camera -> delay between exposure and stamp [ns], for episodes without a value of their own."""
        return self.edits.latency_ns

    def delete(self, indices: Iterable[int]) -> None:
        """Exclude episodes from everything; `restore` brings them back, `prune` frees their disk space."""
        self.edits.append("delete", _checked(indices, self.indices, IN_DATASET))

    def restore(self, indices: Iterable[int]) -> None:
        """Bring deleted episodes back."""
        restorable = [entry.episode for entry in self.deleted]
        self.edits.append("restore", _checked(indices, restorable, "one that was deleted and not yet pruned"))

    def relabel(self, indices: Iterable[int], *, task: str | None = None, outcome: Outcome | None = None) -> None:
        """Change the instruction or the outcome of episodes; the recorded values stay in the episodes."""
        if outcome is not None and outcome not in OUTCOMES:
            raise InvalidValueError("outcome", outcome, f"one of {', '.join(OUTCOMES)}")
        if task is not None and not task.strip():
            raise InvalidValueError("task", task, "an instruction in words")
        labels = {key: value for key, value in (("task", task), ("outcome", outcome)) if value is not None}
        if not labels:
            raise InvalidValueError("new label", None, "a new task or a new outcome")
        self.edits.append("relabel", _checked(indices, self.indices, IN_DATASET), **labels)

    def set_subtasks(self, index: int, subtasks: Iterable[Subtask]) -> None:
        """Set the subtasks of an episode; the recorded ones stay in the episode."""
        ordered = sorted(subtasks, key=lambda one: one.start_s)
        values = [[one.start_s, one.text.strip()] for one in ordered]
        self.edits.append("subtasks", _checked([index], self.indices, IN_DATASET), subtasks=values)

    def set_latency(self, latency_ns: Mapping[str, int], indices: Iterable[int] | None = None) -> None:
        """Set each camera's delay between exposure and stamp [ns], for these episodes or by default for all."""
        for camera, value in latency_ns.items():
            if not -MAX_LATENCY_NS <= value <= MAX_LATENCY_NS:
                raise InvalidValueError(f"latency of {camera}", f"{value / 1e6:g} ms", "at most 5 s")
        chosen = None if indices is None else _checked(indices, self.indices, IN_DATASET)
        self.edits.append("latency", chosen, cameras=dict(latency_ns))

    def undo(self) -> int:
        """Delete the last finished episode and return its index, which is not used again."""
        self._require_lock("delete the last episode")
        self._finalizer.wait()
        indices = self.indices
        if not indices:
            raise FileError(self.path, "contains no episode to delete")
        self.delete([indices[-1]])
        return indices[-1]

    def prune(self) -> int:
        """Remove the files of deleted episodes permanently and return the freed bytes."""
        self._require_lock("prune deleted episodes")
        folder = self.folder("prune")
        pruned = [index for index in self.stored_indices if index in self.edits.deleted]
        if pruned:
            # The line comes first: an episode that a crash leaves half removed is removed by the next call.
            self.edits.append("collect", pruned)
        return sum(_remove(folder / episode_name(index)) for index in pruned)

    def _finalize(self, journal: Path, destination: Path) -> Mapping[str, Any]:
        """Finalize an episode and add it to the catalog."""
        attributes = finalize(journal, destination)
        index = episode_index(destination)
        with suppress(OSError, FileError):  # the catalog is derived: the next reader completes it
            catalog.add(self.path, [catalog.describe(destination, index)])
        if self.on_finalized is not None:
            self.on_finalized(index)
        return attributes

    def _entries(self) -> Iterable[EpisodeEntry]:
        """Return the entries of the dataset's folder that belong to episodes."""
        return episode_entries(entry_names(self.path) if isinstance(self.path, Path) else self._complete())

    def _complete(self) -> list[str]:
        """Return the complete episodes in an object store, listed once: an upload ends with the root `zarr.json`."""
        if self._listed is None:
            known = {episode_name(row[0]) for row in catalog.rows(self.path / catalog.FILE)}
            names = [entry.name for entry in episode_entries(entry_names(self.path))]
            self._listed = [name for name in names if name in known or (self.path / name / "zarr.json").is_file()]
        return self._listed

    def _highest_index(self) -> int:
        """Return the highest index that was ever used; -1 if there is none."""
        return max(self.edits.highest_index, max((entry.episode for entry in self._entries()), default=-1))

    def _is_used(self, index: int) -> bool:
        """Return whether an episode is being recorded or finished."""
        return self.journal_path(index).exists() or self.episode_path(index).exists()

    def _require_lock(self, action: str) -> IndexAllocator:
        if self._allocator is None:
            raise LockRequiredError(self.path, action)
        return self._allocator


def _checked(indices: Iterable[int], available: Iterable[int], expected: str) -> list[int]:
    """Return indices as a list; raise InvalidValueError if one is not available or there are none."""
    chosen, known = list(indices), set(available)
    for index in chosen:
        if index not in known:
            raise InvalidValueError("episode index", index, expected)
    if not chosen:
        raise InvalidValueError("episodes", "none", "at least one")
    return chosen


def _remove(episode: Path) -> int:
    """Remove an episode's folder and return the bytes that no other dataset shares."""
    stats = [path.lstat() for path in episode.rglob("*")]
    freed = sum(stat.st_size for stat in stats if stat.st_nlink == 1 and S_ISREG(stat.st_mode))
    shutil.rmtree(episode)
    return freed
