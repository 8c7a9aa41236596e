"""The export seam: the config of a format opens a target, which turns episodes of the store into that format.

The counterpart of the import seam in `waldo.datasets.formats.source`. `export_dataset` does what all exports share: it
selects the episodes, runs `Target.prepare` on one process or many, skips episodes that cannot be exported with the
reason, and puts the finished dataset in place atomically. A format adds three classes:

* a subclass of `ExportConfig` with the options of the format; `open` returns the target
* a `Target`, which reads and encodes one episode at a time; it is pickled for worker processes
* a `TargetWriter`, which writes the prepared episodes in order and lives in the calling process only

A minimal format, registered as shown in `waldo.datasets.formats.format`:

    @dataclass(frozen=True, kw_only=True)
    class CsvConfig(ExportConfig):
        rows: RowConfig = field(default_factory=RowConfig)

        def open(self, first: Episode) -> CsvTarget:
            return CsvTarget(self.rows.resolve(first))


    @dataclass(frozen=True)
    class CsvTarget:
        rows: RowConfig
        resumable = False

        def prepare(self, episode: Episode, scratch: Path) -> Rows:
            return make_rows(episode, self.rows)  # raises UnfitEpisodeError

        def writer(self, dataset: Dataset, path: Path) -> CsvWriter:
            path.mkdir()
            return CsvWriter(path)


    class CsvWriter:
        def add(self, index: int, prepared: Rows) -> None: ...

        def finish(self, progress: Progress) -> ExportStats: ...

        def close(self) -> None: ...
"""

from __future__ import annotations

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from waldo.datasets.jobs import Jobs, run
from waldo.datasets.reading.row_config import UnfitEpisodeError
from waldo.datasets.selection import Selection
from waldo.errors import FileError, NoMatchError
from waldo.files import PARTIAL, require_empty, sync_file, sync_tree
from waldo.typing import Progress

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.episode import Episode
    from waldo.datasets.storage.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStats:
    """The contents of an exported dataset."""

    rows: int
    """Number of rows over all episodes; for a format without rows, number of messages of numeric streams."""
    frames_copied: int = 0
    """Number of frames whose encoded bytes were copied."""
    frames_encoded: int = 0
    """Number of frames that were decoded and encoded again."""
    frame_error_ms: Mapping[str, float] = field(default_factory=dict)
    """Camera name -> largest distance in time between a frame and its row [ms]; empty for a format without rows."""
    notes: Sequence[str] = ()
    """Information that the format cannot store, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult(ExportStats):
    """The outcome of an export."""

    path: Path
    """The exported dataset."""
    episodes: int
    """Number of exported episodes."""
    unselected: int
    """Number of episodes that the selection excludes."""
    skipped: Mapping[int, str]
    """Episode index -> why the episode could not be exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(ABC):
    """Options of an export; each format has a subclass with its own options."""

    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """The episodes to export."""

    @abstractmethod
    def open(self, first: Episode) -> Target[Any]:
        """Return the target for this config.

        Args:
            first: The first selected episode. It determines what all episodes have in common, such as the cameras
                when the config selects all of them.

        Raises:
            UnknownNameError: If the config names a camera or stream that `first` does not have.
        """


class Target[Prepared](Protocol):
    """Read and encode episodes for one format. Instances are pickled, so they must be plain values."""

    @property
    def resumable(self) -> bool:
        """Whether an interrupted export leaves files in `scratch` and `path` that the next one can use.

        The folders are kept only between exports of the same episodes, edits and config; otherwise they are deleted.
        """
        ...

    def prepare(self, episode: Episode, scratch: Path) -> Prepared:
        """Return an episode ready to be written; called once per episode, in any process.

        Args:
            episode: The episode, opened in this process.
            scratch: Folder for temporary files, shared by all episodes and on the same file system as the target. It
                may not exist yet. It is deleted when the export is complete.

        Returns:
            A picklable value for `TargetWriter.add`; large data belongs into `scratch`.

        Raises:
            UnfitEpisodeError: If the episode cannot be exported. It is skipped, and the export continues.
        """
        ...

    def writer(self, dataset: Dataset, path: Path) -> TargetWriter[Prepared]:
        """Return the writer of a new dataset; called once, in the calling process.

        Args:
            dataset: The dataset that is exported, for metadata such as the robot's name.
            path: File or folder to create, named like the final target. The parent exists. With `resumable`, `path`
                may be a folder left by an interrupted export.
        """
        ...


class TargetWriter[Prepared](Protocol):
    """Write the prepared episodes of one export."""

    def add(self, index: int, prepared: Prepared) -> None:
        """Append an episode. Called in the order of the selection.

        A format whose arrays need the total number of rows may collect the episodes here and write them in `finish`.

        Raises:
            UnfitEpisodeError: If the episode does not fit the ones before it, for example because it has other
                columns. Nothing of it may have been written.
        """
        ...

    def finish(self, progress: Progress) -> ExportStats:
        """Write everything that remains and return the contents. Not called if no episode was added.

        Args:
            progress: For work of more than two seconds; called with its own number of steps.
        """
        ...

    def close(self) -> None:
        """Close open files; called exactly once, after `finish` or after a failure."""
        ...


