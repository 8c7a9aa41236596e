"""Positions, velocities and efforts of a model's driven joints."""

from __future__ import annotations

import numpy as np

from waldo.sim.engine import Data
from waldo.sim.mjcf.robot_model import RobotModel
from waldo.typing import Array


class Readings:
    """Reads the driven joints of a model; each array has shape (joints,)."""

    def __init__(self, loaded: RobotModel) -> None:
        """Look up what each drive moves."""
        model, count = loaded.model, len(loaded.drives)
        self._lengths, self._rates = np.zeros((count, model.nq)), np.zeros((count, model.nv))
        self.actuators = np.array([model.actuator(name).id for name in loaded.names])
        self._dofs = np.full(count, -1)
        self.own_qpos = np.full(count, -1)
        """Index of each position in `qpos`; -1 for the length of a tendon over several joints."""
        for i, drive in enumerate(loaded.drives):
            for joint, coefficient in drive.transmission.terms.items():
                self._lengths[i, model.jnt_qposadr[joint]] = coefficient
                self._rates[i, model.jnt_dofadr[joint]] = coefficient
            if drive.transmission.joint >= 0:
                self.own_qpos[i] = model.jnt_qposadr[drive.transmission.joint]
            if drive.transmission.tendon < 0:
                self._dofs[i] = model.jnt_dofadr[drive.transmission.joint]

    def position(self, data: Data) -> Array:
        """Return the positions [rad or m]."""
        return self._lengths @ data.qpos

    def velocity(self, data: Data) -> Array:
        """Return the velocities [rad/s or m/s]."""
        return self._rates @ data.qvel

    def effort(self, data: Data) -> Array:
        """Return the torques or forces [N·m or N]; that of a joint sums its actuators, within its own limit."""
        return np.where(self._dofs >= 0, data.qfrc_actuator[self._dofs], data.actuator_force[self.actuators])
