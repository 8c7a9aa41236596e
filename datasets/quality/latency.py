"""How long after the light a camera's frames are stamped, from a recording of it.

Two ways: a clock that the camera films (clock_code.py), good to a few milliseconds; or the robot's own motion in the
picture against the joints' speed, for when no screen is at hand, good to about ten. A latency is the stamp in the
message's header less the instant of the light; `Dataset.set_latency` keeps it, and everything that reads frames by time
then takes it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.quality import clock_code
from waldo.datasets.streams import DepthStream, ScalarStream
from waldo.errors import WaldoError

LEAST_READ = 20
"""Fewest pictures in which the clock must be read."""

LARGEST_SPREAD_NS = 20_000_000
"""Largest spread (scaled median deviation) of the differences to a clock that is believed [ns]."""

MOST_FRAMES = 600
"""Most frames that are looked at."""

AT_ONCE = 30
"""Frames that are decoded at a time."""

JOINTS = "joints/state"
"""The stream that says how fast the robot moves."""

LAGS_NS = (-200_000_000, 1_000_000_000)
"""Between which latencies motion is searched [ns]."""

LAG_STEP_NS = 2_000_000
"""How finely [ns]."""

LEAST_CORRELATION = 0.6
"""Smallest rank correlation of motion in the picture with the joints' speed that is believed."""

LEAST_DROP = 0.05
"""How much the correlation must fall within 0.2 s of its peak: an even motion tells nothing."""

LARGEST_DISAGREEMENT_NS = 25_000_000
"""Largest deviation between parts of a recording that is believed [ns]."""

PARTS = 4
"""Parts of a recording that are compared."""

SMALL = 80
"""Width to which pictures are scaled before their motion is looked at [pixels]."""

type Advance = Callable[[int, int], None]
"""Hears how many of how many frames were looked at."""


