"""Streams with stamps of another clock than the others: that of a device, which has another epoch or drifts.

The age of a message is its receipt minus its stamp. Streams with one clock have ages that differ by their delays, which
are short; a stream of another clock has an age that differs by the offset of the clocks, and changes if they drift. The
clock that most streams agree on is the reference, so simulated time, which differs from the recorder's as a whole, is
one clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.reading.row_config import UnfitEpisodeError, stamp_choices

MAX_OFFSET_S = 1.0
"""Largest difference of the ages of two streams with one clock [s]."""

MAX_DRIFT_S = 0.1
"""Largest change of this difference within an episode [s]."""

MIN_MESSAGES = 20
"""Number of messages from which a drift is computed."""

type Ages = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Receipt stamps, not decreasing, (T,) [ns], and the age of each message, (T,) [s]."""


@dataclass(frozen=True, slots=True)
class ForeignClock:
    """How the stamps of a stream differ from those of the others."""

    stream: str
    offset_s: float
    """Reference clock minus the clock of the stream [s]."""
    drift_s: float
    """Change of the offset from the start to the end of the episode [s]; 0 if it is small."""

    @property
    def text(self) -> str:
        """The difference, and what to do."""
        side = "behind" if self.offset_s > 0 else "ahead of"
        found = f"are {abs(self.offset_s):.2f} s {side}"
        if self.drift_s:
            found = f"drift by {abs(self.drift_s):.2f} s against"
        return (
            f"stamps of {self.stream} {found} those of the other streams, as of a device's own clock; place its "
            f"messages by their receipt (--stamps {self.stream}=receipt), or confirm the stamps "
            f"(--stamps {self.stream}=header)"
        )


def foreign_clocks(episode: Episode) -> Mapping[str, ForeignClock]:
    """Return stream -> difference, for the streams with stamps of another clock than most streams."""
    ages = {name: _ages(episode, name) for name in episode.streams if episode.count(name)}
    # Receipts that do not advance are placeholders, as of a source that does not have them.
    ages = {name: (receipt, age) for name, (receipt, age) in ages.items() if receipt[0] != receipt[-1]}
    if all(np.abs(age).max() < MAX_DRIFT_S / 2 for _, age in ages.values()):
        return {}
    found = {reference: _against(ages, reference) for reference in ages}
    if not found:
        return {}
    # Of several candidates the one that is closest to the recorder's clock.
    return min(found.items(), key=lambda item: (len(item[1]), abs(float(np.median(ages[item[0]][1])))))[1]


def with_stamps(episode: Episode, stamps: Sequence[str]) -> Episode:
    """Return the episode with the receipt in place of the stamps of some streams.

    Args:
        episode: The episode.
        stamps: Choices such as "joints/state=receipt", for streams of a device with its own clock.

    Raises:
        UnfitEpisodeError: If a stream has stamps of another clock and there is no choice for it.
    """
    choices = stamp_choices(stamps)
    for stream, found in foreign_clocks(episode).items():
        if stream not in choices:
            raise UnfitEpisodeError(episode.index, found.text)
    return episode.with_receipt(stream for stream, clock in choices.items() if clock == "receipt")


def _ages(episode: Episode, name: str) -> Ages:
    receipt = episode.time_ns(name, "receipt")
    age = (receipt - episode.time_ns(name)) / 1e9
    order = np.argsort(receipt, kind="stable")
    return receipt[order], age[order]


def _against(ages: Mapping[str, Ages], reference: str) -> dict[str, ForeignClock]:
    """Return the streams with a clock that differs from that of `reference`."""
    start_ns = int(ages[reference][0][0])
    at, own = ages[reference]
    found: dict[str, ForeignClock] = {}
    for name, (receipt, age) in ages.items():
        difference = age - np.interp((receipt - start_ns) / 1e9, (at - start_ns) / 1e9, own)
        offset_s, drift_s = float(np.median(difference)), _drift_s(difference)
        if abs(drift_s) < MAX_DRIFT_S:
            drift_s = 0.0
        if abs(offset_s) > MAX_OFFSET_S or drift_s:
            found[name] = ForeignClock(name, offset_s, drift_s)
    return found


def _drift_s(difference: NDArray[np.float64]) -> float:
    """Return how much the difference of two clocks changes steadily from the first fifth to the last one [s].

    The median of each fifth leaves out single late messages; a change that is not monotonic is no drift.
    """
    if len(difference) < MIN_MESSAGES:
        return 0.0
    fifths = np.array([float(np.median(part)) for part in np.array_split(difference, 5)])
    steps = np.diff(fifths)
    is_steady = bool((steps > 0).all() or (steps < 0).all())
    return float(fifths[-1] - fifths[0]) if is_steady else 0.0
