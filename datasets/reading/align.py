"""Align streams of different rates to common instants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError

type Policy = Literal["hold", "nearest", "next", "linear"]
"""Which sample of a stream represents an instant.

* hold: the last one at or before the instant, which is what a policy on the robot has received
* nearest: the closest one on either side
* next: the first one at or after the instant, such as the command that answers an observation; after the end of the
  stream, the last one
* linear: interpolated between the one before and the one after
"""

POLICIES = ("hold", "nearest", "next", "linear")

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The samples of a stream that represent instants. All arrays have the shape (rows,)."""

    index: NDArray[np.int64]
    """Index of the sample of each instant; -1 without a valid sample."""
    weight: NDArray[np.float64]
    """Weight of the sample after `index`, 0..1; 0 except for "linear"."""
    staleness_ns: Times
    """Instant minus stamp of the sample: positive for an older sample. For "linear", that of the farther sample."""
    valid: NDArray[np.bool_]
    """Whether there is a sample within `max_staleness_s`."""

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of shape (samples, ...) at the instants, (rows, ...) as floats; NaN where not valid."""
        if not len(values):
            return np.full((len(self.index), *values.shape[1:]), np.nan)
        before = np.maximum(self.index, 0)
        after = np.minimum(before + 1, len(values) - 1)
        weight = self.weight.reshape(-1, *([1] * (values.ndim - 1)))
        # Not a + w (b - a): with w = 0 the result must be exactly a, even if b is NaN.
        out = np.where(weight == 0, values[before], (1 - weight) * values[before] + weight * values[after])
        out[~self.valid] = np.nan
        return out


def align(instants_ns: Times, stamps_ns: Times, policy: Policy, *, max_staleness_s: float) -> Alignment:
    """Return the samples of a stream that represent instants.

    Args:
        instants_ns: Shape (rows,) [ns].
        stamps_ns: Stamps of the samples in any order, shape (samples,) [ns].
        policy: Which sample represents an instant.
        max_staleness_s: Largest distance in time between an instant and its sample [s].
    """
    if policy not in POLICIES:
        raise InvalidValueError("policy", policy, f"one of {', '.join(POLICIES)}")
    rows = len(instants_ns)
    if not len(stamps_ns):
        none = np.zeros(rows, np.int64)
        return Alignment(index=none - 1, weight=np.zeros(rows), staleness_ns=none, valid=np.zeros(rows, bool))
    order = np.argsort(stamps_ns, kind="stable")
    stamps = stamps_ns[order]
    last = len(stamps) - 1
    before = np.searchsorted(stamps, instants_ns, "right") - 1
    after = np.searchsorted(stamps, instants_ns, "left")
    exists_before, exists_after = before >= 0, after <= last
    before, after = np.maximum(before, 0), np.minimum(after, last)
    weight = np.zeros(rows)
    exists = np.ones(rows, bool)
    if policy == "hold":
        chosen, exists = before, exists_before
    elif policy == "next":
        chosen = after
    elif policy == "nearest":
        closer_after = np.abs(stamps[after] - instants_ns) < np.abs(instants_ns - stamps[before])
        chosen = np.where(closer_after, after, before)
    else:
        chosen, exists = before, exists_before & exists_after
        span = np.maximum(stamps[after] - stamps[before], 1)
        weight = np.where(after > before, (instants_ns - stamps[before]) / span, 0.0)
    staleness = instants_ns - stamps[chosen]
    if policy == "linear":
        ahead = stamps[after] - instants_ns
        staleness = np.where(exists & (ahead > staleness), -ahead, staleness)
        # `apply` interpolates between consecutive indices; samples out of order are not interpolated.
        consecutive = order[np.minimum(chosen + 1, last)] == order[chosen] + 1
        weight = np.where(consecutive, weight, 0.0)
    valid = exists & (np.abs(staleness) <= round(max_staleness_s * 1e9))
    return Alignment(index=np.where(valid, order[chosen], -1), weight=weight, staleness_ns=staleness, valid=valid)


def regular_grid(start_ns: int, stop_ns: int, rate_hz: float) -> Times:
    """Return instants from `start_ns` to `stop_ns` inclusive at an exact rate, (rows,) [ns], without drift."""
    count = int(np.floor((stop_ns - start_ns) * rate_hz / 1e9 + 1e-6)) + 1
    return start_ns + np.round(np.arange(max(count, 0)) * 1e9 / rate_hz).astype(np.int64)


def frame_grid(stamps_ns: Times, rate_hz: float) -> Times:
    """Return one instant per frame of a camera and one for each missing frame, (rows,) [ns].

    The instants are the stamps of the frames, so a camera that runs at 29.97 Hz still has one row per frame. In longer
    intervals, one instant is inserted for each missing frame. A slow loop tracks the phase of the camera to distinguish
    jitter from a missing frame.

    Args:
        stamps_ns: Stamps of the frames, shape (frames,) [ns].
        rate_hz: Nominal rate of the camera.
    """
    if len(stamps_ns) < 2:
        return stamps_ns.copy()
    stamps = np.sort(stamps_ns)
    period = float(1e9 / rate_hz)
    grid: list[NDArray[np.int64]] = [stamps[:1]]
    phase = float(stamps[0])
    for before, now in zip(stamps[:-1].tolist(), stamps[1:].tolist(), strict=True):
        steps = max(1, round((now - phase) / period))
        phase += steps * period
        phase += 0.1 * (now - phase)
        grid.append(before + np.round(np.arange(1, steps + 1) * (now - before) / steps).astype(np.int64))
    return np.concatenate(grid)
