r"""The one-euro filter: a low-pass whose cutoff grows with the speed, for tremor at rest and little delay in motion.

Casiez, Roussel, Vogel: 1€ Filter, CHI 2012. The cutoff is $f = f_{min} + \beta \lvert \dot x \rvert$ and the delay
of a slow motion is that of a first-order low-pass, $1 / (2 \pi f)$: with the defaults 40 ms at rest, 13 ms at 0.25 m/s,
and 4 ms at 1 m/s.
"""

from __future__ import annotations

import numpy as np

from waldo.collect.retargeting.frames import rotation_matrix, rotation_vector
from waldo.typing import Array

SPEED_CUTOFF_HZ = 2.0
"""Cutoff of the low-pass of the speed [Hz]."""


def delay_s(cutoff_hz: float) -> float:
    """Return the delay of a slow motion through a first-order low-pass [s]; 0 for a cutoff of 0, no filter."""
    return 1 / (2 * np.pi * cutoff_hz) if cutoff_hz > 0 else 0.0


class PoseFilter:
    """A one-euro filter of a pose: of its position, and of its rotation as an increment."""

    def __init__(self, cutoff_hz: float, gain_per_m: float, gain_per_rad: float) -> None:
        """Initialize without a pose.

        Args:
            cutoff_hz: Cutoff at rest [Hz]; 0 passes poses unchanged.
            gain_per_m: Increase of the cutoff with the speed [Hz per m/s].
            gain_per_rad: Increase of the cutoff with the angular speed [Hz per rad/s].
        """
        self._cutoff_hz = cutoff_hz
        self._gains = np.array([gain_per_m, gain_per_rad])
        self._pose: Array | None = None
        self._raw: Array | None = None
        self._speeds = np.zeros((2, 3))

    def reset(self) -> None:
        """Forget the past; the next pose passes unchanged."""
        self._pose = self._raw = None
        self._speeds = np.zeros((2, 3))

    def step(self, pose: Array, dt_s: float) -> Array:
        """Return the filtered pose (4, 4) [m], `dt_s` [s] after the last one."""
        last, raw = self._pose, self._raw
        self._raw = pose.copy()
        if last is None or raw is None or self._cutoff_hz <= 0 or dt_s <= 0:
            self._pose = pose.copy()
            return pose.copy()
        moved = _difference(pose, raw) / dt_s
        self._speeds += _weight(SPEED_CUTOFF_HZ, dt_s) * (moved - self._speeds)
        cutoffs = self._cutoff_hz + self._gains * np.linalg.norm(self._speeds, axis=1)
        steps = _weight(cutoffs, dt_s)[:, None] * _difference(pose, last)
        found = np.eye(4)
        found[:3, 3] = last[:3, 3] + steps[0]
        found[:3, :3] = rotation_matrix(steps[1]) @ last[:3, :3]
        self._pose = found
        return found.copy()


def _difference(pose: Array, other: Array) -> Array:
    """Return the motion (2, 3) from another pose: translation [m] and rotation vector [rad]."""
    return np.stack([pose[:3, 3] - other[:3, 3], rotation_vector(pose[:3, :3] @ other[:3, :3].T)])


def _weight[T: (float, Array)](cutoff_hz: T, dt_s: float) -> T:
    """Return the weight of a new sample in a first-order low-pass."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * dt_s))
