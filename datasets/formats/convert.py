"""Import: the episodes of any source into a dataset, on one process or many, and again from where it stopped.

Every imported episode names where it comes from (attribute `source`) and ends with the reason "imported". A second run
leaves out what is there already; what an interrupted one left half done is removed and imported anew.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from waldo import __version__
from waldo.datasets.compatibility import differences
from waldo.datasets.dataset import RESERVED, Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.cameras_in import losses_db
from waldo.datasets.formats.detect import open_source
from waldo.datasets.formats.resume import IMPORTED, clear, missing
from waldo.datasets.formats.source import EpisodeDraft, Format, ImportConfig, ImportStats, Source
from waldo.datasets.jobs import Jobs, run
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import Stream
from waldo.errors import FileError, WaldoError

RATE_TOLERANCE = 0.1
"""Rates that were counted from stamps are the same up to this share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did."""

    path: Path
    """The dataset."""
    source: str
    """The source's name."""
    format: Format
    """What the source is."""
    episodes: int
    """Episodes imported."""
    rows: int
    """Rows imported, over all streams of numbers."""
    copied: int
    """Pictures whose bytes were kept."""
    encoded: int
    """Pictures that were encoded."""
    there: int
    """Episodes that were in the dataset already."""
    left_out: Mapping[str, str]
    """Episode's name in the source -> why it could not be imported."""
    notes: Sequence[str]
    """What is lost or was never there, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What a worker must know."""

    source: Path
    """Where the source lies."""
    format: Format
    """What it is."""
    config: ImportConfig
    """How it becomes episodes."""
    dataset: Path
    """The dataset's folder."""
    robot: str
    """The robot's name."""
    reference: tuple[Stream, ...]
    """The streams that all episodes have."""
    run: int
    """Tells this import from others, as a worker may live longer than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEpisode:
    """What became of one episode."""

    why: str = ""
    """Why it could not be imported; empty if it was."""
    rows: int = 0
    copied: int = 0
    encoded: int = 0
    notes: tuple[str, ...] = ()
    losses_db: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Camera and how the source holds it -> signal-to-noise ratio of what was encoded with a loss [dB]."""


