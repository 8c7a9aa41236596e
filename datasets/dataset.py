"""A dataset: a folder of episodes, one recorder at a time.

::

    dataset.json            {"format": "waldo-dataset", "schema_version": 1, "robot": "so101"}
    lock                    held by the recorder (flock), and who that is
    edits.jsonl             what was changed about episodes: deleted, relabelled ...; see edits.py
    catalog.jsonl           what is known of each episode, derived; see catalog.py
    episode_000000.zarr/    a finished episode; never written again
    episode_000001.journal  the episode being recorded, or cut off by a crash: `recover` closes it
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any

from waldo import __version__
from waldo.datasets import catalog, jsonlines
from waldo.datasets.catalog import Catalog
from waldo.datasets.compatibility import MAY_BE_ABSENT, IncompatibleError, differences
from waldo.datasets.edits import Edits
from waldo.datasets.episode import Episode
from waldo.datasets.recording.encoding import BackPressure
from waldo.datasets.recording.finalize import seal
from waldo.datasets.recording.finalizer import Sealer
from waldo.datasets.recording.journal import JournalReader, Kind, Record, Scan, sync_folder
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.selection import Outcome, Selection
from waldo.datasets.store_path import Place, local, names, place
from waldo.datasets.streams import Stream
from waldo.errors import FileError, InvalidValueError, WaldoError

FORMAT = "waldo-dataset"
"""The mark in dataset.json."""

SCHEMA_VERSION = 1
"""Version of the folder's layout; a reader refuses a newer one."""

NAME = re.compile(r"episode_(\d{6,})\.(zarr|journal)(?:\.(tmp|damaged))?")
"""Names in a dataset's folder that belong to an episode."""

RESERVED = (
    "format",
    "schema_version",
    "outcome",
    "reason",
    "streams",
    "events",
    "span_ns",
    "nbytes",
    "hottest_c",
    "journal_lost_bytes",
    "metadata_crc32c",
)
"""Attributes of an episode that the store writes itself."""


NOTHING = -2
"""No episode's index, nor one before the first."""

LOST_IN_A_CRASH_S = 0.5
"""The most that is ever lost of the episode in progress [s]; benchmarks/kill.py and power_cut.py measure it."""

LONGEST_LATENCY_NS = 5_000_000_000
"""Farthest that a camera's stamp may lie from the light [ns]; more is a mistake in the unit."""


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
    note: str
    """What was done, for people."""
    lost_bytes: int
    """Bytes at the journal's end that could not be read."""
    span_ns: tuple[int, int] = (0, 0)
    """First and last stamp of what was kept [ns]."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows and frames kept, of each stream."""
    missing_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """Streams that end earlier than the longest by more than their period, and by how much [s]."""

    def __str__(self) -> str:
        """Say what was kept and what was lost."""
        parts = [f"episode {self.index}: {self.note}"]
        if self.counts:
            first, last = self.span_ns
            counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
            parts.append(f"kept {(last - first) / 1e9:.2f} s, up to {_instant(last)}: {counts}")
        if self.path is not None and self.counts:
            ends = "".join(f", {name} ends {s:.2f} s earlier" for name, s in self.missing_s.items())
            parts.append(f"lost what was on its way then, {LOST_IN_A_CRASH_S:g} s at most{ends}")
        parts.append(f"{self.lost_bytes} bytes at the end were not readable" if self.lost_bytes else "")
        return "; ".join(filter(None, parts))


