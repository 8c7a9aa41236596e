"""Whether the robot followed its commands: stretches of an episode in which it did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode

CONTROL_MODE = "control_mode"
"""Kind of the event that records each change of the robot's control mode."""

MIN_LAPSE_S = 0.3
"""Shortest stretch that counts [s]."""

WINDOW_S = 1.0
"""Length of the stretches in which commanded and measured motion are compared [s]."""

COMMANDED_RAD = 0.2
"""Commanded motion within a stretch from which the robot must move [rad, summed over the joints]."""

MOVED_RATIO = 0.05
"""Measured motion, as a fraction of the commanded motion, below which the robot stands still."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """A stretch in which the robot did not follow its commands."""

    start_ns: int
    stop_ns: int
    reason: str
    """The control mode and why, or that the joints did not move."""

    @property
    def seconds(self) -> float:
        """Length [s]."""
        return (self.stop_ns - self.start_ns) / 1e9


def lapses(episode: Episode) -> list[Lapse]:
    """Return the stretches in which the robot did not follow.

    They are those of the recorded control mode. An episode without it, as of a robot that publishes no `status`, is
    searched for commanded motion without measured motion.
    """
    events = [event for event in episode.events if event["kind"] == CONTROL_MODE]
    found = _from_events(events, episode.span_ns[1]) if events else _from_motion(episode)
    return [lapse for lapse in found if lapse.seconds >= MIN_LAPSE_S]


def describe(found: list[Lapse]) -> str:
    """Return lapses as text; empty without any."""
    if not found:
        return ""
    worst = max(found, key=lambda lapse: lapse.seconds)
    return f"the robot did not follow its commands for {sum(one.seconds for one in found):.1f} s ({worst.reason})"


def _from_events(events: list[Any], end_ns: int) -> Iterator[Lapse]:
    ends = [int(event["at_ns"]) for event in events[1:]] + [end_ns]
    for event, stop_ns in zip(events, ends, strict=True):
        if event["level"] != "ok":
            yield Lapse(int(event["at_ns"]), max(stop_ns, int(event["at_ns"])), event["text"])


def _from_motion(episode: Episode) -> Iterator[Lapse]:
    """Compare the paths of command and state in consecutive windows, if both are angles of the same joints."""
    if not {schema.COMMAND, schema.STATE} <= set(episode.streams):
        return
    command, state = (episode.field(stream, "position") for stream in (schema.COMMAND, schema.STATE))
    if command.labels != state.labels or {command.unit, state.unit} != {"rad"}:
        return  # the actions of an imported dataset may be poses, differences or torques
    first, last = episode.span_ns
    count = int((last - first) / 1e9 / WINDOW_S)
    if count < 1:
        return
    edges = first + np.arange(count + 1) * int(WINDOW_S * 1e9)
    commanded, moved = (_path(episode, stream, edges) for stream in (schema.COMMAND, schema.STATE))
    still = (commanded > COMMANDED_RAD) & (moved < MOVED_RATIO * commanded)
    borders = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8))).reshape(-1, 2)
    for a, b in borders:
        text = f"commands moved by {commanded[a:b].sum():.2f} rad, the joints by {moved[a:b].sum():.2f} rad"
        yield Lapse(int(edges[a]), int(edges[b]), text)


def _path(episode: Episode, stream: str, edges: NDArray[np.int64]) -> Array:
    """Return the length of the joints' path between consecutive edges, summed over the joints [rad]."""
    stamps, position = episode.time_ns(stream), episode.values(stream, "position")
    if len(stamps) < 2:
        return np.zeros(len(edges) - 1)
    steps = np.nan_to_num(np.abs(np.diff(position, axis=0))).sum(axis=1)
    totals, _ = np.histogram(stamps[1:], edges, weights=steps)
    return np.asarray(totals, dtype=float)
