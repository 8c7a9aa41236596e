"""The curves of an episode's page: which lines stand in which chart, and their samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.streams import ScalarStream
from waldo.datasets.view.marks import winding_limits_c

MOST_VALUES = 4_000_000
"""Most numbers that a page carries; beyond it, runs of rows are drawn as their least and greatest."""

POSES: Mapping[str, str] = {"joints/state": "state", "joints/command": "command", "joints/sent": "sent"}
"""Streams whose positions of one joint stand in one chart -> what the line is called."""

FIRST_OF_MOTORS = ("winding", "current", "duty")
"""Fields of `motors` in the order in which they are shown; the others follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The samples of one stream."""

    time_s: NDArray[np.float64]
    """Since the page's start, never falling, (T,) [s]."""
    values: NDArray[np.float32]
    """All fields' columns side by side, (T, columns)."""
    rows_per_pair: int = 1
    """1: every row is here. More: so many rows are drawn as two, their least and their greatest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    """What it is called in the legend."""
    stream: str
    """Its stream."""
    column: int
    """Its column in the stream's table."""
    limit: float | None = None
    """A value that it should not reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart."""

    group: str
    """The heading under which it stands."""
    title: str
    """What it shows."""
    unit: str
    """Unit of its lines."""
    lines: Sequence[Line] = field(default_factory=tuple)
    """Its curves."""


def tables(episode: Episode, start_ns: int) -> Mapping[str, Table]:
    """Return the samples of every scalar stream; time counts from `start_ns`."""
    scalars = {n: s for n, s in episode.streams.items() if isinstance(s, ScalarStream) and episode.count(n)}
    total = sum(episode.count(n) * (2 + sum(len(f.labels) for f in s.fields)) for n, s in scalars.items())
    every = max(1, -(-total // MOST_VALUES))
    return {name: _table(episode, stream, start_ns, every) for name, stream in scalars.items()}


def panels(episode: Episode) -> list[Panel]:
    """Return the charts: a joint each for positions, then the motors, then everything else."""
    out = list(_poses(episode))
    limits = winding_limits_c(episode)
    for name, stream in episode.streams.items():
        if not isinstance(stream, ScalarStream) or not episode.count(name):
            continue
        columns = _columns(stream)
        fields = [f for f in stream.fields if not (name in POSES and f.name == "position")]
        if name == "motors":
            order = {known: place for place, known in enumerate(FIRST_OF_MOTORS)}
            fields.sort(key=lambda f: order.get(f.name, len(order)))
        for f in fields:
            known = limits if (name, f.name) == ("motors", "winding") else {}
            lines = [
                Line(name=label, stream=name, column=columns[f.name] + place, limit=known.get(label))
                for place, label in enumerate(f.labels)
            ]
            group = "Motors" if name == "motors" else "Other streams"
            title = f.name.replace("_", " ") if name == "motors" else f"{name} {f.name}"
            out.append(Panel(group=group, title=title, unit=f.unit, lines=lines))
    rank = {"Joints": 0, "Motors": 1}
    return sorted(out, key=lambda panel: rank.get(panel.group, 2))


def _poses(episode: Episode) -> Iterator[Panel]:
    """Yield a chart for each joint: where it was, where it was asked to be, what was sent."""
    joints: dict[str, list[Line]] = {}
    unit = "rad"
    for name, called in POSES.items():
        stream = episode.streams.get(name)
        if not isinstance(stream, ScalarStream) or not episode.count(name):
            continue
        for f in stream.fields:
            if f.name == "position":
                unit = f.unit
                for place, label in enumerate(f.labels):
                    line = Line(name=called, stream=name, column=_columns(stream)["position"] + place)
                    joints.setdefault(label, []).append(line)
    for label, lines in joints.items():
        yield Panel(group="Joints", title=label, unit=unit, lines=lines)


def _columns(stream: ScalarStream) -> Mapping[str, int]:
    """Return the first column of each field in the stream's table."""
    starts = np.cumsum([0] + [len(f.labels) for f in stream.fields])
    return {f.name: int(start) for f, start in zip(stream.fields, starts, strict=False)}


def _table(episode: Episode, stream: ScalarStream, start_ns: int, every: int) -> Table:
    """Return a stream's samples; of more than `every` rows, only what draws the same picture."""
    stamps: NDArray[Any] = np.maximum.accumulate(episode.time_ns(stream.name))
    time = (stamps - start_ns) / 1e9
    values = np.concatenate([episode.values(stream.name, f.name) for f in stream.fields], axis=1, dtype=np.float32)
    return thin(time, values, 2 * every) if every > 1 else Table(time_s=time, values=values)


def thin(time_s: NDArray[np.float64], values: NDArray[np.float32], rows: int) -> Table:
    """Return a table in which the least and the greatest of each column stand for every `rows` rows."""
    starts = np.arange(0, len(time_s), rows)
    pairs = np.empty((len(starts), 2, values.shape[1]), np.float32)
    # fmin and fmax: a number beside what nobody knows is still to be seen.
    pairs[:, 0] = np.fmin.reduceat(values, starts, axis=0)
    pairs[:, 1] = np.fmax.reduceat(values, starts, axis=0)
    ends = np.minimum(starts + rows - 1, len(time_s) - 1)
    time = np.stack([time_s[starts], time_s[ends]], axis=1)
    return Table(time_s=time.reshape(-1), values=pairs.reshape(-1, values.shape[1]), rows_per_pair=rows)
