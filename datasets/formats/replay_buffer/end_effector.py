"""Forward kinematics of an end effector: pose and gripper width from joint positions and the robot's MJCF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from waldo.errors import FileError
from waldo.graphics import choose_backend
from waldo.robots.description import EndEffector, Robot
from waldo.typing import Array

FARTHEST_M = 1.0
"""Distance beyond which MuJoCo stops measuring between the finger pads [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEffectorPoses:
    """The end effector at several joint positions."""

    position: Array
    """Position of the site in the frame of the MJCF's world, shape (T, 3) [m]."""
    rotation: Array
    """Rotation vector (axis times angle) of the site in the same frame, shape (T, 3) [rad]."""
    width: Array
    """Shortest distance between the finger pads, shape (T,) [m]; 0 where they touch."""


class EndEffectorKinematics:
    """Compute the pose of an end effector with MuJoCo.

    Args:
        robot: The robot, with an MJCF that has one hinge or slide per joint.
        effector: Names of the site and of the pads in the MJCF.
        joints: The order of the columns of joint positions.
    """

    def __init__(self, robot: Robot, effector: EndEffector, joints: Sequence[str]) -> None:
        # MuJoCo reads the choice once, and this process may render later.
        choose_backend()
        import mujoco

        self._mujoco = cast("Any", mujoco)
        try:
            self._model = self._mujoco.MjModel.from_xml_path(str(robot.mjcf_path))
            self._site = self._model.site(effector.site).id
            self._pads = [self._model.geom(name).id for name in effector.pads]
            moving = [name for name in joints if name in robot.joint_names]
            self._qpos = np.array([int(self._model.joint(name).qposadr[0]) for name in moving])
        except (KeyError, ValueError) as error:
            raise FileError(robot.mjcf_path, f"the MJCF does not fit the robot's description ({error})") from error
        self._columns = [list(joints).index(name) for name in moving]
        self._data = self._mujoco.MjData(self._model)

    def poses(self, positions: Array) -> EndEffectorPoses:
        """Return the poses at joint positions of shape (T, joints) [rad or m]."""
        mujoco = self._mujoco
        rows = len(positions)
        position, rotation, width = np.zeros((rows, 3)), np.zeros((rows, 3)), np.zeros(rows)
        quaternion, ends = np.zeros(4), np.zeros(6)
        for row in range(rows):
            self._data.qpos[self._qpos] = positions[row, self._columns]
            mujoco.mj_kinematics(self._model, self._data)
            position[row] = self._data.site_xpos[self._site]
            mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._site])
            mujoco.mju_quat2Vel(rotation[row], quaternion, 1.0)
            gap = mujoco.mj_geomDistance(self._model, self._data, *self._pads, FARTHEST_M, ends)
            width[row] = max(0.0, float(gap))
        return EndEffectorPoses(position=position, rotation=rotation, width=width)
