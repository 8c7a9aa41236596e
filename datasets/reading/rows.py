"""Resample an episode to a table of rows at a constant rate, as training formats store it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.reading import following
from waldo.datasets.reading.align import Alignment, Policy, Times, align, frame_grid, regular_grid
from waldo.datasets.reading.clocks import with_stamps
from waldo.datasets.reading.gaps import describe_gap
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError, camera_streams
from waldo.datasets.schema import ACTION_STREAMS, APPLIED, COMMAND, CONTROL, ENVIRONMENT, MOTORS, STATE
from waldo.datasets.streams import ScalarStream, VideoStream
from waldo.errors import UnknownNameError, count

DISENGAGED_PERIODS = 2.5
"""Gap between commands, in periods of the stream, from which the operator is considered disengaged."""

FILL_S = 1.0
"""Longest time before the first known value of telemetry that gets this value [s]; with a later one it is left out."""

REQUIRED = (schema.OBSERVATION_STATE, schema.ACTION)
"""Columns that every row has."""

SLOW_PERIODS = 2.5
"""Largest age of telemetry in periods of its stream, where that is more than `max_staleness_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of rows."""

    names: tuple[str, ...]
    """Label of each number in a row."""
    values: NDArray[Any]
    """Shape (rows, names): float32, or float64 where a stream that is not waldo's own is stored as that."""
    unit: str = ""
    """Unit of the numbers; empty if it is unknown or differs between them."""
    stream: str = ""
    """Stream that the numbers are from."""
    field: str = ""
    """Field of that stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """An episode at a constant rate."""

    instants_ns: Times
    """Time of each row, shape (rows,) [ns since the epoch]."""
    columns: Mapping[str, Column]
    """LeRobot key -> column."""
    frames: Mapping[str, NDArray[np.int64]]
    """Camera stream -> index of the frame of each row, shape (rows,)."""
    frame_sizes: Mapping[str, tuple[int, int]]
    """Camera stream -> height and width [px]."""
    frame_error_s: Mapping[str, float]
    """Camera stream -> largest distance in time between a frame and its row [s]."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.instants_ns)

    def part(self, first: int, stop: int) -> Rows:
        """Return some of the rows, from `first` up to and without `stop`."""
        return replace(
            self,
            instants_ns=self.instants_ns[first:stop],
            columns={key: replace(column, values=column.values[first:stop]) for key, column in self.columns.items()},
            frames={name: indices[first:stop] for name, indices in self.frames.items()},
        )

    def without(self, key: str) -> Rows:
        """Return the rows without a column."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name != key})

    @property
    def layout(self) -> Mapping[str, object]:
        """The names of each column and the size of each camera; equal in all episodes of one table."""
        return {key: column.names for key, column in self.columns.items()} | dict(self.frame_sizes)

    def with_types(self, index: int, dtypes: Mapping[str, np.dtype[Any]]) -> Rows:
        """Return the rows with columns of other types.

        Args:
            index: Index of the episode.
            dtypes: LeRobot key -> type; other columns stay as they are.

        Raises:
            UnfitEpisodeError: If a type cannot represent every value of its column.
        """
        columns = dict(self.columns)
        for key in columns.keys() & dtypes.keys():
            values = _exactly(columns[key].values, dtypes[key])
            if values is None:
                why = f"{key} is {dtypes[key]}, which cannot represent all its values"
                raise UnfitEpisodeError(index, f"{why}; leave its stream out with --without")
            columns[key] = replace(columns[key], values=values)
        return replace(self, columns=columns)


def require_layout(index: int, layout: Mapping[str, object], reference: Mapping[str, object]) -> None:
    """Raise unless an episode has the same columns and cameras as the first one of a table.

    Raises:
        UnfitEpisodeError: If `layout` differs from `reference`; the message lists the differing columns.
    """
    keys = sorted(key for key in layout.keys() | reference.keys() if layout.get(key) != reference.get(key))
    if keys:
        kept = [key for key in keys if key in (*REQUIRED, schema.OBSERVATION_ENVIRONMENT) or schema.is_camera(key)]
        do = "" if kept else "; leave their streams out with --without"
        raise UnfitEpisodeError(index, f"columns differ from those of the first episode: {', '.join(keys)}{do}")


def make_rows(episode: Episode, config: RowConfig) -> Rows:
    """Return the episode resampled to rows.

    Rows at either end that lack a required sample are dropped.

    Raises:
        UnfitEpisodeError: If a required stream is absent, has a gap longer than `max_staleness_s` or contains a value
            that is not finite, if its stamps are of another clock than those of the others, or if the robot did not
            follow its commands for a time.
    """
    episode = with_stamps(episode, config.stamps)
    if not config.keep_not_following and (why := following.describe(following.lapses(episode))):
        raise UnfitEpisodeError(episode.index, f"{why}; pass --keep-not-following to use it")
    cameras = _cameras(episode, config)
    sources = _sources(episode, config)
    instants = _instants(episode, config, sources, cameras)
    aligned = {source.stream: _align(episode, source, instants, config) for source in sources}
    for name in cameras:
        aligned[name] = align(instants, episode.capture_ns(name), "nearest", max_staleness_s=config.max_staleness_s)
    values = _values(episode, sources, aligned)
    if config.action == "command" and APPLIED in aligned:
        _fill_disengaged(episode, aligned, values)
    elif schema.TELEMETRY_COMMAND in values:
        # While the operator is disengaged there is no command: the robot's own setpoint stands for it.
        command = values[schema.TELEMETRY_COMMAND]
        missing = np.isnan(command).any(axis=1)
        command[missing] = values[schema.ACTION][missing]
    required = [source.stream for source in sources if source.required] + list(cameras)
    keep = _usable(episode, instants, {name: aligned[name] for name in required}, config)
    required_keys = {key for source in sources if source.required for key in source.columns}
    others = set(other_columns(episode, config).values())
    columns: dict[str, Column] = {}
    for key, origin in _origins(sources):
        field = episode.field(*origin)
        column = _column(field.labels, values[key][keep], field.unit, *origin)
        if origin in others:
            column = replace(column, values=values[key][keep].astype(field.dtype))
        if key in required_keys:
            _require_finite(episode, key, column)
            columns[key] = column
        elif (known := _known(column, config.fps)) is not None:
            columns[key] = known
    # The control of a cycle has the age of its applied command.
    names = sorted(name for name, one in aligned.items() if name != CONTROL and one.valid[keep].any())
    ages = [_staleness_s(aligned[name], instants, episode.capture_ns(name))[keep] for name in names]
    staleness = schema.TELEMETRY_STALENESS
    age = _column(names, np.stack(ages, axis=1), "s", staleness, schema.DEFAULT_FIELD)
    return Rows(
        instants_ns=instants[keep],
        columns=columns | {staleness: age},
        frames={name: aligned[name].index[keep] for name in cameras},
        frame_sizes={name: (episode.camera(name).height, episode.camera(name).width) for name in cameras},
        frame_error_s={name: float(np.abs(aligned[name].staleness_ns[keep]).max()) / 1e9 for name in cameras},
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """A stream of numbers and the columns that it fills."""

    stream: str
    policy: Policy
    required: bool
    """Whether every row must have a sample of it."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """LeRobot key -> field."""
    telemetry: tuple[str, ...] = ()
    """Fields that become columns `telemetry.<field>`."""


def _cameras(episode: Episode, config: RowConfig) -> tuple[str, ...]:
    """Return the camera streams of the rows; an episode without one of them is unfit."""
    try:
        return camera_streams(episode, config.cameras)
    except UnknownNameError as error:
        raise UnfitEpisodeError(episode.index, f"{schema.camera_stream(error.name)} is absent or empty") from error


def _sources(episode: Episode, config: RowConfig) -> Sequence[_Source]:
    """Return the sources of the columns, in the order of the columns."""
    action = ACTION_STREAMS[config.action]
    other, other_key = (APPLIED, schema.TELEMETRY_APPLIED) if action == COMMAND else (COMMAND, schema.TELEMETRY_COMMAND)
    found = [
        _Source(STATE, "hold", True, {schema.OBSERVATION_STATE: "position"}, _telemetry(episode, STATE, {"position"})),
        # The command that answers an observation is the first one after it.
        _Source(action, "next", True, {schema.ACTION: "position"}),
    ]
    if config.environment and ENVIRONMENT in episode.streams:
        found.append(_Source(ENVIRONMENT, "hold", True, {schema.OBSERVATION_ENVIRONMENT: "value"}))
    if CONTROL in episode.streams and episode.count(CONTROL) and CONTROL not in config.without:
        found.append(_Source(CONTROL, "next", False, {schema.CONTROL_COLUMN: schema.DEFAULT_FIELD}))
    if other in episode.streams and other not in config.without:
        found.append(_Source(other, "next", False, {other_key: "position"}))
    if MOTORS in episode.streams and MOTORS not in config.without:
        found.append(_Source(MOTORS, "hold", False, telemetry=_telemetry(episode, MOTORS, schema.not_exported())))
    streams: dict[str, dict[str, str]] = {}
    for key, (name, quantity) in other_columns(episode, config).items():
        streams.setdefault(name, {})[key] = quantity
    return [*found, *(_Source(name, "hold", False, columns) for name, columns in streams.items())]


def other_columns(episode: Episode, config: RowConfig) -> Mapping[str, tuple[str, str]]:
    """Return key -> (stream, field) of the columns that are not waldo's own, such as rewards of an imported dataset.

    Raises:
        UnfitEpisodeError: If two streams would become one column.
    """
    known = {*schema.STREAM_OF_TOPIC.values(), schema.CONTROL, schema.POLICY}
    excluded, own = {*known, *config.without}, own_keys(episode)
    found: dict[str, tuple[str, str]] = {}
    for name, stream in episode.streams.items():
        if name in excluded or not isinstance(stream, ScalarStream) or not episode.count(name):
            continue
        for entry in stream.fields:
            key = schema.column_key(name, entry.name, own)
            if key in found:
                why = f"{found[key][0]} and {name} would both become the column {key}; pass --without for one of them"
                raise UnfitEpisodeError(episode.index, why)
            if key not in schema.RESERVED_KEYS:
                found[key] = (name, entry.name)
    return found


def own_keys(episode: Episode) -> frozenset[str]:
    """Return the keys that the columns of waldo's own streams may have, whether or not they are left out."""
    telemetry = (field for name in (STATE, MOTORS) for field in _telemetry(episode, name, frozenset()))
    return schema.OWN_KEYS | {schema.TELEMETRY + field for field in telemetry}


def _telemetry(episode: Episode, name: str, without: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Return the fields of a stream that become columns of telemetry."""
    stream = episode.streams.get(name)
    fields = stream.fields if isinstance(stream, ScalarStream) else ()
    return tuple(field.name for field in fields if field.name not in without)


def _origins(sources: Sequence[_Source]) -> Sequence[tuple[str, tuple[str, str]]]:
    """Return (key, (stream, field)) of each column in the order of the columns: telemetry comes last."""
    named = [(key, (source.stream, name)) for source in sources for key, name in source.columns.items()]
    return named + [(schema.TELEMETRY + name, (source.stream, name)) for source in sources for name in source.telemetry]


def _instants(episode: Episode, config: RowConfig, sources: Sequence[_Source], cameras: Sequence[str]) -> Times:
    """Return the times of the rows: the frames of the first camera if it has the rows' rate, else a regular grid."""
    required = [source.stream for source in sources if source.required] + list(cameras)
    for name in required:
        if name not in episode.streams or not episode.count(name):
            raise UnfitEpisodeError(episode.index, f"{name} is absent or empty")
    first = episode.streams[cameras[0]] if cameras else None
    if isinstance(first, VideoStream) and first.rate_hz == config.fps:
        return frame_grid(episode.capture_ns(first.name), config.fps)
    stamps = [episode.capture_ns(name) for name in required]
    return regular_grid(max(int(s.min()) for s in stamps), min(int(s.max()) for s in stamps), config.fps)


def _align(episode: Episode, source: _Source, instants: Times, config: RowConfig) -> Alignment:
    """Align a stream of numbers to the rows."""
    slow = 0 if source.required else SLOW_PERIODS / episode.streams[source.stream].rate_hz
    limit = max(config.max_staleness_s, slow)
    return align(instants, episode.time_ns(source.stream), source.policy, max_staleness_s=limit)


def _values(
    episode: Episode, sources: Sequence[_Source], aligned: Mapping[str, Alignment]
) -> dict[str, NDArray[np.float64]]:
    """Return LeRobot key -> values at the rows, (rows, names)."""
    return {key: aligned[stream].apply(episode.values(stream, name)) for key, (stream, name) in _origins(sources)}


def _fill_disengaged(
    episode: Episode, aligned: dict[str, Alignment], values: Mapping[str, NDArray[np.float64]]
) -> None:
    """Use the applied command as the action while the operator is disengaged: the robot holds its position then."""
    command, applied = aligned[COMMAND], aligned[APPLIED]
    action = values[schema.ACTION]
    far = np.abs(command.staleness_ns) > DISENGAGED_PERIODS * 1e9 / episode.streams[COMMAND].rate_hz
    fill = applied.valid & (~command.valid | far | np.isnan(action).any(axis=1))
    action[fill] = values[schema.TELEMETRY_APPLIED][fill]
    aligned[COMMAND] = replace(
        command,
        index=np.where(fill, applied.index, command.index),
        staleness_ns=np.where(fill, applied.staleness_ns, command.staleness_ns),
        valid=command.valid | fill,
    )


def _usable(episode: Episode, instants: Times, required: Mapping[str, Alignment], config: RowConfig) -> slice:
    """Return the rows from the first to the last one with a sample of every required stream."""
    valid = np.logical_and.reduce([one.valid for one in required.values()])
    if not valid.any():
        raise UnfitEpisodeError(episode.index, f"no row has samples of all of {', '.join(required)}")
    first, last = int(valid.argmax()), len(valid) - 1 - int(valid[::-1].argmax())
    if not valid[first : last + 1].all():
        row = first + int((~valid[first : last + 1]).argmax())
        name = next(name for name, one in required.items() if not one.valid[row])
        if name == COMMAND and APPLIED in episode.streams:
            name = APPLIED  # it stands for the commands of a disengaged operator, but was absent too
        why = describe_gap(episode, name, instants[first : last + 1], row - first, config.max_staleness_s)
        raise UnfitEpisodeError(episode.index, why)
    return slice(first, last + 1)


def _require_finite(episode: Episode, key: str, column: Column) -> None:
    """Raise UnfitEpisodeError if a required column contains a value that is not finite."""
    bad = ~np.isfinite(column.values)
    if bad.any():
        labels = ", ".join(column.names[index] for index in np.flatnonzero(bad.any(axis=0)))
        number = count(int(bad.any(axis=1).sum()), "row")
        raise UnfitEpisodeError(episode.index, f"{key} is not a finite number in {number} ({labels})")


def _known(column: Column, fps: int) -> Column | None:
    """Return a column without the labels that are never known, and with the last known value where one is unknown.

    Rows before the first known value get that value if they are at most FILL_S older.

    Returns:
        None if no label is known.
    """
    values = np.where(np.isfinite(column.values), column.values, np.nan)
    finite = np.isfinite(values)
    first = finite.argmax(axis=0)
    usable = finite.any(axis=0) & (first <= FILL_S * fps)
    if not usable.any():
        return None
    if finite.all():
        return column
    rows = np.arange(len(values))[:, None]
    source = np.maximum(np.maximum.accumulate(np.where(finite, rows, -1), axis=0), first)
    filled = np.take_along_axis(values, source, axis=0)
    names = tuple(name for name, keep in zip(column.names, usable, strict=True) if keep)
    return replace(column, names=names, values=filled[:, usable].astype(column.values.dtype))


def _column(names: Sequence[str], values: NDArray[Any], unit: str, stream: str, field: str) -> Column:
    return Column(names=tuple(names), values=values.astype(np.float32), unit=unit, stream=stream, field=field)


def _staleness_s(alignment: Alignment, instants: Times, stamps: Times) -> NDArray[np.float64]:
    """Return how much older than its row each sample is, (rows,) [s]; negative for a sample after its row.

    A row without a sample gets the distance to the first or the last one.
    """
    outside = instants - np.where(instants < stamps[0], stamps[0], stamps[-1])
    return np.where(alignment.index >= 0, alignment.staleness_ns, outside) / 1e9


def _exactly(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return values as another type, or None if that would change one of them."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # As float64, the largest int64 is 2^63, which int64 lacks.
        if values.size and not (limits.min <= values.min() and values.max() < float(limits.max) + 1):
            return None
    found = values.astype(dtype)
    return found if np.array_equal(found.astype(values.dtype), values) else None
