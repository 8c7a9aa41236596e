"""Gaps of a stream: where they are and how long, for every report of them.

A gap is the time between two consecutive stamps of a stream. A camera's stamps are those of the exposure. It is located
by its start, relative to the first stamp of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.reading.align import Times
from waldo.errors import count


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between two consecutive messages of a stream."""

    start_ns: int
    """Stamp of the message before it [ns since the epoch]."""
    stop_ns: int
    """Stamp of the message after it [ns since the epoch]."""

    @property
    def seconds(self) -> float:
        """Length [s]."""
        return (self.stop_ns - self.start_ns) / 1e9

    def text(self, episode: Episode) -> str:
        """Return length and position: "517 ms at 0.98 s"."""
        return self.after(episode.span_ns[0])

    def after(self, first_ns: int) -> str:
        """Return length and position after a first stamp [ns since the epoch]: "517 ms at 0.98 s"."""
        return f"{self.seconds * 1e3:.0f} ms at {(self.start_ns - first_ns) / 1e9:.2f} s"


def stream_gaps(episode: Episode, stream: str, longer_than_s: float) -> list[Gap]:
    """Return the gaps of a stream that are longer than a time, in order of time."""
    return gaps_of(episode.capture_ns(stream), longer_than_s)


def gaps_of(stamps_ns: Times, longer_than_s: float) -> list[Gap]:
    """Return the gaps between stamps, in any order, that are longer than a time."""
    stamps = np.sort(stamps_ns)
    before = np.flatnonzero(np.diff(stamps) > longer_than_s * 1e9)
    return [Gap(int(stamps[k]), int(stamps[k + 1])) for k in before.tolist()]


def describe_gap(episode: Episode, stream: str, instants_ns: Times, row: int, limit_s: float) -> str:
    """Return why a stream lacks a sample for rows: its longest gap, where `waldo check` reports it.

    Args:
        episode: The episode.
        stream: The stream.
        instants_ns: Times of the rows that need a sample, shape (rows,) [ns since the epoch].
        row: Index of a row without one.
        limit_s: Largest distance in time between a sample and its row [s].
    """
    first, last = int(instants_ns[0]), int(instants_ns[-1])
    found = [gap for gap in stream_gaps(episode, stream, limit_s) if gap.start_ns < last and gap.stop_ns > first]
    limit = f"the limit is {limit_s:g} s"
    if not found:  # it starts late or ends early
        at_s = (int(instants_ns[row]) - episode.span_ns[0]) / 1e9
        return f"{stream} has no message near {at_s:.2f} s ({limit})"
    longest = max(found, key=lambda gap: gap.seconds)
    return f"{stream} has {count(len(found), 'gap')}, the longest {longest.text(episode)} ({limit})"