def import_dataset(
    source: Path,
    target: Path,
    config: ImportConfig,
    *,
    format: Format | None = None,
    robot: str = "",
    episodes: Iterable[int] | None = None,
    jobs: Jobs | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> ImportResult:
    """Import a source into the dataset `target`, which is made if it is not there.

    `format` None finds out what the source is; `episodes` are places in the source, None means all; `advance` hears
    how many episodes are done and how many there are.
    """
    opened = open_source(source, config, format)
    name = robot or opened.robot or "unknown"
    chosen = _chosen(opened, episodes)
    dataset = Dataset.open(target) if (target / "dataset.json").exists() else Dataset.create(target, robot=name)
    with dataset.lock("waldo import"):
        clear(dataset)
        todo = missing(dataset, opened, chosen)
        plan, notes = _plan(dataset, opened, source, todo, config, name)
        done = _run(plan, dataset, todo, jobs or Jobs(), advance)
    return ImportResult(
        path=target,
        source=opened.name,
        format=opened.format,
        episodes=sum(not one.why for one in done.values()),
        rows=sum(one.rows for one in done.values()),
        copied=sum(one.copied for one in done.values()),
        encoded=sum(one.encoded for one in done.values()),
        there=len(chosen) - len(todo),
        left_out={key: one.why for key, one in done.items() if one.why},
        notes=[*notes, *_notes(opened, list(done.values()))],
    )


def _chosen(source: Source, episodes: Iterable[int] | None) -> list[str]:
    """Return the keys of the episodes that were asked for."""
    if not source.keys:
        raise FileError(source.name, "has no episode", "check that the folder is complete")
    wanted = range(len(source.keys)) if episodes is None else sorted(set(episodes))
    chosen = [source.keys[place] for place in wanted if place < len(source.keys)]
    if not chosen:
        raise FileError(source.name, f"has {len(source.keys)} episodes and none of those asked for", "see --episodes")
    return chosen


def _plan(
    dataset: Dataset, source: Source, path: Path, todo: Sequence[str], config: ImportConfig, robot: str
) -> tuple[ImportPlan, list[str]]:
    """Return what workers must know; the streams of the first readable episode must fit to those of the dataset."""
    reference: tuple[Stream, ...] = ()
    for key in todo:
        try:
            draft = source.read(key)
        except (WaldoError, ValueError):
            continue
        last = max(dataset.indices, default=None)
        known = () if last is None else tuple(dataset.episode(last).streams.values())
        reference = _with_rates(draft, known)
        dataset.check_resume(robot, reference)
        break
    folder = Path(str(dataset.path))
    plan = ImportPlan(
        source=path,
        format=source.format,
        config=config,
        dataset=folder,
        robot=dataset.robot,
        reference=reference,
        run=time.time_ns(),
    )
    notes = [] if source.robot or robot != "unknown" else ["The source names no robot; name it with --robot."]
    return plan, notes


def _run(
    plan: ImportPlan, dataset: Dataset, todo: Sequence[str], jobs: Jobs, advance: Callable[[int, int], None]
) -> dict[str, ImportedEpisode]:
    """Import the episodes that are missing and return what became of each."""
    items = list(zip(todo, dataset.reserve(len(todo)), strict=True))
    done: dict[str, ImportedEpisode] = {}
    advance(0, len(items))
    for (key, _), one in run(partial(import_episode, plan), items, jobs):
        done[key] = one
        advance(len(done), len(items))
    return done


@lru_cache(maxsize=1)
def _opened(path: Path, format: Format, config: ImportConfig, run: int) -> Source:
    """Return the source of an import, which this process keeps open."""
    return open_source(path, config, format)


def import_episode(plan: ImportPlan, item: tuple[str, int]) -> ImportedEpisode:
    """Import one episode, in whichever process: its key in the source, and its index in the dataset."""
    key, index = item
    journal, destination = (plan.dataset / f"episode_{index:06d}{end}" for end in (".journal", ".zarr"))
    try:
        source = _opened(plan.source, plan.format, plan.config, plan.run)
        draft = source.read(key)
        streams = _fitted(draft, plan.reference)
        told = {"format": plan.format, "name": source.name, "episode": key, "digest": source.digest(key)}
        writer = EpisodeWriter(journal, destination, streams, _attributes(draft, plan, told), back_pressure="wait")
        stats = ImportStats()
        try:
            draft.write(writer, stats)
            writer.save(draft.outcome, IMPORTED)
        except BaseException:
            _discard(writer, journal)
            raise
    except WaldoError as error:
        if isinstance(error, FileError) and Path(str(error.path)).is_relative_to(plan.dataset):
            raise  # the dataset's own disk: no other episode would fare better
        return ImportedEpisode(why=str(error))
    except ValueError as error:
        return ImportedEpisode(why=f"it cannot be understood ({error})")
    return _result(draft, stats, Episode(destination))


def _discard(writer: EpisodeWriter, journal: Path) -> None:
    """Take away what was written of an episode that failed."""
    try:
        writer.discard()
    except WaldoError:
        journal.unlink(missing_ok=True)


def _attributes(draft: EpisodeDraft, plan: ImportPlan, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return an episode's attributes: what the store and the import write themselves wins."""
    told_of = {key: value for key, value in draft.attributes.items() if key not in RESERVED}
    # NaN and infinities are no JSON, though some sources have them in theirs.
    own: dict[str, Any] = json.loads(json.dumps(told_of, default=str), parse_constant=lambda _: None)
    return own | {"robot": plan.robot, "software": {"waldo": __version__}, "source": dict(told)}


def _fitted(draft: EpisodeDraft, reference: Sequence[Stream]) -> tuple[Stream, ...]:
    """Return an episode's streams; those that the other episodes do not have are refused."""
    streams = _with_rates(draft, reference)
    lines = differences(reference, streams) if reference else []
    if lines:
        raise WaldoError(f"its streams are not those of the other episodes ({'; '.join(lines)})")
    return streams


def _with_rates(draft: EpisodeDraft, reference: Sequence[Stream]) -> tuple[Stream, ...]:
    """Return an episode's streams; rates that were counted from stamps are those of the other episodes."""
    known = {stream.name: stream for stream in reference}
    return tuple(_at_rate(stream, known) if draft.estimated_rates else stream for stream in draft.streams)


def _at_rate(stream: Stream, known: Mapping[str, Stream]) -> Stream:
    other = known.get(stream.name)
    if other is None or abs(stream.rate_hz - other.rate_hz) > RATE_TOLERANCE * other.rate_hz:
        return stream
    return replace(stream, rate_hz=other.rate_hz)


def _result(draft: EpisodeDraft, stats: ImportStats, episode: Episode) -> ImportedEpisode:
    """Say what became of an episode that is sealed, and measure what its pictures lost."""
    found = losses_db(episode, stats)
    lost = [
        f"{name}: pictures that could not be decoded are lost; waldo check counts them."
        for name in episode.streams
        if episode.lost(name)
    ]
    return ImportedEpisode(
        rows=stats.rows,
        copied=stats.copied,
        encoded=stats.encoded,
        notes=(*draft.notes, *lost),
        losses_db={(name, stats.lossy[name]): found[name] for name in found},
    )


def _notes(source: Source, done: Sequence[ImportedEpisode]) -> list[str]:
    """Return what is to be said of all episodes together."""
    notes = list(source.notes)
    whole = [one for one in done if not one.why]
    for text, count in Counter(note for one in whole for note in dict.fromkeys(one.notes)).items():
        notes.append(text if count == len(whole) else f"{text} ({count} of {len(whole)} episodes)")
    for camera, holds in dict.fromkeys(key for one in whole for key in one.losses_db):
        values = [one.losses_db[camera, holds] for one in whole if (camera, holds) in one.losses_db]
        notes.append(
            f"{camera}: encoded anew from {holds}; measured on a few frames of each episode, "
            f"{sum(values) / len(values):.1f} dB PSNR on average, {min(values):.1f} dB at worst."
        )
    return notes