def export_dataset(
    dataset: Dataset,
    out: str | Path,
    config: ExportConfig,
    *,
    jobs: Jobs | None = None,
    progress: Progress = lambda done, total: None,
) -> ExportResult:
    """Export a dataset to the file or folder `out`, which is written completely or not at all.

    Args:
        dataset: The dataset to export.
        out: The target; it must not exist or be an empty folder.
        config: Options; its class determines the format, for example `LeRobotConfig`.
        jobs: Where episodes are prepared: in this process (default), in several processes or on a Ray cluster.
        progress: Called with the number of exported episodes and the number of selected ones.

    Raises:
        FileError: If `out` is not empty, or if no episode can be exported.
        NoMatchError: If the selection matches no episode.
    """
    target_path = Path(out).absolute()
    require_empty(target_path)
    chosen = _choose(dataset, config.selection)
    first = dataset.episode(chosen[0])
    target = config.open(first)
    fingerprint = _fingerprint(dataset, first, chosen, config) if target.resumable else ""
    building = _Building(target_path, fingerprint)
    with building, closing(target.writer(dataset, building.path)) as writer:
        skipped = _write(dataset, chosen, target, writer, building.scratch, jobs or Jobs(), progress)
        stats = writer.finish(progress)
    building.publish()
    return ExportResult(
        **{entry.name: getattr(stats, entry.name) for entry in fields(ExportStats)},
        path=Path(out),
        episodes=len(chosen) - len(skipped),
        unselected=len(dataset.indices) - len(chosen),
        skipped=skipped,
    )


def _choose(dataset: Dataset, selection: Selection) -> list[int]:
    """Return the indices of the selected episodes; at least one."""
    chosen = dataset.select(selection)
    if not chosen:
        raise NoMatchError("episode", len(dataset.indices), "by default only successful episodes are exported")
    return chosen


def _write(
    dataset: Dataset,
    chosen: Sequence[int],
    target: Target[Any],
    writer: TargetWriter[Any],
    scratch: Path,
    jobs: Jobs,
    progress: Progress,
) -> dict[int, str]:
    """Prepare and write the chosen episodes; return the reasons for the skipped ones."""
    skipped: dict[int, str] = {}
    progress(0, len(chosen))
    prepared = run(partial(_prepare, dataset.path, target, scratch), chosen, jobs)
    for done, (index, found) in enumerate(prepared, 1):
        try:
            if isinstance(found, UnfitEpisodeError):
                raise found
            writer.add(index, found)
        except UnfitEpisodeError as error:
            skipped[index] = error.why
        progress(done, len(chosen))
    if len(skipped) == len(chosen):
        raise FileError(dataset.path, f"no episode can be exported ({_reasons(skipped)})", "see: waldo check")
    return skipped


def _reasons(skipped: Mapping[int, str]) -> str:
    return "; ".join(f"episode {index}: {why}" for index, why in skipped.items())


def _prepare(path: StorePath, target: Target[Any], scratch: Path, index: int) -> Any:
    """Prepare one episode in any process; an unfit episode is returned as the error."""
    from waldo.datasets.dataset import Dataset as OpenDataset

    try:
        return target.prepare(OpenDataset.open(path).episode(index), scratch)
    except UnfitEpisodeError as error:
        return error


def _fingerprint(dataset: Dataset, first: Episode, chosen: Sequence[int], config: ExportConfig) -> str:
    """Return a digest of everything that determines the contents of an export."""
    plan = [str(dataset.path.absolute()), type(config).__qualname__, asdict(config)]
    digest = hashlib.sha256(json.dumps(plan, default=str).encode())
    for index in chosen:
        episode = first if index == first.index else dataset.episode(index)
        version = [index, episode.attributes["metadata_crc32c"], asdict(episode.edits)]
        digest.update(json.dumps(version, default=str).encode())
    return digest.hexdigest()


class _Building:
    """The folder beside the target in which an export is built: the target itself, scratch files and a fingerprint.

    As a context manager it deletes the folder on an exception, unless an export with the same fingerprint can resume.
    """

    def __init__(self, target: Path, fingerprint: str) -> None:
        self._target, self._resumable = target, bool(fingerprint)
        self._folder = target.with_name(f".{target.name}{PARTIAL}")
        self.path = self._folder / target.name
        self.scratch = self._folder / "scratch"
        mark = self._folder / "fingerprint"
        if not (fingerprint and mark.is_file() and mark.read_text() == fingerprint):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            mark.write_text(fingerprint)

    def __enter__(self) -> _Building:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not self._resumable:
            shutil.rmtree(self._folder, ignore_errors=True)

    def publish(self) -> None:
        """Move the finished dataset to its place and delete the folder."""
        (sync_tree if self.path.is_dir() else sync_file)(self.path)
        if self._target.is_dir():
            self._target.rmdir()
        self.path.replace(self._target)
        sync_file(self._target.parent)
        shutil.rmtree(self._folder, ignore_errors=True)
