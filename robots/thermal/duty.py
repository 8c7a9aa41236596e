"""Duty of motors over the last ten minutes (IEC 60034-1) and totals since the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array

DUTY_PERIOD_S = 600.0
"""Period of the cyclic duration factor ED% in IEC 60034-1 [s]."""

BINS = 60
"""Bins of the period: the window moves in steps of a sixtieth of it, ten seconds."""

WORKING_RATIO = 0.05
"""Fraction of the rated torque above which a motor counts as working."""


class DutyMeter:
    """Energy, thermally equivalent torque, peak winding temperature and duty of motors. Shapes (..., motors).

    The duty is the fraction of time with a torque above 5 % of the rated torque; over ten minutes it is the cyclic
    duration factor ED%. Before ten minutes have passed, it is the fraction of the time so far.
    """

    def __init__(self, rated_torque_nm: Array, worlds: tuple[int, ...] = ()) -> None:
        """Start counting.

        Args:
            rated_torque_nm: Rated torques (motors,) [N·m]; NaN where not published.
            worlds: Leading axes of all arrays.
        """
        self.rated_torque_nm = np.asarray(rated_torque_nm, dtype=float)
        self.threshold_nm = np.where(np.isfinite(self.rated_torque_nm), self.rated_torque_nm * WORKING_RATIO, 0.0)
        """Torques above which a motor counts as working, (motors,) [N·m]."""
        shape = (*worlds, *self.rated_torque_nm.shape)
        self._total_s: Array = np.zeros((*worlds, 1))
        self._bin_s: Array = np.zeros((*worlds, 1, BINS))
        self._square: Array = np.zeros((*shape, BINS))
        self._working: Array = np.zeros((*shape, BINS))
        self._heat: Array = np.zeros((*shape, BINS))
        self._joules: Array = np.zeros(shape)
        self._peak: Array = np.full(shape, -np.inf)
        self._bin: NDArray[np.int64] = np.zeros(worlds, dtype=np.int64)

    def restart(self, which: NDArray[np.int64]) -> None:
        """Reset the worlds `which`, (n,); only for a meter with a leading axis of worlds."""
        for array in (self._total_s, self._bin_s, self._square, self._working, self._heat, self._joules, self._bin):
            array[which] = 0
        self._peak[which] = -np.inf

    def add(
        self, torque_nm: Array, loss_w: Array, winding_c: Array, dt_s: float, which: NDArray[np.int64] | None = None
    ) -> None:
        """Count a time step.

        Args:
            torque_nm: Torques (..., motors) [N·m].
            loss_w: Losses (..., motors) [W].
            winding_c: Winding temperatures (..., motors) [°C].
            dt_s: Length of the step [s].
            which: Indices of the worlds that the arrays belong to, (n,); None for all.
        """
        working = np.asarray(np.abs(torque_nm) > self.threshold_nm, dtype=float)
        self.count(np.square(torque_nm), working, loss_w * dt_s, winding_c, dt_s, which)

    def count(
        self,
        mean_square: Array,
        working_ratio: Array,
        joules: Array,
        peak_c: Array,
        seconds: float,
        which: NDArray[np.int64] | None = None,
    ) -> None:
        """Count a period that has been averaged already.

        Args:
            mean_square: Mean squared torques (..., motors) [N²m²].
            working_ratio: Fractions of the period under load (..., motors).
            joules: Heat put into the windings (..., motors) [J].
            peak_c: Maximum winding temperatures (..., motors) [°C].
            seconds: Length of the period [s].
            which: Indices of the worlds that the arrays belong to, (n,); None for all.
        """
        worlds = np.arange(len(self._bin)) if which is None and self._bin.ndim else which
        place = self._open_bin(worlds)
        self._bin_s[place] += seconds
        self._square[place] += seconds * mean_square
        self._working[place] += seconds * working_ratio
        self._heat[place] += joules
        rows = ... if worlds is None else worlds
        self._total_s[rows] += seconds
        self._joules[rows] += joules
        self._peak[rows] = np.maximum(self._peak[rows], peak_c)

    def _open_bin(self, worlds: NDArray[np.int64] | None) -> Any:
        """Return the index of the current bin, which is cleared when the window reaches it again."""
        if worlds is None:
            index = int(self._total_s[0] / (DUTY_PERIOD_S / BINS)) % BINS
            if index != int(self._bin):
                self._bin[...] = index
                for array in (self._bin_s, self._square, self._working, self._heat):
                    array[..., index] = 0
            return (..., index)
        index = (self._total_s[worlds, 0] / (DUTY_PERIOD_S / BINS)).astype(np.int64) % BINS
        fresh = index != self._bin[worlds]
        if fresh.any():
            self._bin[worlds] = index
            for array in (self._bin_s, self._square, self._working, self._heat):
                array[worlds[fresh], :, index[fresh]] = 0
        return (worlds, slice(None), index)

    @property
    def seconds(self) -> Array:
        """Time counted since the start, (..., 1) [s]."""
        return self._total_s.copy()

    @property
    def duty_ratio(self) -> Array:
        """Fraction of the last ten minutes under load, 0 to 1 (ED% / 100)."""
        return self._mean(self._working)

    @property
    def equivalent_torque_nm(self) -> Array:
        """Root mean square of the torque over the last ten minutes [N·m]."""
        return np.sqrt(self._mean(self._square))

    @property
    def heating_w(self) -> Array:
        """Mean heat put into the windings over the last ten minutes [W]."""
        return self._mean(self._heat)

    @property
    def joules(self) -> Array:
        """Heat put into the windings since the start [J]."""
        return self._joules.copy()

    @property
    def peak_winding_c(self) -> Array:
        """Maximum winding temperatures since the start [°C]."""
        return self._peak.copy()

    def _mean(self, bins: Array) -> Array:
        """Return the mean over the window."""
        return bins.sum(axis=-1) / np.maximum(self._bin_s.sum(axis=-1), 1e-12)
