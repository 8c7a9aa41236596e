"""What somebody who looks at an episode must not miss: losses, gaps, frozen pictures, hot windings, events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import AT_WILL
from waldo.datasets.streams import ScalarStream
from waldo.errors import UnknownNameError
from waldo.robots.description import load_robot

type Kind = Literal["lost", "gap", "frozen", "heat", "event"]
"""What sort of thing is marked."""

GAP_PERIODS = 2.5
"""From how many periods between two messages on it is a gap, as in `waldo check`."""

FROZEN_S = 0.2
"""Shortest time of equal pictures that is marked [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something at an instant or over a span of time."""

    kind: Kind
    """What sort of thing it is."""
    stream: str
    """The stream concerned; empty for the whole episode."""
    start_ns: int
    """Where it begins, on the publisher's clock; for a camera with a calibrated latency, on the light's [ns]."""
    stop_ns: int
    """Where it ends [ns]."""
    text: str
    """What happened, for people."""


def find_marks(episode: Episode) -> list[Mark]:
    """Return everything that is to be marked, in the order of time."""
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
    """Return joint -> the limit of its winding [°C], of the joints whose motor states one."""
    try:
        joints = load_robot(episode.robot).joints
    except (UnknownNameError, ModuleNotFoundError):
        return {}
    return {joint.name: joint.motor.winding_limit_c for joint in joints if joint.motor.winding_limit_c is not None}


def _missing(episode: Episode, name: str) -> Iterator[Mark]:
    """Yield where messages of a stream are missing: those that its numbers show, and long silences."""
    stamps, gaps = episode.capture_ns(name), episode.gaps(name)
    if not len(stamps):
        return
    word = "rows" if isinstance(episode.streams[name], ScalarStream) else "frames"
    steps = np.diff(stamps, prepend=stamps[0])
    silent = steps > GAP_PERIODS * 1e9 / episode.streams[name].rate_hz
    if name in AT_WILL:
        silent[:] = False
    for at in np.flatnonzero((gaps > 0) | silent).tolist():
        lost, span = int(gaps[at]), (int(stamps[max(at - 1, 0)]), int(stamps[at]))
        lasts = f"{steps[at] / 1e6:.0f} ms without one"
        text = f"{lost} {word if lost > 1 else word[:-1]} lost, {lasts}" if lost else f"gap: {lasts}, none is missing"
        yield Mark(kind="lost" if lost else "gap", stream=name, start_ns=min(span), stop_ns=max(span), text=text)
    unseen = episode.lost(name) - int(gaps.sum())
    if unseen > 0:
        first, last = int(stamps.min()), int(stamps.max())
        text = f"{unseen} {word} lost at instants that nobody knows"
        yield Mark(kind="lost", stream=name, start_ns=first, stop_ns=last, text=text)


def _frozen(episode: Episode, camera: str) -> Iterator[Mark]:
    """Yield where a camera shows the same picture again and again."""
    stamps = episode.capture_ns(camera)
    for first, last in runs(episode.repeated(camera)):
        start, stop = int(stamps[max(first - 1, 0)]), int(stamps[last])
        if stop - start >= FROZEN_S * 1e9:
            text = f"the same picture for {(stop - start) / 1e9:.2f} s"
            yield Mark(kind="frozen", stream=camera, start_ns=start, stop_ns=stop, text=text)


def _heat(episode: Episode) -> Iterator[Mark]:
    """Yield where a winding was at its limit or above."""
    motors = episode.streams.get("motors")
    if not isinstance(motors, ScalarStream) or "winding" not in [field.name for field in motors.fields]:
        return
    limits, stamps = winding_limits_c(episode), episode.time_ns("motors")
    winding = episode.values("motors", "winding")
    for column, label in enumerate(episode.field("motors", "winding").labels):
        if label not in limits:
            continue
        for first, last in runs(winding[:, column] >= limits[label]):
            peak = float(winding[first : last + 1, column].max())
            text = f"winding of {label} at {peak:.1f} °C, its limit is {limits[label]:.1f} °C"
            span = (int(stamps[first]), int(stamps[last]))
            yield Mark(kind="heat", stream="motors", start_ns=span[0], stop_ns=span[1], text=text)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
