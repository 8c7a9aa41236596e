"""Import the episodes of a source into a dataset, in one process or several.

Every imported episode names its origin in the attribute `source` and has the reason "imported". Running an import again
skips the episodes that are already in the dataset; a partially imported episode is removed and imported again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from waldo import __version__
from waldo.datasets.compatibility import at_similar_rates, differences
from waldo.datasets.dataset import RESERVED, Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.cameras_in import losses_db
from waldo.datasets.formats.content import DIGEST_VERSION, checkpoints
from waldo.datasets.formats.detect import open_source
from waldo.datasets.formats.readiness import missing_note, unfit_note
from waldo.datasets.formats.resume import IMPORTED, absent_in, clear, containing, missing
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, MappedKey, Source
from waldo.datasets.formats.source_keys import source_dtypes, source_keys
from waldo.datasets.formats.stream_map import MapError
from waldo.datasets.jobs import Jobs, run
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import Stream
from waldo.errors import FileError, NoMatchError, WaldoError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """The outcome of an import."""

    path: Path
    """Path of the dataset."""
    source: str
    """Name of the source."""
    format: str
    """Format of the source."""
    episodes: int
    """Number of imported episodes."""
    rows: int
    """Number of imported rows over all numeric streams."""
    copied: int
    """Number of frames whose encoded bytes were copied."""
    encoded: int
    """Number of frames that were encoded."""
    existing: int
    """Number of requested episodes that were already in the dataset."""
    skipped: Mapping[str, str]
    """Name of an episode in the source -> why it could not be imported."""
    notes: Sequence[str]
    """Information that the source lacks or the store cannot keep, one sentence each."""
    mapped: Sequence[MappedKey] = ()
    """Every key of the source with its destination, in the first episode that could be read."""
    dry_run: bool = False
    """Whether nothing was written; the numbers of episodes are then those that would be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """Everything that a worker process needs."""

    source: Path
    """Path of the source."""
    format: str
    """Format of the source."""
    config: ImportConfig
    """Options of the import."""
    dataset: Path
    """Folder of the dataset."""
    robot: str
    """Name of the robot."""
    reference: tuple[Stream, ...]
    """Streams that all episodes have."""
    run: int
    """Unique number of this import; a worker process may serve several."""
    absent: tuple[str, ...] = ()
    """Cameras that the first episode lacks and others may have."""
    first_index: int = 0
    """Smallest index of the episodes of this import."""
    mapped: tuple[MappedKey, ...] = ()
    """Every key of the source with its destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEpisode:
    """The outcome of importing one episode."""

    why: str = ""
    """Why the episode could not be imported; empty on success."""
    part_of: int | None = None
    """Stored episode that contains all of it, so that it was not imported."""
    rows: int = 0
    copied: int = 0
    encoded: int = 0
    notes: tuple[str, ...] = ()
    losses_db: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(Camera, encoding in the source) -> peak signal-to-noise ratio of its lossy encoding [dB]."""


