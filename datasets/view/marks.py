"""Marks on the timeline of an episode: losses, gaps, frozen cameras, overheated windings and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import INTERMITTENT, WINDING
from waldo.datasets.schema import MOTORS
from waldo.datasets.streams import ScalarStream
from waldo.errors import UnknownNameError, count
from waldo.robots.description import load_robot

type Kind = Literal["lost", "gap", "frozen", "heat", "event"]
"""Kind of a mark."""

GAP_PERIODS = 2.5
"""Interval between two messages that counts as a gap, in periods, as in `waldo check`."""

FROZEN_S = 0.2
"""Shortest time with an unchanged image that is marked [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark at one time or over a span of time."""

    kind: Kind
    """Kind of the mark."""
    stream: str
    """The stream; empty for the whole episode."""
    start_ns: int
    """Start, as header stamp; for a camera with a calibrated latency, as exposure time [ns]."""
    stop_ns: int
    """End [ns]."""
    text: str
    """Description for people."""


def find_marks(episode: Episode) -> list[Mark]:
    """Return the marks of an episode in the order of time."""
    found: list[Mark] = []
    for name in episode.streams:
        found += _missing(episode, name)
    for camera in episode.cameras:
        found += _frozen(episode, camera)
    found += _heat(episode)
    for event in episode.events:
        at = int(event["at_ns"])
        text = f"{event.get('kind', 'event')}: {event.get('text', '')}"
        found.append(Mark(kind="event", stream=str(event.get("stream", "")), start_ns=at, stop_ns=at, text=text))
    return sorted(found, key=lambda mark: (mark.start_ns, mark.stream))


def winding_limits_c(episode: Episode) -> Mapping[str, float]:
    """Return joint -> limit of its winding temperature [°C], for motors with a known limit."""
    try:
        joints = load_robot(episode.robot).joints
    except (UnknownNameError, ModuleNotFoundError):
        return {}
    return {joint.name: joint.motor.winding_limit_c for joint in joints if joint.motor.winding_limit_c is not None}


def _missing(episode: Episode, name: str) -> Iterator[Mark]:
    """Yield lost messages of a stream, from sequence numbers, and gaps."""
    stamps, gaps = episode.capture_ns(name), episode.gaps(name)
    if not len(stamps):
        return
    noun = "row" if isinstance(episode.streams[name], ScalarStream) else "frame"
    steps = np.diff(stamps, prepend=stamps[0])
    silent = steps > GAP_PERIODS * 1e9 / episode.streams[name].rate_hz
    if name in INTERMITTENT:
        silent[:] = False
    for at in np.flatnonzero((gaps > 0) | silent).tolist():
        lost, span = int(gaps[at]), (int(stamps[max(at - 1, 0)]), int(stamps[at]))
        gap = f"gap of {steps[at] / 1e6:.0f} ms"
        text = f"{count(lost, noun)} lost, {gap}" if lost else f"{gap}, nothing lost"
        yield Mark(kind="lost" if lost else "gap", stream=name, start_ns=min(span), stop_ns=max(span), text=text)
    unseen = episode.lost(name) - int(gaps.sum())
    if unseen > 0:
        first, last = int(stamps.min()), int(stamps.max())
        text = f"{count(unseen, noun)} lost at unknown times"
        yield Mark(kind="lost", stream=name, start_ns=first, stop_ns=last, text=text)


def _frozen(episode: Episode, camera: str) -> Iterator[Mark]:
    """Yield spans in which the image of a camera does not change."""
    stamps = episode.capture_ns(camera)
    for first, last in runs(episode.repeated(camera)):
        start, stop = int(stamps[max(first - 1, 0)]), int(stamps[last])
        if stop - start >= FROZEN_S * 1e9:
            text = f"the image does not change for {(stop - start) / 1e9:.2f} s"
            yield Mark(kind="frozen", stream=camera, start_ns=start, stop_ns=stop, text=text)


def _heat(episode: Episode) -> Iterator[Mark]:
    """Yield spans in which a winding is at its limit or above."""
    motors = episode.streams.get(MOTORS)
    if not isinstance(motors, ScalarStream) or WINDING not in [field.name for field in motors.fields]:
        return
    limits, stamps = winding_limits_c(episode), episode.time_ns(MOTORS)
    winding = episode.values(MOTORS, WINDING)
    for column, label in enumerate(episode.field(MOTORS, WINDING).labels):
        if label not in limits:
            continue
        for first, last in runs(winding[:, column] >= limits[label]):
            peak = float(winding[first : last + 1, column].max())
            text = f"winding of {label} at {peak:.1f} °C (limit {limits[label]:.1f} °C)"
            span = (int(stamps[first]), int(stamps[last]))
            yield Mark(kind="heat", stream=MOTORS, start_ns=span[0], stop_ns=span[1], text=text)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