class LatencyError(WaldoError):
    """A recording from which a camera's latency cannot be told."""

    def __init__(self, camera: str, found: str, do: str) -> None:
        """Take the camera, what was found and what to do about it."""
        super().__init__(f"the latency of {camera} cannot be told: {found}; {do}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a recording says of one camera."""

    camera: str
    """The stream."""
    latency_ns: int
    """Stamp less instant of the light [ns]."""
    spread_ns: int
    """Standard deviation of one reading about it (clock), or of parts of the recording (motion) [ns]."""
    used: int
    """Readings that count."""
    looked_at: int
    """Frames that were looked at."""
    method: Literal["clock", "motion"]
    """How it was found."""


def measure_clock(episode: Episode, camera: str, *, display_ns: int = 0, advance: Advance | None = None) -> Latency:
    """Return a camera's latency from the clock in its pictures.

    `display_ns` is how long the screen takes to show what it is sent [ns]: it is taken off. Raises LatencyError where
    the clock is read in too few pictures, or where they contradict each other.
    """
    _need_colour(episode, camera)
    stamps = episode.time_ns(camera)
    differences: list[int] = []
    looked_at = 0
    for index, rgb in _frames(episode, camera, advance):
        looked_at += 1
        shown = clock_code.read(rgb, int(stamps[index]))
        if shown is not None:
            differences.append(int(stamps[index]) - shown)
    if len(differences) < LEAST_READ:
        found = f"the clock was read in {len(differences)} of {looked_at} pictures, expected {LEAST_READ} or more"
        raise LatencyError(camera, found, "film the whole board, sharp, large and without glare, for a few seconds")
    return fit_clock(camera, np.array(differences), looked_at, display_ns)


def fit_clock(camera: str, differences: NDArray[np.int64], looked_at: int, display_ns: int) -> Latency:
    """Return the latency from the differences stamp less shown instant, (n,) [ns]."""
    middle = np.median(differences)
    spread = 1.4826 * float(np.median(np.abs(differences - middle)))
    good = differences[np.abs(differences - middle) <= 3 * max(spread, clock_code.TICK_NS / 2)]
    if spread > LARGEST_SPREAD_NS or len(good) < max(LEAST_READ, 0.7 * len(differences)):
        found = f"{len(differences)} readings spread by {spread / 1e6:.0f} ms about {middle / 1e6:.0f} ms"
        raise LatencyError(camera, found, "see that the camera's stamps come from one clock, and record again")
    # The mean of what agrees: a clock of 10 ms ticks is finer on average than its median.
    return Latency(
        camera=camera,
        latency_ns=round(float(good.mean())) - display_ns,
        spread_ns=round(float(good.std())),
        used=len(good),
        looked_at=looked_at,
        method="clock",
    )


def measure_motion(episode: Episode, camera: str, *, advance: Advance | None = None) -> Latency:
    """Return a camera's latency from how its picture changes while the joints move.

    What changes between two frames goes with how far the joints moved between the two instants of the light; the shift
    at which the rank correlation of the two is highest is the latency. Raises LatencyError where it stays low, where it
    has no clear peak, or where parts of the recording disagree.
    """
    _need_colour(episode, camera)
    travel = _travel(episode, camera)
    stamps = episode.time_ns(camera)
    change, times, looked_at = _change(episode, camera, stamps, advance)
    if len(change) < LEAST_READ:
        raise LatencyError(camera, f"it has {looked_at} frames", f"record {LEAST_READ} or more, a few seconds")
    lag = _peak(camera, change, times, travel)
    parts = [_best(c, t, travel)[0] for c, t in _split(change, times)]
    spread = float(np.std(parts))
    if spread > LARGEST_DISAGREEMENT_NS:
        found = f"parts of the recording say {', '.join(f'{p / 1e6:.0f}' for p in parts)} ms"
        raise LatencyError(camera, found, "let the robot start and stop in the picture, again and again, all the time")
    return Latency(
        camera=camera,
        latency_ns=round(lag),
        spread_ns=round(spread),
        used=len(change),
        looked_at=looked_at,
        method="motion",
    )


type Travel = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Stamps, never falling [ns], and how far all joints have moved until then [rad]."""


def _travel(episode: Episode, camera: str) -> Travel:
    """Return how far all joints together have moved until each instant."""
    if not isinstance(episode.streams.get(JOINTS), ScalarStream) or episode.count(JOINTS) < LEAST_READ:
        raise LatencyError(camera, f"the episode has no stream {JOINTS}", "use the clock: waldo latency clock")
    position = episode.values(JOINTS, "position").astype(np.float64)
    steps = np.abs(np.diff(position, axis=0)).sum(axis=1)
    stamps = np.maximum.accumulate(episode.time_ns(JOINTS))
    moved = np.concatenate([[0.0], np.cumsum(np.nan_to_num(steps))])
    if moved[-1] < 0.1:
        raise LatencyError(camera, f"all joints together moved {moved[-1]:.3f} rad", "move the robot in the picture")
    return stamps, moved


def _change(
    episode: Episode, camera: str, stamps: NDArray[np.int64], advance: Advance | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return how much each picture differs from the one before, (n,), and both their stamps, (n, 2) [ns]."""
    change: list[float] = []
    pairs: list[tuple[int, int]] = []
    before: NDArray[np.float32] | None = None
    looked_at = 0
    for index, rgb in _frames(episode, camera, advance):
        looked_at += 1
        small = _small(rgb)
        if before is not None and stamps[index] > stamps[index - 1]:
            change.append(float(np.abs(small - before).mean()))
            pairs.append((int(stamps[index - 1]), int(stamps[index])))
        before = small
    return np.array(change), np.array(pairs, np.int64).reshape(-1, 2), looked_at


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a picture as a small grey one: noise averages out."""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    size = (SMALL, max(1, round(SMALL * grey.shape[0] / grey.shape[1])))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _peak(camera: str, change: NDArray[np.float64], times: NDArray[np.int64], travel: Travel) -> float:
    """Return the lag [ns] at which change and travel go together best; refuse what is no peak."""
    lag, curve = _best(change, times, travel)
    at = int(np.nanargmax(curve))
    best = float(curve[at])
    if best < LEAST_CORRELATION:
        found = f"motion in the picture and of the joints go together by {best:.2f}, expected {LEAST_CORRELATION}"
        raise LatencyError(camera, found, "move the robot so that it fills more of the picture and all else is still")
    around = round(200_000_000 / LAG_STEP_NS)
    left, right = curve[max(at - around, 0)], curve[min(at + around, len(curve) - 1)]
    if best - max(left, right) < LEAST_DROP:
        raise LatencyError(camera, "the motion is too even", "let the robot start and stop again and again")
    return lag


def _best(change: NDArray[np.float64], times: NDArray[np.int64], travel: Travel) -> tuple[float, NDArray[np.float64]]:
    """Return the best lag [ns] and the rank correlation at every lag."""
    lags = np.arange(LAGS_NS[0], LAGS_NS[1] + 1, LAG_STEP_NS)
    zero = int(travel[0][0])
    at, moved = (travel[0] - zero).astype(np.float64), travel[1]
    ranked = _ranks(change)
    curve = np.empty(len(lags))
    for place, lag in enumerate(lags.tolist()):
        ends = np.interp((times - zero - lag).astype(np.float64), at, moved)
        curve[place] = _correlation(ranked, _ranks(ends[:, 1] - ends[:, 0]))
    # A flat top is left by its middle: ranks change in steps.
    top = np.flatnonzero(curve >= np.nanmax(curve) - 0.002)
    return float(lags[top].mean()), curve


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal ones share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; 0 where one of both does not vary."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def _split(
    change: NDArray[np.float64], times: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield the parts of a recording."""
    yield from zip(np.array_split(change, PARTS), np.array_split(times, PARTS), strict=True)


def _frames(episode: Episode, camera: str, advance: Advance | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield index and picture of the frames that are looked at: those in the middle, where a recording has settled."""
    count = episode.count(camera)
    total = min(count, MOST_FRAMES)
    first = (count - total) // 2
    shard = episode.shard(camera)
    for at in range(first, first + total, AT_ONCE):
        chosen = range(at, min(at + AT_ONCE, first + total))
        if advance is not None:
            advance(at - first, total)
        yield from zip(chosen, shard.read(chosen), strict=True)
    if advance is not None:
        advance(total, total)


def _need_colour(episode: Episode, camera: str) -> None:
    """Refuse depth images and cameras without frames."""
    if isinstance(episode.image_stream(camera), DepthStream):
        raise LatencyError(camera, "it has depth images, no colours", "measure the colour camera of the same device")
    if not episode.count(camera):
        raise LatencyError(camera, "it has no frames", "record an episode with it")
