"""What each motor was asked to do over the last ten minutes, as IEC 60034-1 counts it, and since the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array

DUTY_PERIOD_S = 600.0
"""Period over which IEC 60034-1 counts the cyclic duration factor ED% [s]."""

BINS = 60
"""Parts of the period that are summed apart: the window moves on by a sixtieth of it, ten seconds."""

WORKING_SHARE = 0.05
"""A motor works where its torque is above this share of rated."""


class DutyMeter:
    """Energy, thermal-equivalent torque, peak winding and duty of motors. Shapes (..., motors).

    The duty is the share of time with a torque above a twentieth of rated; over ten minutes it is the cyclic duration
    factor ED%. Before ten minutes have passed it is the share so far.
    """

    def __init__(self, rated_torque_nm: Array, worlds: tuple[int, ...] = ()) -> None:
        """Take each motor's rated torque [N·m], NaN where nobody published one, and leading axes if any."""
        self.rated_torque_nm = np.asarray(rated_torque_nm, dtype=float)
        self.threshold_nm = np.where(np.isfinite(self.rated_torque_nm), self.rated_torque_nm * WORKING_SHARE, 0.0)
        """Above this torque a motor works [N·m]."""
        shape = (*worlds, *self.rated_torque_nm.shape)
        self._total_s: Array = np.zeros((*worlds, 1))
        self._bin_s: Array = np.zeros((*worlds, 1, BINS))
        self._square: Array = np.zeros((*shape, BINS))
        self._working: Array = np.zeros((*shape, BINS))
        self._joules: Array = np.zeros(shape)
        self._peak: Array = np.full(shape, -np.inf)
        self._at: NDArray[np.int64] = np.zeros(worlds, dtype=np.int64)

    def restart(self, which: NDArray[np.int64]) -> None:
        """Forget what was counted in the worlds `which`, (n,); only for a meter with a leading axis of worlds."""
        for array in (self._total_s, self._bin_s, self._square, self._working, self._joules, self._at):
            array[which] = 0
        self._peak[which] = -np.inf

    def add(
        self, torque_nm: Array, loss_w: Array, winding_c: Array, dt_s: float, which: NDArray[np.int64] | None = None
    ) -> None:
        """Count `dt_s` [s] of torque [N·m], loss [W] and winding temperature [°C], each (..., motors).

        `which`: the worlds that these are of, (n,); None means all.
        """
        working = np.asarray(np.abs(torque_nm) > self.threshold_nm, dtype=float)
        self.count(np.square(torque_nm), working, loss_w * dt_s, winding_c, dt_s, which)

    def count(
        self,
        mean_square: Array,
        working_share: Array,
        joules: Array,
        peak_c: Array,
        seconds: float,
        which: NDArray[np.int64] | None = None,
    ) -> None:
        """Count a stretch of time by its mean squared torque [N²m²], share at work, heat [J] and hottest winding [°C].

        Each (..., motors); `which`: the worlds that these are of, (n,); None means all.
        """
        at = np.arange(len(self._at)) if which is None and self._at.ndim else which
        place = self._open_bin(at)
        self._bin_s[place] += seconds
        self._square[place] += seconds * mean_square
        self._working[place] += seconds * working_share
        rows = ... if at is None else at
        self._total_s[rows] += seconds
        self._joules[rows] += joules
        self._peak[rows] = np.maximum(self._peak[rows], peak_c)

    def _open_bin(self, at: NDArray[np.int64] | None) -> Any:
        """Return where the present moment is counted; a bin that begins anew forgets what was ten minutes ago."""
        if at is None:
            index = int(self._total_s[0] / (DUTY_PERIOD_S / BINS)) % BINS
            if index != int(self._at):
                self._at[...] = index
                for array in (self._bin_s, self._square, self._working):
                    array[..., index] = 0
            return (..., index)
        index = (self._total_s[at, 0] / (DUTY_PERIOD_S / BINS)).astype(np.int64) % BINS
        fresh = index != self._at[at]
        if fresh.any():
            self._at[at] = index
            for array in (self._bin_s, self._square, self._working):
                array[at[fresh], :, index[fresh]] = 0
        return (at, slice(None), index)

    @property
    def seconds(self) -> Array:
        """Time counted since the start, (..., 1) [s]."""
        return self._total_s.copy()

    @property
    def duty_ratio(self) -> Array:
        """Share of the last ten minutes under load, 0..1 (ED% / 100)."""
        return self._mean(self._working)

    @property
    def equivalent_torque_nm(self) -> Array:
        """Root mean square of the torque over the last ten minutes [N·m]."""
        return np.sqrt(self._mean(self._square))

    @property
    def utilization_ratio(self) -> Array:
        """Thermal-equivalent torque over rated; above 1 the motor cannot go on for ever. NaN where rated is unknown."""
        return self.equivalent_torque_nm / self.rated_torque_nm

    @property
    def joules(self) -> Array:
        """Heat put into the winding since the start [J]."""
        return self._joules.copy()

    @property
    def peak_winding_c(self) -> Array:
        """Hottest winding temperature seen [°C]."""
        return self._peak.copy()

    def _mean(self, bins: Array) -> Array:
        """Return the mean over the window."""
        return bins.sum(axis=-1) / np.maximum(self._bin_s.sum(axis=-1), 1e-12)
