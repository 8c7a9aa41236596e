"""Motor heat of simulated worlds, at a few percent of a physics step's cost.

A tick only keeps its torques. Every four seconds they become heat all together: the mean loss of each tenth of a second
drives the two nodes through it. What is read in between is worked out from there and changes nothing, so the course is
the same, bit for bit, whoever reads it and when.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waldo.robots.description import Robot
from waldo.robots.thermal.duty import DutyMeter
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, TwoNodeModel
from waldo.typing import Array

Indices = NDArray[np.int64]

AMBIENT_C = 25.0
"""Temperature of the air [°C]."""
KEPT_TICKS = 240
"""Ticks whose torques are kept before they become heat."""
PART_TICKS = 6
"""Ticks whose losses are taken as their mean: a tenth of a second, short against any winding's time constant."""


class SimulatedHeat:
    """Windings and housings of a robot's motors in many worlds. Shapes (worlds, motors)."""

    def __init__(self, robot: Robot, worlds: int, tick_s: float, actuators: Indices, actuator_count: int) -> None:
        """Take the robot, a tick's length [s], and which of the physics' actuators are its joints' (motors,)."""
        motors = [joint.motor for joint in robot.joints]
        self.model = TwoNodeModel([motor.need_thermal("simulated motor heat") for motor in motors])
        self.torque_constant = np.array([m.need("torque_constant_nm_per_a", "simulated motor heat") for m in motors])
        self.resistance = np.array([m.need("resistance_ohm", "simulated motor heat") for m in motors])
        self.limit_c = np.array([m.winding_limit_c if m.winding_limit_c is not None else np.nan for m in motors])
        rated = [m.rated_torque_nm if m.rated_torque_nm is not None else np.nan for m in motors]
        self.ambient_c = AMBIENT_C
        self._tick_s, self._actuators = tick_s, actuators
        self._matrix, self._by_loss, self._by_air = self.model.matrices(tick_s * np.arange(PART_TICKS + 1))
        self._torques = np.zeros((KEPT_TICKS, worlds, actuator_count))
        self._ticks = np.zeros(worlds, dtype=np.int64)
        self._even: int | None = 0
        """How many ticks all worlds have kept; None where they differ."""
        self._base = self.model.at_ambient(AMBIENT_C, (worlds,))
        self._duty = DutyMeter(np.array(rated), worlds=(worlds,))
        self._told: tuple[Array, DutyMeter] | None = None

    def restart(self, which: Indices, warm: ArrayLike | None = None) -> None:
        """Let the worlds `which` (n,) start anew, at ambient or at `warm`, (..., 2) or (..., motors, 2) [°C]."""
        self.settle(which)
        start = self.model.at_ambient(self.ambient_c, (len(which),))
        self._base[which] = start if warm is None else np.broadcast_to(np.asarray(warm, dtype=float), start.shape)
        self._duty.restart(which)

    def settle(self, which: Indices) -> None:
        """Turn what the worlds `which` (n,) have kept into heat, so that they may go on from another tick."""
        for ticks, rows in self._kept(which):
            self._base[rows] = self._warmed(rows, ticks, self._duty)
        self._ticks[which] = 0
        self._even = 0 if not self._ticks.any() else None
        self._told = None

    def add(self, actuator_force: Array, which: Indices | None = None) -> None:
        """Count a tick with the physics' torques (worlds, actuators) [N·m], in the worlds `which` (None: all)."""
        self._told = None
        if which is None and self._even is not None:
            self._torques[self._even] = actuator_force
            self._even += 1
            if self._even == KEPT_TICKS:
                self.settle(np.arange(len(self._ticks)))
            return
        if self._even is not None:
            self._ticks[:], self._even = self._even, None
        rows = np.arange(len(self._ticks)) if which is None else which
        self._torques[self._ticks[rows], rows] = actuator_force[rows]
        self._ticks[rows] += 1
        full = rows[self._ticks[rows] == KEPT_TICKS]
        if len(full):
            self.settle(full)

    @property
    def state_c(self) -> Array:
        """Winding and housing now, (worlds, motors, 2) [°C]."""
        return self._now()[0]

    @property
    def duty(self) -> DutyMeter:
        """What the motors were asked to do until now."""
        return self._now()[1]

    def _now(self) -> tuple[Array, DutyMeter]:
        if self._told is None:
            state, duty = self._base.copy(), copy.deepcopy(self._duty)
            for ticks, rows in self._kept(np.arange(len(self._ticks))):
                state[rows] = self._warmed(rows, ticks, duty)
            self._told = state, duty
        return self._told

    def _kept(self, which: Indices) -> Iterator[tuple[int, Indices]]:
        """Say how many ticks are kept of which worlds, those alike together; of worlds that keep none nothing."""
        if self._even is not None:
            self._ticks[:] = self._even
            if self._even and len(which):
                yield self._even, which
            return
        kept = self._ticks[which]
        for ticks in np.unique(kept[kept > 0]).tolist():
            yield ticks, which[kept == ticks]

    def _warmed(self, rows: Indices, ticks: int, duty: DutyMeter) -> Array:
        """Return the state of worlds (n, motors, 2) [°C] after the ticks that they have kept, and count these."""
        torques = self._torques[:ticks, rows[:, None], self._actuators]
        squares = np.square(torques)
        starts = np.arange(0, ticks, PART_TICKS)
        lengths = np.minimum(ticks - starts, PART_TICKS)
        copper = np.add.reduceat(squares, starts) / lengths[:, None, None]
        copper *= self.resistance / np.square(self.torque_constant)
        course = self._course(self._base[rows], copper, lengths)
        winding = course[..., 0]
        loss = copper * (1 + COPPER_ALPHA_PER_K * (winding[:-1] - 25))
        # Not a matrix product: BLAS rounds the last bit by the number of rows, so worlds would depend on each other.
        joules: Array = np.sum((lengths * self._tick_s)[:, None, None] * loss, axis=0)
        working = np.abs(torques) > duty.threshold_nm
        seconds = ticks * self._tick_s
        duty.count(squares.mean(axis=0), working.mean(axis=0), joules, winding[1:].max(axis=0), seconds, rows)
        return course[-1]

    def _course(self, state_c: Array, copper_w: Array, lengths: Indices) -> Array:
        """Return the states (parts + 1, n, motors, 2) [°C] from `state_c` on; the losses are those at 25 °C.

        With the loss at a part's begin the step is linear: x' = (E + α P b e_w) x + (1 - 25 α) P b + a T_a.
        """
        heat = copper_w[..., None] * self._by_loss[lengths, None]
        matrix = np.repeat(self._matrix[lengths, None], len(state_c), axis=1)
        matrix[..., 0] += COPPER_ALPHA_PER_K * heat
        push = heat * (1 - 25 * COPPER_ALPHA_PER_K) + self._by_air[lengths, None] * self.ambient_c
        course = np.empty((len(lengths) + 1, *state_c.shape, 1))
        course[0] = state_c[..., None]
        state = course[0]
        for part, by_loss, end in zip(matrix, push[..., None], course[1:], strict=True):
            np.matmul(part, state, out=end)
            state = np.add(end, by_loss, out=end)
        return course[..., 0]