def import_dataset(
    source: Path,
    target: Path,
    config: ImportConfig,
    *,
    format: str | None = None,
    robot: str = "",
    episodes: Iterable[int] | None = None,
    jobs: Jobs | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportResult:
    """Import a source into a dataset, which is created if it does not exist.

    Args:
        source: File or folder of the source.
        target: Folder of the dataset.
        config: Options of the import.
        format: Format of the source; None detects it.
        robot: Name of the robot; by default the one that the source names.
        episodes: Positions in the source; None imports all episodes.
        jobs: Where episodes are imported.
        dry_run: Whether only the mapping and the notes are returned and nothing is written.
        progress: Called with the number of imported episodes and the number of requested ones.

    Raises:
        FileError: If the source cannot be read or has none of the requested episodes.
        MapError: If the mapping of the config does not fit the source.
        IncompatibleError: If the streams of the source differ from those of the dataset.
    """
    opened = open_source(source, config, format)
    name = robot or opened.robot or "unknown"
    chosen = _chosen(opened, episodes)
    if dry_run:
        return _preview(opened, target, chosen)
    dataset = Dataset.open(target) if (target / "dataset.json").exists() else None
    if dataset is None:
        _first_draft(opened, chosen)  # a mapping that does not fit must not leave an empty dataset
        dataset = Dataset.create(target, robot=name)
    with dataset.lock("waldo import"):
        clear(dataset)
        todo = missing(dataset, opened, chosen)
        plan, notes, lacking = _plan(dataset, opened, source, todo, config, name)
        done = _run(plan, dataset, todo, jobs or Jobs(), progress)
    return ImportResult(
        path=target,
        source=opened.name,
        format=opened.format,
        episodes=sum(not entry.why and entry.part_of is None for entry in done.values()),
        rows=sum(entry.rows for entry in done.values()),
        copied=sum(entry.copied for entry in done.values()),
        encoded=sum(entry.encoded for entry in done.values()),
        existing=len(chosen) - len(todo) + sum(entry.part_of is not None for entry in done.values()),
        skipped={key: entry.why for key, entry in done.items() if entry.why},
        notes=[*notes, *_notes(opened, list(done.values())), *_parts(done), *filter(None, [lacking])],
        mapped=plan.mapped,
    )


def _parts(done: Mapping[str, ImportedEpisode]) -> list[str]:
    """Return a note for each episode that is a part of a stored one."""
    return [
        f"{key} is not imported: episode {entry.part_of} contains all of it."
        for key, entry in done.items()
        if entry.part_of is not None
    ]


def _preview(source: Source, target: Path, chosen: Sequence[str]) -> ImportResult:
    """Return what an import would do, judged by the first readable episode, without writing anything."""
    todo = list(chosen)
    if (target / "dataset.json").exists():
        todo = missing(Dataset.open(target), source, chosen, keep=True)
    draft = _first_draft(source, chosen)
    notes = [*source.notes, *(draft.notes if draft else ())]
    notes += filter(None, [missing_note(draft) if draft else "No episode can be read."])
    return ImportResult(
        path=target,
        source=source.name,
        format=source.format,
        episodes=len(todo),
        rows=0,
        copied=0,
        encoded=0,
        existing=len(chosen) - len(todo),
        skipped={},
        notes=notes,
        mapped=draft.mapped if draft else (),
        dry_run=True,
    )


def _first_draft(source: Source, keys: Sequence[str]) -> EpisodeDraft | None:
    """Return the first readable episode; None if there is none.

    Raises:
        MapError: If no episode fits the mapping of the config.
    """
    unfit: MapError | None = None
    for key in keys:
        try:
            return source.read(key)
        except MapError as error:
            unfit = unfit or error
        except (WaldoError, ValueError):
            continue
    if unfit is not None:
        raise unfit
    return None


def _chosen(source: Source, episodes: Iterable[int] | None) -> list[str]:
    """Return the keys of the requested episodes."""
    if not source.keys:
        raise FileError(source.name, "the source has no episodes", "check that the folder is complete")
    wanted = range(len(source.keys)) if episodes is None else sorted(set(episodes))
    chosen = [source.keys[place] for place in wanted if place < len(source.keys)]
    if not chosen:
        raise NoMatchError("episode", len(source.keys), f"choose --episodes from 0 to {len(source.keys) - 1}")
    return chosen


def _plan(
    dataset: Dataset, source: Source, path: Path, todo: Sequence[str], config: ImportConfig, robot: str
) -> tuple[ImportPlan, list[str], str]:
    """Return the plan for the worker processes, notes, and a note on streams that an export requires.

    Raises:
        IncompatibleError: If the streams of the first readable episode differ from those of the dataset.
        MapError: If no episode fits the mapping.
    """
    reference: tuple[Stream, ...] = ()
    draft = _first_draft(source, todo)
    if draft is not None:
        last = max(dataset.indices, default=None)
        stored = {} if last is None else dict(dataset.episode(last).streams)
        reference = _at_known_rates(draft, tuple(stored.values()))
        lacking = {*draft.absent, *(absent_in(dataset.episode(last)) if last is not None else ())}
        comparable = [stream for stream in reference if stream.name not in lacking]
        dataset.check_resume(robot, [*comparable, *(stored[name] for name in lacking & stored.keys())])
    folder = Path(str(dataset.path))
    plan = ImportPlan(
        source=path,
        format=source.format,
        config=config,
        dataset=folder,
        robot=dataset.robot,
        reference=reference,
        run=time.time_ns(),
        absent=draft.absent if draft else (),
        first_index=dataset.next_index,
        mapped=draft.mapped if draft else (),
    )
    notes = [] if source.robot or robot != "unknown" else ["The source does not name a robot; pass --robot."]
    return plan, notes, missing_note(draft) if draft else ""


def _run(
    plan: ImportPlan, dataset: Dataset, todo: Sequence[str], jobs: Jobs, progress: Callable[[int, int], None]
) -> dict[str, ImportedEpisode]:
    """Import the missing episodes and return the outcome of each."""
    items = list(zip(todo, dataset.reserve(len(todo)), strict=True))
    done: dict[str, ImportedEpisode] = {}
    progress(0, len(items))
    for (key, _), entry in run(partial(import_episode, plan), items, jobs):
        done[key] = entry
        progress(len(done), len(items))
    return done


@lru_cache(maxsize=1)
def _opened(path: Path, format: str, config: ImportConfig, run: int) -> Source:
    """Return the source of an import, which stays open in this process."""
    return open_source(path, config, format)


def import_episode(plan: ImportPlan, item: tuple[str, int]) -> ImportedEpisode:
    """Import one episode in any process.

    Args:
        plan: The plan of the import.
        item: Key of the episode in the source and index in the dataset.
    """
    key, index = item
    journal, destination = (plan.dataset / f"episode_{index:06d}{end}" for end in (".journal", ".zarr"))
    try:
        source = _opened(plan.source, plan.format, plan.config, plan.run)
        draft = source.read(key)
        streams = _fitted(draft, plan.reference, plan.absent)
        starts = checkpoints(draft.tables)
        whole = containing(plan.dataset, draft, starts, before=plan.first_index, run=plan.run)
        if whole is not None:
            return ImportedEpisode(part_of=whole)
        origin = {
            "format": plan.format,
            "name": source.name,
            "episode": key,
            "digest": source.digest(key),
            "digest_version": DIGEST_VERSION,
            "checkpoints": starts,
            "keys": source_keys(draft.mapped, plan.config.map),
            "dtypes": source_dtypes(draft.mapped),
            **({"absent": list(draft.absent)} if draft.absent else {}),
        }
        writer = EpisodeWriter(journal, destination, streams, _attributes(draft, plan, origin), back_pressure="wait")
        stats = ImportStats()
        try:
            draft.write(writer, stats)
            writer.save(draft.outcome, IMPORTED)
        except BaseException:
            _discard(writer, journal)
            raise
    except WaldoError as error:
        if isinstance(error, FileError) and Path(str(error.path)).is_relative_to(plan.dataset):
            raise  # The dataset's disk failed, so every other episode would fail too.
        return ImportedEpisode(why=str(error))
    except ValueError as error:
        return ImportedEpisode(why=f"{key}: the episode cannot be parsed ({error})")
    return _result(draft, stats, Episode(destination))


def _discard(writer: EpisodeWriter, journal: Path) -> None:
    """Delete what was written of a failed episode."""
    try:
        writer.discard()
    except WaldoError:
        journal.unlink(missing_ok=True)


def _attributes(draft: EpisodeDraft, plan: ImportPlan, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an episode; those written by the store and the import take precedence."""
    foreign = {key: value for key, value in draft.attributes.items() if key not in RESERVED}
    # JSON has no NaN or infinity, but some sources contain them.
    own: dict[str, Any] = json.loads(json.dumps(foreign, default=str), parse_constant=lambda _: None)
    return own | {"robot": plan.robot, "software": {"waldo": __version__}, "source": dict(origin)}


def _fitted(draft: EpisodeDraft, reference: Sequence[Stream], absent: Sequence[str]) -> tuple[Stream, ...]:
    """Return the streams of an episode; the cameras in `absent` are not in the reference.

    Raises:
        WaldoError: If they differ from the streams of the other episodes.
    """
    streams = _at_known_rates(draft, reference)
    lacking = {*absent, *draft.absent}
    old, new = ([stream for stream in some if stream.name not in lacking] for some in (reference, streams))
    lines = differences(old, new) if reference else []
    if lines:
        raise WaldoError(f"streams differ from those of the other episodes ({'; '.join(lines)})")
    return streams


def _at_known_rates(draft: EpisodeDraft, reference: Sequence[Stream]) -> tuple[Stream, ...]:
    """Return the streams of an episode; a rate estimated from timestamps takes the rate of the other episodes."""
    return at_similar_rates(draft.streams, reference) if draft.estimated_rates else draft.streams


def _result(draft: EpisodeDraft, stats: ImportStats, episode: Episode) -> ImportedEpisode:
    """Return the outcome of a finalized episode and measure the loss of its images."""
    found = losses_db(episode, stats)
    lost = [
        f"{name}: images that could not be decoded are missing; see: waldo check."
        for name in episode.streams
        if episode.lost(name)
    ]
    return ImportedEpisode(
        rows=stats.rows,
        copied=stats.copied,
        encoded=stats.encoded,
        notes=(*draft.notes, *lost, *filter(None, [unfit_note(episode)])),
        losses_db={(name, stats.lossy[name]): found[name] for name in found},
    )


def _notes(source: Source, done: Sequence[ImportedEpisode]) -> list[str]:
    """Return the notes of all episodes together."""
    notes = list(source.notes)
    whole = [entry for entry in done if not entry.why and entry.part_of is None]
    for text, count in Counter(note for entry in whole for note in dict.fromkeys(entry.notes)).items():
        notes.append(text if count == len(whole) else f"{text} ({count} of {len(whole)} episodes)")
    for camera, encoding in dict.fromkeys(key for entry in whole for key in entry.losses_db):
        values = [entry.losses_db[camera, encoding] for entry in whole if (camera, encoding) in entry.losses_db]
        notes.append(
            f"{camera}: converted from {encoding}; PSNR over a few frames per episode: "
            f"{sum(values) / len(values):.1f} dB on average, {min(values):.1f} dB at worst."
        )
    return notes
