"""Inverse kinematics of a robot's sites, solved with mink."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from waldo.robots.description import Robot
from waldo.sim.engine import mujoco
from waldo.sim.mjcf.reading import compile_spec, read_spec
from waldo.typing import Array

if TYPE_CHECKING:
    import mink
else:
    # After the engine: mink imports MuJoCo, which reads the choice of the GL back end once.
    mink = importlib.import_module("mink")

LENGTH_M = 0.1
"""Distance that is weighted like a rotation of one radian [m]."""
DAMPING = 1e-4
"""Levenberg-Marquardt damping of a step [m²/rad²]."""
TOLERANCE_M = 1e-4
"""Error at which the iteration stops [m]."""
MIN_STEP_RAD = 1e-4
"""Largest joint motion of a step below which the iteration stops: it has converged to the nearest pose [rad]."""
MAX_STEP_RAD = 0.3
"""Bound of a joint's motion in one step [rad]."""
POSTURE_COST = 0.003
"""Cost of a radian away from the rest posture, against one meter of error [m/rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTarget:
    """Desired pose of a site in the robot's base frame."""

    site: str
    """Name of the site in the robot's model."""
    position: Array
    """Shape (3,) [m]."""
    base_from_site: Array
    """Rotation matrix, shape (3, 3): its columns are the site's axes in the base frame."""


class Kinematics:
    """Forward and inverse kinematics and gravity loads of a robot on its own."""

    def __init__(self, robot: Robot) -> None:
        """Load the robot's model, with the joint limits of its description."""
        self.robot = robot
        self.model = compile_spec(read_spec(robot.mjcf_path), robot.mjcf_path)
        self.data = mujoco.MjData(self.model)
        joints = [self.model.joint(name) for name in robot.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        for joint, lower, upper in zip(joints, robot.lower, robot.upper, strict=True):
            self.model.jnt_range[joint.id] = lower, upper

    def site(self, position: Array, site: str) -> tuple[Array, Array]:
        """Return a site's position (3,) [m] and rotation matrix (3, 3) at joint positions (joints,) [rad]."""
        self.data.qpos[self._qpos] = position
        mujoco.mj_kinematics(self.model, self.data)
        found = self.data.site(site)
        return found.xpos.copy(), found.xmat.reshape(3, 3).copy()

    def load(self, position: Array) -> Array:
        """Return the torques (joints,) [N·m] that hold joint positions (joints,) [rad] against gravity."""
        self.data.qpos[self._qpos] = position
        self.data.qvel[:] = 0
        mujoco.mj_forward(self.model, self.data)
        return self.data.qfrc_bias[self._dofs].copy()

    @cached_property
    def _configuration(self) -> Any:
        return mink.Configuration(self.model)

    @cached_property
    def _limits(self) -> list[Any]:
        bounds = {name: np.array([MAX_STEP_RAD]) for name in self.robot.joint_names}
        return [mink.ConfigurationLimit(self.model), mink.VelocityLimit(self.model, bounds)]

    def solve(
        self,
        targets: Sequence[SiteTarget],
        start: Array,
        free: Sequence[int],
        *,
        rest: Array | None = None,
        steps: int = 80,
    ) -> tuple[Array, float]:
        """Find joint positions that reach the targets.

        Args:
            targets: Desired poses of one or more sites.
            start: Joint positions at which the iteration starts, (joints,) [rad].
            free: Indices of the joints that may move.
            rest: Joint positions that redundant degrees of freedom are drawn to, (joints,) [rad].
            steps: Maximum number of iterations.

        Returns:
            Joint positions (joints,) [rad] and the remaining error [m], where one radian counts as LENGTH_M.
        """
        tasks = [_frame_task(target) for target in targets]
        posture = [] if rest is None else [self._posture_task(rest)]
        frozen = np.setdiff1d(np.arange(self.model.nv), self._dofs[list(free)])
        freeze = [mink.DofFreezingTask(self.model, dof_indices=frozen.tolist())] if len(frozen) else []
        configuration, error = self._configuration, np.inf
        configuration.update(self._full(start))
        for _step in range(steps):
            error = float(np.linalg.norm([task.cost * task.compute_error(configuration) for task in tasks]))
            if error < TOLERANCE_M:
                break
            velocity = mink.solve_ik(
                configuration, [*tasks, *posture], 1.0, "daqp", DAMPING, limits=self._limits, constraints=freeze
            )
            configuration.integrate_inplace(velocity, 1.0)
            if np.abs(velocity).max() < MIN_STEP_RAD:
                break
        position = np.array(start, dtype=float)
        chosen = list(free)
        position[chosen] = np.clip(
            configuration.q[self._qpos[chosen]], self.robot.lower[chosen], self.robot.upper[chosen]
        )
        return position, error

    def _full(self, position: Array) -> Array:
        full = self.model.qpos0.copy()
        full[self._qpos] = position
        return full

    def _posture_task(self, rest: Array) -> Any:
        task = mink.PostureTask(self.model, cost=POSTURE_COST)
        task.set_target(self._full(rest))
        return task


def _frame_task(target: SiteTarget) -> Any:
    task = mink.FrameTask(target.site, "site", position_cost=1.0, orientation_cost=LENGTH_M)
    rotation = mink.SO3.from_matrix(target.base_from_site)
    task.set_target(mink.SE3.from_rotation_and_translation(rotation, np.asarray(target.position, dtype=float)))
    return task


@cache
def kinematics_of(name: str) -> Kinematics:
    """Return the kinematics of the robot preset `name`, built once per process."""
    from waldo.robots.description import load_robot

    return Kinematics(load_robot(name))
