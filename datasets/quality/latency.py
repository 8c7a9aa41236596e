"""Measure a camera's latency, the time from exposure to the stamp in the message header, from a recording.

Two methods: a clock filmed by the camera (clock_code.py), accurate to a few milliseconds; or the robot's own motion in
the images compared with the joint speeds, accurate to about 10 ms, for when no screen is available.
`Dataset.set_latency` stores the result, which is then subtracted from the stamps wherever frames are read by time.
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
from waldo.datasets.schema import STATE
from waldo.datasets.streams import DepthStream, ScalarStream
from waldo.errors import WaldoError, count

MIN_READINGS = 20
"""Number of frames in which the clock must be readable."""

MAX_SPREAD_NS = 20_000_000
"""Largest accepted spread (scaled median absolute deviation) of the clock readings [ns]."""

MAX_FRAMES = 600
"""Number of frames that are analyzed at most."""

FRAMES_AT_ONCE = 30
"""Number of frames that are decoded at a time."""

LAGS_NS = (-200_000_000, 1_000_000_000)
"""Range of latencies that are searched with the motion method [ns]."""

LAG_STEP_NS = 2_000_000
"""Step of the search [ns]."""

MIN_CORRELATION = 0.6
"""Smallest accepted rank correlation of image change and joint speed."""

MIN_DROP = 0.05
"""How far the correlation must fall within 0.2 s of its peak; with a uniform motion it does not."""

MAX_DISAGREEMENT_NS = 25_000_000
"""Largest accepted standard deviation between parts of a recording [ns]."""

PARTS = 4
"""Number of parts of a recording that are compared."""

ANALYSIS_WIDTH = 80
"""Width to which images are scaled for the motion method [px]."""

type Advance = Callable[[int, int], None]
"""Called with the number of analyzed frames and the total."""


class LatencyError(WaldoError):
    """A recording from which the latency of a camera cannot be measured."""

    def __init__(self, camera: str, found: str, do: str) -> None:
        """Build the message from the camera, the finding and what to do."""
        super().__init__(f"cannot measure the latency of {camera}: {found}; {do}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The measured latency of one camera."""

    camera: str
    """Camera stream."""
    latency_ns: int
    """Time from exposure to the header stamp [ns]."""
    spread_ns: int
    """Standard deviation of the readings (clock) or of the parts of the recording (motion) [ns]."""
    used: int
    """Number of readings that the result is based on."""
    frames: int
    """Number of frames that were analyzed."""
    method: Literal["clock", "motion"]
    """Method of the measurement."""


def measure_clock(episode: Episode, camera: str, *, display_ns: int = 0, advance: Advance | None = None) -> Latency:
    """Return a camera's latency measured with the clock in its images.

    Args:
        episode: The recording.
        camera: Camera stream.
        display_ns: Latency of the screen, which is subtracted [ns].
        advance: Progress callback.

    Raises:
        LatencyError: If the clock is readable in too few frames, or the readings are inconsistent.
    """
    _require_color(episode, camera)
    stamps = episode.time_ns(camera)
    differences: list[int] = []
    frames = 0
    for index, rgb in _frames(episode, camera, advance):
        frames += 1
        shown = clock_code.read(rgb, int(stamps[index]))
        if shown is not None:
            differences.append(int(stamps[index]) - shown)
    if len(differences) < MIN_READINGS:
        found = (
            f"the clock is readable in {len(differences)} of {count(frames, 'frame')}, expected {MIN_READINGS} or more"
        )
        raise LatencyError(camera, found, "film the whole board in focus, large and without glare, for a few seconds")
    return fit_clock(camera, np.array(differences), frames, display_ns)


def fit_clock(camera: str, differences: NDArray[np.int64], frames: int, display_ns: int) -> Latency:
    """Return the latency from clock readings.

    Args:
        camera: Camera stream.
        differences: Header stamp minus displayed time, shape (readings,) [ns].
        frames: Number of frames that were analyzed.
        display_ns: Latency of the screen, which is subtracted [ns].

    Raises:
        LatencyError: If the readings are inconsistent.
    """
    middle = np.median(differences)
    spread = 1.4826 * float(np.median(np.abs(differences - middle)))
    good = differences[np.abs(differences - middle) <= 3 * max(spread, clock_code.TICK_NS / 2)]
    if spread > MAX_SPREAD_NS or len(good) < max(MIN_READINGS, 0.7 * len(differences)):
        found = f"{len(differences)} readings spread by {spread / 1e6:.0f} ms around {middle / 1e6:.0f} ms"
        raise LatencyError(camera, found, "make sure that all stamps are of one clock, and record again")
    # The mean of the consistent readings resolves the 10 ms ticks of the clock better than the median.
    return Latency(
        camera=camera,
        latency_ns=round(float(good.mean())) - display_ns,
        spread_ns=round(float(good.std())),
        used=len(good),
        frames=frames,
        method="clock",
    )


