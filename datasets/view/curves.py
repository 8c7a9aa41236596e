"""The curves of an episode's page: charts, lines and their samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import WINDING
from waldo.datasets.streams import ScalarStream
from waldo.datasets.view.marks import winding_limits_c

MAX_VALUES = 4_000_000
"""Largest number of values in a page; with more, runs of rows are reduced to their minimum and maximum."""

POSITIONS: Mapping[str, str] = {schema.STATE: "state", schema.COMMAND: "command", schema.APPLIED: "applied"}
"""Stream with joint positions, which share one chart per joint -> name of its line."""

FIRST_MOTOR_FIELDS = (WINDING, "current", "duty")
"""Fields of `motors` that come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The samples of one stream."""

    time_s: NDArray[np.float64]
    """Non-decreasing time since the start of the page, (T,) [s]."""
    values: NDArray[np.float32]
    """Columns of all fields, (T, columns)."""
    rows_per_pair: int = 1
    """1: all rows. More: every so many rows are reduced to two, their minimum and maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    """Name in the legend."""
    stream: str
    """The stream."""
    column: int
    """Column in the table of the stream."""
    limit: float | None = None
    """Limit of the values, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart."""

    group: str
    """Heading of the group of charts."""
    title: str
    """Title."""
    unit: str
    """Unit of the lines."""
    lines: Sequence[Line] = field(default_factory=tuple)
    """The curves."""


def tables(episode: Episode, start_ns: int) -> Mapping[str, Table]:
    """Return the samples of every scalar stream; times are relative to `start_ns`."""
    scalars = {n: s for n, s in episode.streams.items() if isinstance(s, ScalarStream) and episode.count(n)}
    total = sum(episode.count(n) * (2 + sum(len(f.labels) for f in s.fields)) for n, s in scalars.items())
    every = max(1, -(-total // MAX_VALUES))
    return {name: _table(episode, stream, start_ns, every) for name, stream in scalars.items()}


def panels(episode: Episode) -> list[Panel]:
    """Return the charts: positions of each joint, then motors, then other streams."""
    out = list(_positions(episode))
    limits = winding_limits_c(episode)
    for name, stream in episode.streams.items():
        if not isinstance(stream, ScalarStream) or not episode.count(name):
            continue
        columns = _columns(stream)
        fields = [f for f in stream.fields if not (name in POSITIONS and f.name == "position")]
        if name == schema.MOTORS:
            order = {known: rank for rank, known in enumerate(FIRST_MOTOR_FIELDS)}
            fields.sort(key=lambda f: order.get(f.name, len(order)))
        for f in fields:
            known = limits if (name, f.name) == (schema.MOTORS, WINDING) else {}
            lines = [
                Line(name=label, stream=name, column=columns[f.name] + offset, limit=known.get(label))
                for offset, label in enumerate(f.labels)
            ]
            group = "Motors" if name == schema.MOTORS else "Other streams"
            title = f.name.replace("_", " ") if name == schema.MOTORS else f"{name} {f.name}"
            out.append(Panel(group=group, title=title, unit=f.unit, lines=lines))
    rank = {"Joints": 0, "Motors": 1}
    return sorted(out, key=lambda panel: rank.get(panel.group, 2))


def _positions(episode: Episode) -> Iterator[Panel]:
    """Yield a chart for each joint: measured, commanded and applied position."""
    joints: dict[str, list[Line]] = {}
    unit = "rad"
    for name, line_name in POSITIONS.items():
        stream = episode.streams.get(name)
        if not isinstance(stream, ScalarStream) or not episode.count(name):
            continue
        for f in stream.fields:
            if f.name == "position":
                unit = f.unit
                for offset, label in enumerate(f.labels):
                    line = Line(name=line_name, stream=name, column=_columns(stream)["position"] + offset)
                    joints.setdefault(label, []).append(line)
    for label, lines in joints.items():
        yield Panel(group="Joints", title=label, unit=unit, lines=lines)


def _columns(stream: ScalarStream) -> Mapping[str, int]:
    """Return the first column of each field in the table of a stream."""
    starts = np.cumsum([0] + [len(f.labels) for f in stream.fields])
    return {f.name: int(start) for f, start in zip(stream.fields, starts, strict=False)}


def _table(episode: Episode, stream: ScalarStream, start_ns: int, every: int) -> Table:
    """Return the samples of a stream, thinned if `every` is more than 1."""
    stamps: NDArray[Any] = np.maximum.accumulate(episode.time_ns(stream.name))
    time = (stamps - start_ns) / 1e9
    values = np.concatenate([episode.values(stream.name, f.name) for f in stream.fields], axis=1, dtype=np.float32)
    return thin(time, values, 2 * every) if every > 1 else Table(time_s=time, values=values)


def thin(time_s: NDArray[np.float64], values: NDArray[np.float32], rows: int) -> Table:
    """Return a table with the minimum and maximum of each column over every `rows` rows."""
    starts = np.arange(0, len(time_s), rows)
    pairs = np.empty((len(starts), 2, values.shape[1]), np.float32)
    # fmin and fmax ignore NaN, so that a value beside unknown ones stays visible.
    pairs[:, 0] = np.fmin.reduceat(values, starts, axis=0)
    pairs[:, 1] = np.fmax.reduceat(values, starts, axis=0)
    ends = np.minimum(starts + rows - 1, len(time_s) - 1)
    time = np.stack([time_s[starts], time_s[ends]], axis=1)
    return Table(time_s=time.reshape(-1), values=pairs.reshape(-1, values.shape[1]), rows_per_pair=rows)