class Dataset:
    """A folder of episodes, here or in an object store. Recording, recovering and collecting need the lock."""

    def __init__(self, path: Place, robot: str) -> None:
        """Take the place and the robot's name; use `create` or `open`."""
        self.path, self.robot = path, robot
        self._listed: list[str] | None = None
        self._locked = False
        self._next: int | None = None
        self._begun = NOTHING
        self.on_sealed: Callable[[int], None] | None = None
        """Hears the index of each episode as it is sealed, in whichever thread seals it."""
        self._sealer = Sealer(self._seal)
        self._edits: Edits | None = None
        self._catalog: tuple[object, Catalog] | None = None

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
    def open(cls, path: str | Place) -> Dataset:
        """Open a dataset that exists: a folder, or an address such as `s3://bucket/name`.

        In an object store it is for reading and editing; episodes come there with `waldo push`.
        """
        folder = place(path)
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
        with (self.folder("record, recover or collect") / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise DatasetLockedError(Path(file.name).parent, file.read().strip() or "another process") from None
            file.truncate(0)
            program = who or Path(sys.argv[0]).name or "python"
            file.write(f"{program}, process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            self._locked, self._next, self._begun = True, None, NOTHING
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
                raise InvalidValueError(f"attribute {name}", attributes[name], "absent: the store writes it itself")
        if attributes.get("robot", self.robot) != self.robot:
            raise InvalidValueError("attribute robot", attributes["robot"], f"the dataset's robot {self.robot!r}")
        named = {"robot": self.robot, "software": {"waldo": __version__}, **attributes}
        index = self.next_index
        journal = self.journal_path(index)
        writer = EpisodeWriter(
            journal,
            journal.with_suffix(".zarr"),
            streams,
            named,
            back_pressure=back_pressure,
            seal=self._seal,
            seal_later=self._sealer.add,
        )
        self._begun, self._next = index, index + 1
        return writer

    def reserve(self, count: int) -> range:
        """Return this many indices that nobody else gets while the lock is held: for writers in other processes."""
        self._need_lock("reserve indices")
        first = self.next_index
        self._next = first + count
        return range(first, first + count)

    def folder(self, what: str) -> Path:
        """Return the dataset's folder; an object store is refused, since it cannot do `what`."""
        return local(self.path, what)

    def journal_path(self, index: int) -> Path:
        """Return where an episode is recorded."""
        return self.folder("record") / f"episode_{index:06d}.journal"

    def episode_path(self, index: int) -> Place:
        """Return where an episode is when it is finished."""
        return self.path / f"episode_{index:06d}.zarr"

    def check_resume(self, robot: str, streams: Sequence[Stream]) -> None:
        """Refuse to go on with another robot, other cameras, joints or rates; the error says what differs."""
        found = [] if robot == self.robot else [f"robot: {self.robot} in the dataset, {robot} here"]
        last = max(self.indices, default=None)
        if last is not None:
            found += differences(self.episodes.with_index(last).streams.values(), streams)
        if found:
            raise IncompatibleError(f"{self.path} cannot be continued", found, "mend that, or record into a new folder")

    def nominal_rate_hz(self, stream: str) -> float | None:
        """Return a stream's nominal rate in the last episode [Hz]; None where there is none."""
        last = max(self.indices, default=None)
        found = None if last is None else self.episodes.with_index(last).streams.get(stream)
        return None if found is None else found.rate_hz

    def wait(self) -> None:
        """Wait until every saved episode is sealed; raise what kept one from it."""
        self._sealer.wait()

    @property
    def next_index(self) -> int:
        """The index that the next episode gets: above all that were ever saved here."""
        if not self._locked or self._next is None:
            found = max((index for index, _, _ in self._names()), default=-1)
            self._next = 1 + max(found, self.edits.highest)
        elif self._next == self._begun + 1 and not self._is_there(self._begun):
            # The last one was discarded and left nothing. One look, however many episodes there are.
            self._begun, self._next = NOTHING, self._begun
        return self._next

    def _is_there(self, index: int) -> bool:
        """Whether an episode is being recorded or finished."""
        return self.journal_path(index).exists() or self.episode_path(index).exists()

    @property
    def edits(self) -> Edits:
        """What was changed about the episodes, up to this moment."""
        if self._edits is None:
            self._edits = Edits(self.path)
        self._edits.refresh()
        return self._edits

    @property
    def catalog(self) -> Catalog:
        """What is known of each episode, after all edits, without opening one."""
        indices, edits = self.indices, self.edits
        known = (indices, edits.nbytes)
        if self._catalog is None or self._catalog[0] != known:
            self._catalog = known, catalog.load(self.path, indices, edits)
        return self._catalog[1]

    @property
    def deleted(self) -> Catalog:
        """The episodes that were deleted and can still be restored."""
        there = [index for index in self.sealed if index in self.edits.deleted - self.edits.collected]
        return catalog.load(self.path, there, self.edits)

    @property
    def episodes(self) -> Episodes:
        """The finished episodes by index; each is read when it is asked for."""
        edits = self.edits
        return Episodes([(i, partial(Episode, self.episode_path(i), edits=edits.of(i))) for i in self.indices])

    def episode(self, index: int) -> Episode:
        """Open one finished episode by its index."""
        if not self.episode_path(index).is_dir() or index in self.edits.deleted:
            raise InvalidValueError("episode index", index, "one of the dataset's")
        return Episode(self.episode_path(index), edits=self.edits.of(index))

    @property
    def indices(self) -> Sequence[int]:
        """The indices of the finished episodes, in the order of `episodes`."""
        deleted = self.edits.deleted
        return [index for index in self.sealed if index not in deleted]

    @property
    def latency_ns(self) -> Mapping[str, int]:
        """Camera -> how long after the light its frames are stamped [ns]; episodes may have another of their own."""
        return self.edits.latency_ns

    @property
    def cut(self) -> Sequence[Path]:
        """The journals of episodes that are being recorded or were cut off."""
        if not isinstance(self.path, Path):
            return []
        return sorted(self.path / name for _, name, kind in self._names() if kind == "journal")

    def select(self, selection: Selection) -> list[int]:
        """Return the indices of the episodes that are meant, in rising order."""
        return selection.of(self.catalog)

    def delete(self, indices: Iterable[int]) -> None:
        """Leave episodes out of everything from now on; `restore` brings them back, `gc` frees their space."""
        self.edits.append("delete", self._known(indices, self.indices, "one of the dataset's"))

    def restore(self, indices: Iterable[int]) -> None:
        """Bring deleted episodes back."""
        there = [entry.episode for entry in self.deleted]
        self.edits.append("restore", self._known(indices, there, "one that was deleted and not yet collected"))

    def relabel(self, indices: Iterable[int], *, task: str | None = None, outcome: Outcome | None = None) -> None:
        """Give episodes another instruction or outcome; the recorded ones stay in the episodes' own attributes."""
        if outcome is not None and outcome not in OUTCOMES:
            raise InvalidValueError("outcome", outcome, f"one of {', '.join(OUTCOMES)}")
        if task is not None and not task.strip():
            raise InvalidValueError("task", task, "an instruction in words")
        labels = {key: value for key, value in (("task", task), ("outcome", outcome)) if value is not None}
        if not labels:
            raise InvalidValueError("relabel", "nothing", "another task or another outcome")
        self.edits.append("relabel", self._known(indices, self.indices, "one of the dataset's"), **labels)

    def set_latency(self, latency_ns: Mapping[str, int], indices: Iterable[int] | None = None) -> None:
        """Say how long after the light each camera's frames are stamped [ns]; for all episodes, or for these."""
        for camera, value in latency_ns.items():
            if not -LONGEST_LATENCY_NS <= value <= LONGEST_LATENCY_NS:
                raise InvalidValueError(f"latency of {camera}", f"{value / 1e6:g} ms", "at most 5 s")
        known = None if indices is None else self._known(indices, self.indices, "one of the dataset's")
        self.edits.append("latency", known, cameras=dict(latency_ns))

    def undo(self) -> int:
        """Take back the last finished episode and return its index, which is not used again."""
        self._need_lock("take back an episode")
        self._sealer.wait()
        there = self.indices
        if not there:
            raise FileError(self.path, "has no episode that could be taken back")
        self.delete([there[-1]])
        return there[-1]

    def gc(self) -> int:
        """Remove the files of deleted episodes for good and return how many bytes that freed."""
        self._need_lock("collect deleted episodes")
        gone = [index for index in self.sealed if index in self.edits.deleted]
        if gone:
            # First the line: what is half removed when the machine dies is removed by the next call.
            self.edits.append("collect", gone)
        folder = self.folder("collect")
        return sum(_remove(folder / self.episode_path(index).name) for index in gone)

    def _known(self, indices: Iterable[int], there: Iterable[int], expected: str) -> list[int]:
        """Return indices as a list; one that is not there is refused."""
        wanted, have = list(indices), set(there)
        for index in wanted:
            if index not in have:
                raise InvalidValueError("episode index", index, expected)
        if not wanted:
            raise InvalidValueError("episodes", "none", "at least one")
        return wanted

    @property
    def sealed(self) -> list[int]:
        """The indices of the episodes that are there, deleted ones too."""
        return sorted(index for index, _, kind in self._names() if kind == "zarr")

    def _seal(self, journal: Path, destination: Path) -> Mapping[str, Any]:
        """Seal an episode and enter it in the catalogue."""
        attributes = seal(journal, destination)
        index = index_of(destination)
        with suppress(OSError, ValueError, KeyError):  # derived: whoever reads next completes it
            catalog.add(self.path, [catalog.describe(destination, index)])
        if self.on_sealed is not None:
            self.on_sealed(index)
        return attributes

    def recover(self) -> Sequence[Recovered]:
        """Close the episodes that a crash cut off and clear away what it left; return what was kept and lost."""
        self._need_lock("recover episodes")
        self._sealer.wait()
        for _, name, kind in self._names():
            if kind == "zarr.tmp":
                shutil.rmtree(self.folder("recover") / name)
        return [self._recover(path) for path in self.cut]

    def _recover(self, journal: Path) -> Recovered:
        """Close one cut episode."""
        index = index_of(journal)
        destination = journal.with_suffix(".zarr")
        with JournalReader(journal) as reader:
            scan = reader.scan
        result = partial(Recovered, index=index, lost_bytes=scan.lost_bytes)
        ends = {s["name"]: _last_ns(records) for s, records in zip(_streams_of(scan), scan.records, strict=True)}
        if destination.exists():
            # Killed between the rename and the removal: the episode is whole.
            journal.unlink()
            return result(path=destination, note="was saved already")
        if not any(scan.records):
            note = "nothing had been recorded"
            if scan.total_bytes and scan.opening is None:
                journal.rename(journal.with_name(journal.name + ".damaged"))
                note = "its beginning is not readable; the journal is kept as .damaged"
            else:
                journal.unlink()
            sync_folder(journal.parent)
            return result(path=None, note=note)
        if scan.continues:
            # Damage in the middle, not a torn end: what follows it may be worth an expert's time.
            shutil.copyfile(journal, journal.with_name(journal.name + ".damaged"))
        attributes = self._seal(journal, destination)
        counts = {name: stream["count"] for name, stream in attributes["streams"].items()}
        note = f"kept as {attributes['outcome']} ({attributes['reason']})"
        if scan.continues:
            note += "; damaged in the middle, the journal is kept as .damaged"
        span_ns = (attributes["span_ns"][0], attributes["span_ns"][1])
        late = {
            name: (span_ns[1] - ends[name]) / 1e9
            for name, stream in attributes["streams"].items()
            if counts[name] and name not in MAY_BE_ABSENT and (span_ns[1] - ends[name]) * stream["rate_hz"] > 1.5e9
        }
        return result(path=destination, counts=counts, note=note, span_ns=span_ns, missing_s=late)

    def _names(self) -> Iterator[tuple[int, str, str]]:
        """Yield index, name and kind ("zarr", "journal", "zarr.tmp", ...) of everything that belongs to an episode."""
        for name in names(self.path) if isinstance(self.path, Path) else self._complete():
            match = NAME.fullmatch(name)
            if match:
                yield int(match[1]), name, ".".join(filter(None, match.group(2, 3)))

    def _complete(self) -> list[str]:
        """Return the episodes in an object store, asked once, whose last object is there: nothing is renamed there."""
        if self._listed is None:
            known = {f"episode_{row[0]:06d}.zarr" for row in jsonlines.read(self.path / catalog.FILE).values}
            there = [name for name in names(self.path) if NAME.fullmatch(name)]
            self._listed = [name for name in there if name in known or (self.path / name / "zarr.json").is_file()]
        return self._listed

    def _need_lock(self, action: str) -> None:
        if not self._locked:
            raise WaldoError(f"{self.path}: to {action} needs the dataset's lock; use it within `with dataset.lock():`")


def _streams_of(scan: Scan) -> Sequence[Mapping[str, Any]]:
    """Return the descriptions of a journal's streams."""
    return scan.opening["streams"] if scan.opening else []


def _last_ns(records: Sequence[Record]) -> int:
    """Return the last publisher's stamp among a stream's rows and frames [ns]; 0 where there is none."""
    kept = (Kind.FRAME, Kind.SPILLED, Kind.ROW)
    return max((record.header_ns for record in records if record.kind in kept), default=0)


def _instant(stamp_ns: int) -> str:
    """Return a stamp for people, in UTC."""
    return datetime.fromtimestamp(stamp_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def index_of(path: Path) -> int:
    """Return the index in the name of an episode's journal or folder."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise FileError(path, "is not named like an episode", "expected episode_000000.zarr")
    return int(match[1])


def _remove(episode: Path) -> int:
    """Remove an episode's folder and return the bytes that no other dataset shares."""
    files = [path.lstat() for path in episode.rglob("*")]
    freed = sum(stat.st_size for stat in files if stat.st_nlink == 1 and S_ISREG(stat.st_mode))
    shutil.rmtree(episode)
    return freed


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
        raise InvalidValueError("episode index", index, f"one of the dataset's ({have})")
