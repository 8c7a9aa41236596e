"""A dataset: a folder of episodes, one recorder at a time.

::

    dataset.json                {"format": "waldo-dataset", "schema_version": 1, "robot": "so101"}
    lock                        held by the recorder (flock), and who that is
    episode_000000.zarr/        a finished episode; never written again
    episode_000001.zarr.undone/ a tombstone: an episode that was taken back; rename it to have it again
    episode_000002.journal      the episode being recorded, or cut off by a crash: `recover` closes it
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from waldo import __version__
from waldo.datasets.compatibility import IncompatibleError, differences
from waldo.datasets.encoding import BackPressure
from waldo.datasets.episode import Episode
from waldo.datasets.journal import JournalReader, sync_folder
from waldo.datasets.seal import seal
from waldo.datasets.sealer import Sealer
from waldo.datasets.streams import Stream
from waldo.datasets.writer import EpisodeWriter
from waldo.errors import ConfigError, FileError, WaldoError

FORMAT = "waldo-dataset"
"""The mark in dataset.json."""

SCHEMA_VERSION = 1
"""Version of the folder's layout; a reader refuses a newer one."""

NAME = re.compile(r"episode_(\d{6,})\.(zarr|journal)(?:\.(tmp|undone|damaged))?")
"""Names in a dataset's folder that belong to an episode."""

RESERVED = (
    "format",
    "schema_version",
    "outcome",
    "reason",
    "streams",
    "events",
    "journal_lost_bytes",
    "metadata_crc32c",
)
"""Attributes of an episode that the store writes itself."""


