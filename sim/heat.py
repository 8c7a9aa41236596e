"""Motor heat of simulated worlds, at a few percent of the cost of a physics step.

A tick only stores its torques. Every four seconds the stored torques are converted to heat in one vectorized pass: the
mean loss of each tenth of a second drives the two-node model through it. Readings in between are computed on a copy, so
the temperatures are the same bit for bit, however often they are read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waldo.robots.description import Robot
from waldo.robots.thermal.duty import DutyMeter
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, TwoNodeModel
from waldo.typing import Array

Indices = NDArray[np.int64]

KEPT_TICKS = 240
"""Ticks whose torques are stored before they are converted to heat."""
SATURATED = 0.99
"""Fraction of its limit from which a drive presses with all it has."""
PART_TICKS = 6
"""Ticks over which the loss is averaged: 0.1 s, short against the time constant of any winding."""


class SimulatedHeat:
    """Temperatures of the windings and housings of a robot's motors in many worlds. Shapes (worlds, motors)."""

    def __init__(self, robot: Robot, worlds: int, tick_s: float, actuators: Indices, actuator_count: int) -> None:
        """Build the thermal model of the robot's motors, all at ambient temperature.

        Args:
            robot: The robot; each of its motors needs thermal constants.
            worlds: Number of worlds.
            tick_s: Length of a tick [s].
            actuators: Indices of the joints' actuators among those of the physics, (motors,).
            actuator_count: Number of actuators of the physics.
        """
        motors = [joint.motor for joint in robot.joints]
        self.model = TwoNodeModel([motor.need_thermal("simulated motor heat") for motor in motors])
        self.torque_constant = np.array([m.need("torque_constant_nm_per_a", "simulated motor heat") for m in motors])
        self.resistance = np.array([m.need("resistance_ohm", "simulated motor heat") for m in motors])
        self.limit_c = np.array([m.winding_limit_c if m.winding_limit_c is not None else np.nan for m in motors])
        self._limit_nm = SATURATED * np.array([joint.effort for joint in robot.joints])
        self._by_friction = np.array([1 / (m.efficiency_ratio or 1.0) for m in motors])
        rated = [m.rated_torque_nm if m.rated_torque_nm is not None else np.nan for m in motors]
        self.ambient_c = AMBIENT_C
        self._tick_s, self._actuators = tick_s, actuators
        self._matrix, self._by_loss, self._by_air = self.model.matrices(tick_s * np.arange(PART_TICKS + 1))
        self._torques = np.zeros((KEPT_TICKS, worlds, actuator_count))
        self._ticks = np.zeros(worlds, dtype=np.int64)
        self._even: int | None = 0
        """Number of stored ticks if it is the same in all worlds, else None."""
        self._base = self.model.at_ambient(AMBIENT_C, (worlds,))
        self._duty = DutyMeter(np.array(rated), worlds=(worlds,))
        self._current: tuple[Array, DutyMeter] | None = None
        """State and duty now, if they were read since the last tick."""

    def restart(self, which: Indices, warm: ArrayLike | None = None) -> None:
        """Reset the worlds `which` (n,) to ambient, or to `warm`, (..., 2) or (..., motors, 2) [°C]."""
        self.settle(which)
        start = self.model.at_ambient(self.ambient_c, (len(which),))
        self._base[which] = start if warm is None else np.broadcast_to(np.asarray(warm, dtype=float), start.shape)
        self._duty.restart(which)

    def settle(self, which: Indices) -> None:
        """Convert the stored torques of the worlds `which` (n,) to heat, so that they can continue at another tick."""
        for ticks, rows in self._stored(which):
            self._base[rows] = self._integrate(rows, ticks, self._duty)
        self._ticks[which] = 0
        self._even = 0 if not self._ticks.any() else None
        self._current = None

    def add(self, actuator_force: Array, which: Indices | None = None) -> None:
        """Store one tick's torques of the physics, (worlds, actuators) [N·m], in the worlds `which` (None: all)."""
        self._current = None
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

    def motor_torque(self, torque_nm: Array) -> Array:
        """Return the torques of the motors [N·m] that joint torques need, (..., motors); the gear's friction is added.

        At its limit a drive presses with all it has, against the friction of its gear: the limit is a stall torque,
        with which the data sheet states the stall current. Below it, friction may act in either direction.
        """
        return np.where(np.abs(torque_nm) >= self._limit_nm, torque_nm * self._by_friction, torque_nm)

    @property
    def state_c(self) -> Array:
        """Temperatures of winding and housing now, (worlds, motors, 2) [°C]."""
        return self._now()[0]

    @property
    def duty(self) -> DutyMeter:
        """Load of the motors up to now."""
        return self._now()[1]

    def _now(self) -> tuple[Array, DutyMeter]:
        if self._current is None:
            state, duty = self._base.copy(), copy.deepcopy(self._duty)
            for ticks, rows in self._stored(np.arange(len(self._ticks))):
                state[rows] = self._integrate(rows, ticks, duty)
            self._current = state, duty
        return self._current

    def _stored(self, which: Indices) -> Iterator[tuple[int, Indices]]:
        """Yield (number of stored ticks, worlds with so many) for the worlds `which`; none without stored ticks."""
        if self._even is not None:
            self._ticks[:] = self._even
            if self._even and len(which):
                yield self._even, which
            return
        stored = self._ticks[which]
        for ticks in np.unique(stored[stored > 0]).tolist():
            yield ticks, which[stored == ticks]

    def _integrate(self, rows: Indices, ticks: int, duty: DutyMeter) -> Array:
        """Return the state after the stored ticks, (n, motors, 2) [°C], and add these ticks to `duty`."""
        torques = self._torques[:ticks, rows[:, None], self._actuators]
        squares = np.square(torques)
        motor_squares = np.square(self.motor_torque(torques))
        starts = np.arange(0, ticks, PART_TICKS)
        lengths = np.minimum(ticks - starts, PART_TICKS)
        copper = np.add.reduceat(motor_squares, starts) / lengths[:, None, None]
        copper *= self.resistance / np.square(self.torque_constant)
        states = self._states(self._base[rows], copper, lengths)
        winding = states[..., 0]
        loss = copper * (1 + COPPER_ALPHA_PER_K * (winding[:-1] - 25))
        # Not a matrix product: BLAS rounds the last bit by the number of rows, so worlds would depend on each other.
        joules: Array = np.sum((lengths * self._tick_s)[:, None, None] * loss, axis=0)
        working = np.abs(torques) > duty.threshold_nm
        seconds = ticks * self._tick_s
        duty.count(squares.mean(axis=0), working.mean(axis=0), joules, winding[1:].max(axis=0), seconds, rows)
        return states[-1]

    def _states(self, state_c: Array, copper_w: Array, lengths: Indices) -> Array:
        """Return the states (parts + 1, n, motors, 2) [°C] from `state_c` on; the losses are those at 25 °C.

        With the loss at the start of each part the step is linear: x' = (E + α P b e_w) x + (1 - 25 α) P b + a T_a.
        """
        heat = copper_w[..., None] * self._by_loss[lengths, None]
        matrix = np.repeat(self._matrix[lengths, None], len(state_c), axis=1)
        matrix[..., 0] += COPPER_ALPHA_PER_K * heat
        push = heat * (1 - 25 * COPPER_ALPHA_PER_K) + self._by_air[lengths, None] * self.ambient_c
        states = np.empty((len(lengths) + 1, *state_c.shape, 1))
        states[0] = state_c[..., None]
        state = states[0]
        for part, by_loss, end in zip(matrix, push[..., None], states[1:], strict=True):
            np.matmul(part, state, out=end)
            state = np.add(end, by_loss, out=end)
        return states[..., 0]
