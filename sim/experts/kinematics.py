"""Inverse kinematics on a robot's own model: damped least squares on one or more sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot
from waldo.sim.engine import mujoco
from waldo.typing import Array

LENGTH_M = 0.1
"""A turn of one radian counts as much as this distance [m]."""
DAMPING = 1e-4
"""Damping of the least squares [m²]."""
TOLERANCE_M = 1e-4
"""Error at which the search ends [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where a site shall be. `axes`: site axis (0 x, 1 y, 2 z) -> the direction that it shall have."""

    site: str
    position: tuple[float, float, float]
    """[m], in the base frame."""
    axes: Mapping[int, tuple[float, float, float]]


class Kinematics:
    """A robot alone in the world: where its sites are, and which joint positions bring them somewhere."""

    def __init__(self, robot: Robot) -> None:
        """Take the robot."""
        self.robot = robot
        self.model = mujoco.MjModel.from_xml_path(str(robot.mjcf_path))
        self.data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in robot.joint_names])
        self._jacobian = np.zeros((2, 3, self.model.nv))

    def site(self, position: Array, site: str) -> tuple[Array, Array]:
        """Return a site's place (3,) [m] and rotation (3, 3) at joint positions (joints,)."""
        self.data.qpos[self._qpos] = position
        mujoco.mj_kinematics(self.model, self.data)
        found = self.data.site(site)
        return found.xpos.copy(), found.xmat.reshape(3, 3).copy()

    def load(self, position: Array) -> Array:
        """Return the torques (joints,) [N·m] that hold the robot at `position` against gravity."""
        self.data.qpos[self._qpos] = position
        self.data.qvel[:] = 0
        mujoco.mj_forward(self.model, self.data)
        return self.data.qfrc_bias[self._dofs].copy()

    def solve(
        self, aims: Sequence[Aim], start: Array, free: Sequence[int], *, rest: Array | None = None, steps: int = 80
    ) -> tuple[Array, float]:
        """Return joint positions (joints,) near `start` that reach the aims, and the error that is left [m].

        Only the joints `free` move. `rest`: positions that spare degrees of freedom drift to.
        """
        position = np.array(start, dtype=float)
        columns = np.asarray(free)
        lower, upper = self.robot.lower[columns], self.robot.upper[columns]
        error = np.inf
        for _step in range(steps):
            residual, jacobian = self._residual(aims, position, columns)
            error = float(np.linalg.norm(residual))
            if error < TOLERANCE_M:
                break
            gram = jacobian @ jacobian.T + DAMPING * np.eye(len(residual))
            move = jacobian.T @ np.linalg.solve(gram, residual)
            if rest is not None:
                drift = 0.1 * (rest - position)[columns]
                move += drift - jacobian.T @ np.linalg.solve(gram, jacobian @ drift)
            position[columns] = np.clip(position[columns] + np.clip(move, -0.3, 0.3), lower, upper)
        return position, error

    def _residual(self, aims: Sequence[Aim], position: Array, columns: NDArray[np.int64]) -> tuple[Array, Array]:
        self.data.qpos[self._qpos] = position
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        residuals: list[Array] = []
        rows: list[Array] = []
        for aim in aims:
            site = self.data.site(aim.site)
            rotation = site.xmat.reshape(3, 3)
            mujoco.mj_jacSite(self.model, self.data, self._jacobian[0], self._jacobian[1], site.id)
            residuals.append(np.array(aim.position) - site.xpos)
            rows.append(self._jacobian[0][:, self._dofs[columns]])
            for axis, direction in aim.axes.items():
                turn = np.cross(rotation[:, axis], direction)
                residuals.append(LENGTH_M * turn)
                # A turn about the axis itself does not matter: project it out.
                across = np.eye(3) - np.outer(rotation[:, axis], rotation[:, axis])
                rows.append(LENGTH_M * across @ self._jacobian[1][:, self._dofs[columns]])
        return np.concatenate(residuals), np.concatenate(rows)


@cache
def kinematics_of(name: str) -> Kinematics:
    """Return the kinematics of the robot preset `name`, built once a process."""
    from waldo.robots.description import load_robot

    return Kinematics(load_robot(name))
