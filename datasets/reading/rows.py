"""An episode as a table of rows at a constant rate, the shape that training formats want. Knows no format itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.reading.align import Alignment, Policy, Times, align, frame_grid, regular_grid
from waldo.datasets.streams import ScalarStream, VideoStream
from waldo.errors import WaldoError

NO_TELEMETRY = ("time_to_limit",)
"""Fields that are not exported: infinite most of the time, which no statistics survive."""

SENT = "telemetry.sent_action"
"""Key of what was sent to the motors, where the action is what was asked."""

HANDS_OFF_PERIODS = 2.5
"""No command for so many of its periods: the operator's hand is off."""


class UnfitEpisodeError(WaldoError):
    """An episode that cannot become rows."""

    def __init__(self, index: int, why: str) -> None:
        """Take the episode's index and what is in the way."""
        self.why = why
        super().__init__(f"episode {index}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """How an episode becomes rows."""

    fps: int = 30
    """Rows a second."""
    cameras: tuple[str, ...] = ()
    """Video streams to take."""
    action: Literal["command", "sent"] = "command"
    """Which stream of commands is the action."""
    environment: bool = True
    """Whether the simulation's ground truth is taken, where it was recorded."""
    max_age_s: float = 0.25
    """Farthest that a sample may lie from its row [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of rows."""

    names: tuple[str, ...]
    """What each number of a row is."""
    values: NDArray[np.float32]
    """Shape (rows, names)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """An episode at a constant rate."""

    instants_ns: Times
    """When each row is."""
    columns: Mapping[str, Column]
    """LeRobot's key -> column."""
    frames: Mapping[str, NDArray[np.int64]]
    """Camera -> the frame that stands in each row."""
    frame_error_s: Mapping[str, float]
    """Camera -> the farthest that a frame lies from its row [s]."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Which stream fills which column, and how."""

    key: str
    stream: str
    field: str
    policy: Policy
    required: bool


def make_rows(episode: Episode, config: RowConfig) -> Rows:
    """Return the episode's rows. Rows at either end that lack a source are left away; one inside makes it unfit."""
    sources = _sources(episode, config)
    instants = _instants(episode, config, sources)
    aligned = {source.key: _align(episode, source, instants, config) for source in sources}
    frames = {
        name: align(instants, episode.capture_ns(name), "nearest", max_age_s=config.max_age_s)
        for name in config.cameras
    }
    values = {s.key: aligned[s.key].apply(episode.values(s.stream, s.field)) for s in sources}
    if config.action == "command" and SENT in aligned:
        _fill_hands_off(episode, aligned, values)
    needed = {source.stream: aligned[source.key] for source in sources if source.required} | frames
    keep = _usable(episode, instants, needed)
    columns = {
        source.key: Column(
            names=episode.field(source.stream, source.field).labels,
            values=values[source.key][keep].astype(np.float32),
        )
        for source in sources
    }
    # The first source of a stream is the one that matters most.
    everything = {source.stream: aligned[source.key] for source in reversed(sources)} | frames
    everything = {name: everything[name] for name in sorted(everything)}
    columns["telemetry.staleness"] = Column(
        names=tuple(everything),
        values=np.stack([_staleness_s(a)[keep] for a in everything.values()], axis=1).astype(np.float32),
    )
    return Rows(
        instants_ns=instants[keep],
        columns=columns,
        frames={name: a.index[keep] for name, a in frames.items()},
        frame_error_s={name: float(np.abs(a.staleness_ns[keep]).max()) / 1e9 for name, a in frames.items()},
    )


def _sources(episode: Episode, config: RowConfig) -> Sequence[_Source]:
    """Return what fills the columns, refusing an episode that lacks state or action."""
    action = f"joints/{config.action}"
    for name in ("joints/state", action, *config.cameras):
        if name not in episode.streams or not episode.count(name):
            raise UnfitEpisodeError(episode.index, f"it has no {name}")
    sources = [
        _Source("observation.state", "joints/state", "position", "hold", True),
        # The command that answers an observation is the first one after it.
        _Source("action", action, "position", "next", True),
    ]
    if config.environment and "environment" in episode.streams:
        sources.append(_Source("observation.environment_state", "environment", "value", "hold", True))
    other = "sent" if config.action == "command" else "command"
    if f"joints/{other}" in episode.streams:
        key = SENT if other == "sent" else "telemetry.command"
        sources.append(_Source(key, f"joints/{other}", "position", "next", False))
    for name, skip in (("joints/state", ("position",)), ("motors", NO_TELEMETRY)):
        stream = episode.streams.get(name)
        if isinstance(stream, ScalarStream):
            fields = [field.name for field in stream.fields if field.name not in skip]
            sources += [_Source(f"telemetry.{field}", name, field, "hold", False) for field in fields]
    return sources


def _instants(episode: Episode, config: RowConfig, sources: Sequence[_Source]) -> Times:
    """Return when the rows are: on the first camera's frames if it runs at the rows' rate, else on a regular grid."""
    first = episode.streams[config.cameras[0]] if config.cameras else None
    if isinstance(first, VideoStream) and first.rate_hz == config.fps:
        return frame_grid(episode.capture_ns(first.name), config.fps)
    names = {source.stream for source in sources if source.required} | set(config.cameras)
    stamps = [episode.capture_ns(name) for name in names]
    return regular_grid(max(int(s.min()) for s in stamps), min(int(s.max()) for s in stamps), config.fps)


def _align(episode: Episode, source: _Source, instants: Times, config: RowConfig) -> Alignment:
    """Align a source; a slow stream may be as old as two and a half of its periods."""
    slow = 2.5 / episode.streams[source.stream].rate_hz
    age = config.max_age_s if source.required else max(config.max_age_s, slow)
    return align(instants, episode.time_ns(source.stream), source.policy, max_age_s=age)


def _fill_hands_off(episode: Episode, aligned: dict[str, Alignment], values: dict[str, NDArray[np.float64]]) -> None:
    """Where the operator's hand was off, the action is what was sent: the robot held, and nothing else was asked."""
    command, sent = aligned["action"], aligned[SENT]
    far = np.abs(command.staleness_ns) > HANDS_OFF_PERIODS * 1e9 / episode.streams["joints/command"].rate_hz
    off = sent.valid & (~command.valid | far | np.isnan(values["action"]).any(axis=1))
    values["action"][off] = values[SENT][off]
    aligned["action"] = replace(
        command,
        index=np.where(off, sent.index, command.index),
        staleness_ns=np.where(off, sent.staleness_ns, command.staleness_ns),
        valid=command.valid | off,
    )


def _usable(episode: Episode, instants: Times, needed: Mapping[str, Alignment]) -> slice:
    """Return the rows from the first to the last that have every source; a row without one in between is refused."""
    valid = np.logical_and.reduce([a.valid for a in needed.values()])
    if not valid.any():
        raise UnfitEpisodeError(episode.index, f"there is no instant at which {', '.join(needed)} are all there")
    first, last = int(valid.argmax()), len(valid) - 1 - int(valid[::-1].argmax())
    if not valid[first : last + 1].all():
        row = first + int((~valid[first : last + 1]).argmax())
        missing = next(name for name, a in needed.items() if not a.valid[row])
        at = (int(instants[row]) - int(instants[0])) / 1e9
        raise UnfitEpisodeError(episode.index, f"{missing} has a gap at {at:.2f} s that is longer than is allowed")
    return slice(first, last + 1)


def _staleness_s(alignment: Alignment) -> NDArray[np.float64]:
    """Return how much older than its row each sample is [s]; NaN where there is none."""
    return np.where(alignment.index >= 0, alignment.staleness_ns / 1e9, np.nan)
