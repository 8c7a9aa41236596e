"""A robot's MJCF as seen by its commanded joints: which coordinates they set, and which ones follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.collect.retargeting.engine import Model, mink, mujoco
from waldo.errors import FileError
from waldo.robots.description import Robot
from waldo.typing import Array


@dataclass(frozen=True, slots=True)
class Follower:
    """A joint without a motor that follows a commanded joint: qpos = polynomial of the joint's position."""

    qpos: int
    """Index of the coordinate that follows."""
    dof: int
    """Its degree of freedom."""
    joint: int
    """Index of the commanded joint in `robot.joints`."""
    polynomial: tuple[float, ...]
    """Coefficients from the constant term on."""


class RobotModel:
    """The kinematics of a robot on its own. Joints are in the order of `robot.joints`; the base stands still."""

    def __init__(self, robot: Robot) -> None:
        """Load the MJCF.

        Raises:
            FileError: If MuJoCo cannot load it, or it lacks joints of the robot.
        """
        self.robot = robot
        try:
            self.model: Model = mujoco.MjModel.from_xml_path(str(robot.mjcf_path))
            joints = [self.model.joint(name) for name in robot.joint_names]
        except (KeyError, ValueError) as error:
            raise FileError(robot.mjcf_path, f"the MJCF does not fit the robot's description ({error})") from error
        self.qpos: NDArray[np.intp] = np.array([int(joint.qposadr[0]) for joint in joints])
        self.dofs: NDArray[np.intp] = np.array([int(joint.dofadr[0]) for joint in joints])
        self._ids = [int(joint.id) for joint in joints]
        self.followers = tuple(self._followers())
        self.configuration = mink.Configuration(self.model)
        self.update(robot.home)

    def _followers(self) -> list[Follower]:
        """Return the joints that an equality constraint of the MJCF couples to a commanded joint."""
        model, found = self.model, []
        for equality in range(model.neq):
            if model.eq_type[equality] != mujoco.mjtEq.mjEQ_JOINT:
                continue
            follower, leader = int(model.eq_obj1id[equality]), int(model.eq_obj2id[equality])
            if leader in self._ids and follower not in self._ids:
                joint = self._ids.index(leader)
                qpos, dof = int(model.jnt_qposadr[follower]), int(model.jnt_dofadr[follower])
                found.append(Follower(qpos, dof, joint, tuple(model.eq_data[equality, :5])))
        return found

    def update(self, position: Array) -> None:
        """Compute the kinematics at joint positions (joints,) [rad or m]."""
        q = self.model.qpos0.copy()
        q[self.qpos] = position
        for one in self.followers:
            q[one.qpos] = np.polynomial.polynomial.polyval(position[one.joint], one.polynomial)
        self.configuration.update(q)

    def velocity_map(self, joints: NDArray[np.intp], position: Array) -> Array:
        """Return the matrix (nv, n) from the velocities of some joints to those of all degrees of freedom."""
        found = np.zeros((self.model.nv, len(joints)))
        columns = {int(joint): column for column, joint in enumerate(joints)}
        for joint, column in columns.items():
            found[self.dofs[joint], column] = 1.0
        for one in self.followers:
            if one.joint in columns:
                slope = np.polynomial.polynomial.polyder(one.polynomial)
                found[one.dof, columns[one.joint]] = np.polynomial.polynomial.polyval(position[one.joint], slope)
        return found

    def site_pose(self, site: str) -> Array:
        """Return the pose (4, 4) of a site in the frame of the MJCF's world [m]."""
        return self.configuration.get_transform_frame_to_world(site, "site").as_matrix()

    def joints_above(self, body: int) -> list[int]:
        """Return the indices of the commanded joints between a body and the base, first the nearest to the base."""
        model, found = self.model, []
        while body:
            first = int(model.body_jntadr[body])
            found += [self._ids.index(j) for j in range(first, first + int(model.body_jntnum[body])) if j in self._ids]
            body = int(model.body_parentid[body])
        return found[::-1]

    def joints_that_move(self, body: int) -> list[int]:
        """Return the commanded joints that move a body, including those that a joint without a motor follows."""
        model, found = self.model, set[int](self.joints_above(body))
        leaders = {one.dof: one.joint for one in self.followers}
        while body:
            first = int(model.body_dofadr[body])
            found |= {leaders[d] for d in range(first, first + int(model.body_dofnum[body])) if d in leaders}
            body = int(model.body_parentid[body])
        return sorted(found)

    def gravity_torques(self, position: Array) -> Array:
        """Return the torques (joints,) [N·m or N] that hold joint positions (joints,) [rad or m] against gravity."""
        self.update(position)
        data = self.configuration.data
        data.qvel[:] = 0.0
        bias = np.zeros(self.model.nv)
        mujoco.mj_rne(self.model, data, 0, bias)
        return bias[self.dofs]