def measure_motion(episode: Episode, camera: str, *, advance: Advance | None = None) -> Latency:
    """Return a camera's latency measured with the motion of the robot in its images.

    The change between two frames correlates with the joint movement between their exposure times. The latency is the
    shift with the highest rank correlation.

    Raises:
        LatencyError: If the correlation is low or has no clear peak, or if parts of the recording disagree.
    """
    _require_color(episode, camera)
    travel = _travel(episode, camera)
    stamps = episode.time_ns(camera)
    change, times, frames = _change(episode, camera, stamps, advance)
    if len(change) < MIN_READINGS:
        raise LatencyError(camera, f"it has {count(frames, 'frame')}", f"record {MIN_READINGS} or more, a few seconds")
    lag = _peak(camera, change, times, travel)
    parts = [_best(c, t, travel)[0] for c, t in _split(change, times)]
    spread = float(np.std(parts))
    if spread > MAX_DISAGREEMENT_NS:
        found = f"parts of the recording result in {', '.join(f'{p / 1e6:.0f}' for p in parts)} ms"
        raise LatencyError(
            camera, found, "let the robot start and stop repeatedly in view of the camera during the whole recording"
        )
    return Latency(
        camera=camera,
        latency_ns=round(lag),
        spread_ns=round(spread),
        used=len(change),
        frames=frames,
        method="motion",
    )


type Travel = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Non-decreasing stamps (T,) [ns] and the accumulated movement of all joints (T,) [rad]."""


def _travel(episode: Episode, camera: str) -> Travel:
    """Return the accumulated movement of all joints over time."""
    if not isinstance(episode.streams.get(STATE), ScalarStream) or episode.count(STATE) < MIN_READINGS:
        raise LatencyError(camera, f"the episode has no stream {STATE}", "use the clock: waldo latency clock")
    position = episode.values(STATE, "position").astype(np.float64)
    steps = np.abs(np.diff(position, axis=0)).sum(axis=1)
    stamps = np.maximum.accumulate(episode.time_ns(STATE))
    moved = np.concatenate([[0.0], np.cumsum(np.nan_to_num(steps))])
    if moved[-1] < 0.1:
        raise LatencyError(
            camera, f"all joints together moved {moved[-1]:.3f} rad", "move the robot in view of the camera"
        )
    return stamps, moved


def _change(
    episode: Episode, camera: str, stamps: NDArray[np.int64], advance: Advance | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return the change from frame to frame, (n,), the stamps of both, (n, 2) [ns], and the number of frames."""
    change: list[float] = []
    pairs: list[tuple[int, int]] = []
    before: NDArray[np.float32] | None = None
    frames = 0
    for index, rgb in _frames(episode, camera, advance):
        frames += 1
        small = _small(rgb)
        if before is not None and stamps[index] > stamps[index - 1]:
            change.append(float(np.abs(small - before).mean()))
            pairs.append((int(stamps[index - 1]), int(stamps[index])))
        before = small
    return np.array(change), np.array(pairs, np.int64).reshape(-1, 2), frames


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a small grayscale version of an image, in which noise averages out."""
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    size = (ANALYSIS_WIDTH, max(1, round(ANALYSIS_WIDTH * gray.shape[0] / gray.shape[1])))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)


def _peak(camera: str, change: NDArray[np.float64], times: NDArray[np.int64], travel: Travel) -> float:
    """Return the lag with the highest correlation [ns]; raise LatencyError if there is no clear peak."""
    lag, curve = _best(change, times, travel)
    at = int(np.nanargmax(curve))
    best = float(curve[at])
    if best < MIN_CORRELATION:
        found = f"the correlation of image and joint motion is {best:.2f}, expected {MIN_CORRELATION} or more"
        raise LatencyError(camera, found, "let the robot fill more of the image, and keep everything else still")
    around = round(200_000_000 / LAG_STEP_NS)
    left, right = curve[max(at - around, 0)], curve[min(at + around, len(curve) - 1)]
    if best - max(left, right) < MIN_DROP:
        raise LatencyError(camera, "the motion is too uniform", "let the robot start and stop repeatedly")
    return lag


def _best(change: NDArray[np.float64], times: NDArray[np.int64], travel: Travel) -> tuple[float, NDArray[np.float64]]:
    """Return the lag with the highest rank correlation [ns] and the correlation at every lag."""
    lags = np.arange(LAGS_NS[0], LAGS_NS[1] + 1, LAG_STEP_NS)
    zero = int(travel[0][0])
    at, moved = (travel[0] - zero).astype(np.float64), travel[1]
    ranked = _ranks(change)
    curve = np.empty(len(lags))
    for index, lag in enumerate(lags.tolist()):
        ends = np.interp((times - zero - lag).astype(np.float64), at, moved)
        curve[index] = _correlation(ranked, _ranks(ends[:, 1] - ends[:, 0]))
    # The center of the peak, which is flat because ranks change in steps.
    top = np.flatnonzero(curve >= np.nanmax(curve) - 0.002)
    return float(lags[top].mean()), curve


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Pearson's correlation coefficient; 0 if one of the inputs is constant."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def _split(
    change: NDArray[np.float64], times: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield the parts of a recording."""
    yield from zip(np.array_split(change, PARTS), np.array_split(times, PARTS), strict=True)


def _frames(episode: Episode, camera: str, advance: Advance | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield index and image of the frames to analyze, from the middle of the recording."""
    recorded = episode.count(camera)
    total = min(recorded, MAX_FRAMES)
    first = (recorded - total) // 2
    shard = episode.shard(camera)
    for at in range(first, first + total, FRAMES_AT_ONCE):
        chosen = range(at, min(at + FRAMES_AT_ONCE, first + total))
        if advance is not None:
            advance(at - first, total)
        yield from zip(chosen, shard.read(chosen), strict=True)
    if advance is not None:
        advance(total, total)


def _require_color(episode: Episode, camera: str) -> None:
    """Raise LatencyError for depth images and cameras without frames."""
    if isinstance(episode.image_stream(camera), DepthStream):
        raise LatencyError(camera, "it records depth", "measure the color camera of the same device")
    if not episode.count(camera):
        raise LatencyError(camera, "it has no frames", "record an episode with it")