class DatasetLockedError(WaldoError):
    """Somebody else is recording into the dataset."""

    def __init__(self, path: Path, holder: str) -> None:
        """Take the dataset and what its lock says of who holds it."""
        super().__init__(f"{path}: is being recorded into by {holder}; wait for it or stop it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of one episode that a crash had cut off."""

    index: int
    """The episode's index."""
    path: Path | None
    """The episode; None where there was nothing to keep."""
    counts: Mapping[str, int]
    """Rows and frames kept, of each stream."""
    lost_bytes: int
    """Bytes at the journal's end that could not be read."""
    note: str
    """What was done, for people."""


class Dataset:
    """A folder of episodes. Reading needs no lock; recording, recovering and taking back do."""

    def __init__(self, path: Path, robot: str) -> None:
        """Take the folder and the robot's name; use `create` or `open`."""
        self.path, self.robot = path, robot
        self._locked = False
        self._sealer = Sealer(seal)

    @classmethod
    def create(cls, path: str | Path, *, robot: str) -> Dataset:
        """Make a new dataset in a folder that is empty or not there yet."""
        folder = Path(path)
        if (folder / "dataset.json").exists():
            raise FileError(folder, "is a dataset already", "open it, or choose another folder")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileError(folder, "is not an empty folder", "choose a new folder for the dataset")
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / "dataset.json.tmp"
        described = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "robot": robot}
        with temporary.open("w") as file:
            file.write(json.dumps(described, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / "dataset.json")
        sync_folder(folder)
        sync_folder(folder.absolute().parent)
        return cls(folder, robot)

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """Open a dataset that exists."""
        folder = Path(path)
        try:
            described = json.loads((folder / "dataset.json").read_text())
            robot, version = described["robot"], described["schema_version"]
            known = described["format"] == FORMAT
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileError(folder, "is not a dataset (it has no dataset.json)", "check the path") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(folder / "dataset.json", f"cannot be understood ({error!r})") from error
        if not known or version > SCHEMA_VERSION:
            found = f"is {described['format']!r} of version {version}, expected {FORMAT!r} of {SCHEMA_VERSION}"
            raise FileError(folder / "dataset.json", found, "update waldo")
        return cls(folder, robot)

    @contextmanager
    def lock(self, who: str = "") -> Generator[Dataset]:
        """Keep other recorders out for as long as the block runs; a dead process's lock is free again."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise DatasetLockedError(self.path, file.read().strip() or "another process") from None
            file.truncate(0)
            program = who or Path(sys.argv[0]).name or "python"
            file.write(f"{program}, process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            self._locked = True
            try:
                yield self
            finally:
                self._locked = False
                self._sealer.wait()
                file.truncate(0)

    def begin(
        self, streams: Sequence[Stream], attributes: Mapping[str, Any], *, back_pressure: BackPressure = "spill"
    ) -> EpisodeWriter:
        """Begin an episode with these streams and attributes (task, seed, operator ...: whatever JSON holds).

        `back_pressure` says what happens when an encoder falls behind. Raises what kept an earlier episode, saved
        without waiting for it, from being sealed.
        """
        self._need_lock("begin an episode")
        self._sealer.raise_failure()
        for name in RESERVED:
            if name in attributes:
                raise ConfigError(f"attribute {name}", attributes[name], "absent: the store writes it itself")
        if attributes.get("robot", self.robot) != self.robot:
            raise ConfigError("attribute robot", attributes["robot"], f"the dataset's robot {self.robot!r}")
        named = {"robot": self.robot, "software": {"waldo": __version__}, **attributes}
        stem = f"episode_{self.next_index:06d}"
        return EpisodeWriter(
            self.path / f"{stem}.journal",
            self.path / f"{stem}.zarr",
            streams,
            named,
            back_pressure=back_pressure,
            sealer=self._sealer.add,
        )

    def check_resume(self, robot: str, streams: Sequence[Stream]) -> None:
        """Refuse to go on with another robot, other cameras, joints or rates; the error says what differs."""
        found = [] if robot == self.robot else [f"robot: {self.robot} in the dataset, {robot} here"]
        last = max(self.indices, default=None)
        if last is not None:
            found += differences(self.episodes.with_index(last).streams.values(), streams)
        if found:
            raise IncompatibleError(f"{self.path} cannot be continued", found, "mend that, or record into a new folder")

    def wait(self) -> None:
        """Wait until every saved episode is sealed; raise what kept one from it."""
        self._sealer.wait()

    @property
    def next_index(self) -> int:
        """The index that the next episode gets: above all that were ever saved here."""
        return 1 + max((index for index, _, _ in self._names()), default=-1)

    @property
    def episodes(self) -> Episodes:
        """The finished episodes by index; each is read when it is asked for."""
        found = [(index, path) for index, path, kind in self._names() if kind == "zarr"]
        return Episodes([(index, partial(Episode, path)) for index, path in sorted(found)])

    @property
    def indices(self) -> Sequence[int]:
        """The indices of the finished episodes, in the order of `episodes`."""
        return sorted(index for index, _, kind in self._names() if kind == "zarr")

    @property
    def cut(self) -> Sequence[Path]:
        """The journals of episodes that are being recorded or were cut off."""
        return sorted(path for _, path, kind in self._names() if kind == "journal")

    def undo(self) -> int:
        """Take back the last finished episode and return its index, which is not used again."""
        self._need_lock("take back an episode")
        self._sealer.wait()
        found = sorted((index, path) for index, path, kind in self._names() if kind == "zarr")
        if not found:
            raise FileError(self.path, "has no episode that could be taken back")
        index, path = found[-1]
        path.rename(path.with_name(path.name + ".undone"))
        sync_folder(self.path)
        return index

    def recover(self) -> Sequence[Recovered]:
        """Close the episodes that a crash cut off and clear away what it left; return what was kept and lost."""
        self._need_lock("recover episodes")
        self._sealer.wait()
        for _, path, kind in self._names():
            if kind == "zarr.tmp":
                shutil.rmtree(path)
        return [self._recover(path) for path in self.cut]

    def _recover(self, journal: Path) -> Recovered:
        """Close one cut episode."""
        index = int(NAME.fullmatch(journal.name)[1])  # type: ignore[index]
        destination = journal.with_suffix(".zarr")
        with JournalReader(journal) as reader:
            scan = reader.scan
        result = partial(Recovered, index=index, lost_bytes=scan.lost_bytes)
        if destination.exists():
            # Killed between the rename and the removal: the episode is whole.
            journal.unlink()
            return result(path=destination, counts={}, note="was saved already")
        if not any(scan.records):
            note = "nothing had been recorded"
            if scan.total_bytes and scan.opening is None:
                journal.rename(journal.with_name(journal.name + ".damaged"))
                note = "its beginning is not readable; the journal is kept as .damaged"
            else:
                journal.unlink()
            sync_folder(self.path)
            return result(path=None, counts={}, note=note)
        if scan.continues:
            # Damage in the middle, not a torn end: what follows it may be worth an expert's time.
            shutil.copyfile(journal, journal.with_name(journal.name + ".damaged"))
        attributes = seal(journal, destination)
        counts = {name: stream["count"] for name, stream in attributes["streams"].items()}
        note = f"kept as {attributes['outcome']} ({attributes['reason']})"
        if scan.continues:
            note += "; damaged in the middle, the journal is kept as .damaged"
        return result(path=destination, counts=counts, note=note)

    def _names(self) -> Iterator[tuple[int, Path, str]]:
        """Yield index, path and kind ("zarr", "journal", "zarr.tmp", ...) of everything that belongs to an episode."""
        for path in self.path.iterdir():
            match = NAME.fullmatch(path.name)
            if match:
                yield int(match[1]), path, ".".join(part for part in match.groups()[1:] if part)

    def _need_lock(self, action: str) -> None:
        if not self._locked:
            raise WaldoError(f"{self.path}: to {action} needs the dataset's lock; use it within `with dataset.lock():`")


class Episodes(Sequence[Episode]):
    """The episodes of a dataset, opened one by one."""

    def __init__(self, items: Sequence[tuple[int, Callable[[], Episode]]]) -> None:
        """Take index and opener of each."""
        self._items = items

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self._items)

    def __getitem__(self, position: Any) -> Any:
        """Return the episode at a position (not the one with that index: taken back ones are left out)."""
        if isinstance(position, slice):
            return Episodes(self._items[position])
        return self._items[position][1]()

    def with_index(self, index: int) -> Episode:
        """Return the episode with this index."""
        for known, opener in self._items:
            if known == index:
                return opener()
        have = f"{self._items[0][0]} to {self._items[-1][0]}" if self._items else "none"
        raise ConfigError("episode index", index, f"one of the dataset's ({have})")
