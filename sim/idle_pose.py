"""The pose near a robot's current one that needs the least heat to hold.

Holding against gravity heats a motor by the square of its torque, at any speed. A robot that has to cool down therefore
best waits in a pose with little gravity load. The pose is searched on the robot's own model, joint by joint from
several starts, within the joint limits and without contact with itself or the floor, at the pose and on the straight
path to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.sim.engine import Model, mujoco
from waldo.sim.mjcf.floor import add_floor
from waldo.sim.mjcf.reading import read_spec
from waldo.typing import Array

DISTANCE_WEIGHT = 0.01
"""Cost of moving a joint over its whole range, as a fraction of the current heat."""
POINTS = 41
"""Positions of a joint that one sweep evaluates, evenly over the range of the sweep."""
STARTS = 12
"""Start poses of a search: the current one, home, and random ones."""
FINEST_RAD = 0.01
"""Width of the last sweep [rad]."""
PATH_STEP_RAD = 0.05
"""Distance between checked poses on the path, in the joint that moves most [rad]."""
NEGLIGIBLE = 0.01
"""A joint that saves less than this fraction of the current heat is not moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePose:
    """A pose to cool down in."""

    position: Array
    """Joint positions, (joints,) [rad or m]."""
    heat_ratio: float
    """Heat of holding it over the heat of holding the current pose."""
    moved: tuple[int, ...]
    """Indices of the joints that differ from the current pose."""

    def describe(self, joints: Sequence[str]) -> str:
        """Return the pose as a text for the operator; empty if no other pose is better."""
        if not self.moved:
            return ""
        positions = ", ".join(f"{joints[i]} {self.position[i]:.1f}" for i in self.moved)
        return f"to cool down, move to {positions} ({self.heat_ratio:.0%} of the current holding heat)"


class HoldingHeat:
    """Heat of holding poses of a robot, and which poses are free of contact."""

    def __init__(self, robot: Robot, weights: Array | None = None) -> None:
        """Build the model; `weights` (joints,) scale the heat of each motor, None: all equal."""
        self.robot = robot
        self.model = _contact_model(robot)
        self._data = mujoco.MjData(self.model)
        self._position, self._bias_force = self._data.qpos, self._data.qfrc_bias
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in robot.joint_names])
        self._per_nm2 = _watts_per_nm2(robot) * (1.0 if weights is None else np.asarray(weights, dtype=float))
        self._home_contacts = self._contacts(robot.home)

    def watts(self, position: Array) -> float:
        """Return the weighted copper loss of holding a pose (joints,) [W]."""
        self._position[self._qpos] = position
        # At zero velocity the bias force is gravity alone.
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_comVel(self.model, self._data)
        mujoco.mj_rne(self.model, self._data, 0, self._bias_force)
        return float(self._per_nm2 @ np.square(self._bias_force[self._dofs]))

    def _contacts(self, position: Array) -> set[tuple[int, int]]:
        """Return the pairs of bodies in contact in a pose."""
        self._position[self._qpos] = position
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_collision(self.model, self._data)
        contacts = self._data.contact
        first, second = self.model.geom_bodyid[contacts.geom[contacts.dist < 0]].T.tolist()
        return set(zip(first, second, strict=True))

    def free(self, position: Array) -> bool:
        """Return whether a pose has no contacts beyond those of the home pose."""
        return self._contacts(position) <= self._home_contacts

    def path_is_free(self, start: Array, end: Array) -> bool:
        """Return whether the straight joint-space path between two poses is free of contact."""
        steps = int(np.ceil(np.abs(end - start).max() / PATH_STEP_RAD)) + 1
        return all(self.free(start + (end - start) * fraction) for fraction in np.linspace(0, 1, steps)[1:])


def idle_pose(
    robot: Robot, near: Array, weights: Array | None = None, *, reach: float = 1.5, seed: int = 0
) -> IdlePose:
    """Return the pose that needs the least heat to hold, within `reach` of the current pose.

    Args:
        robot: The robot; it needs an MJCF model.
        near: The current joint positions (joints,) [rad or m].
        weights: Scale of each motor's heat (joints,), larger for a motor nearer to its limit; None: all equal.
        reach: Maximum distance from `near` in every joint [rad or m].
        seed: Seed of the random start poses.
    """
    holding = HoldingHeat(robot, weights)
    near = np.clip(near, robot.lower, robot.upper)
    lower, upper = np.maximum(robot.lower, near - reach), np.minimum(robot.upper, near + reach)
    now = holding.watts(near)
    if now <= 0:
        return IdlePose(position=near, heat_ratio=1.0, moved=())
    cost = pose_cost(holding, near)
    rng = np.random.default_rng(seed)
    starts = [near, np.clip(robot.home, lower, upper), *rng.uniform(lower, upper, (STARTS - 2, len(near)))]
    found = sorted((_descend(holding, cost, start, lower, upper) for start in starts), key=cost)
    candidates = (_restore_joints(holding, pose, near, now) for pose in found if cost(pose) < cost(near))
    best = next((pose for pose in candidates if holding.path_is_free(near, pose)), near)
    moved = tuple(np.flatnonzero(best != near).tolist())
    return IdlePose(position=best, heat_ratio=holding.watts(best) / now, moved=moved)


def pose_cost(holding: HoldingHeat, near: Array) -> Callable[[Array], float]:
    """Return the cost function of the search: heat relative to that of `near`, plus a small cost of distance."""
    now, span = holding.watts(near), holding.robot.upper - holding.robot.lower

    def cost(position: Array) -> float:
        distance = (position - near) / span
        return holding.watts(position) / now + DISTANCE_WEIGHT * float(distance @ distance)

    return cost


def _descend(holding: HoldingHeat, cost: Callable[[Array], float], start: Array, lower: Array, upper: Array) -> Array:
    """Return a local minimum by coordinate descent: sweeps over whole ranges, then narrower ones."""
    pose, least = start.copy(), cost(start) if holding.free(start) else np.inf
    width = upper - lower
    while width.max() > FINEST_RAD:
        before = least
        for joint in range(len(pose)):
            values = np.linspace(
                max(lower[joint], pose[joint] - width[joint]), min(upper[joint], pose[joint] + width[joint]), POINTS
            )
            for value in values.tolist():
                other = pose.copy()
                other[joint] = value
                other_cost = cost(other)
                if other_cost < least and holding.free(other):
                    pose, least = other, other_cost
        if not least < before - 1e-4:
            width = width / 4
    return pose


def _restore_joints(holding: HoldingHeat, pose: Array, near: Array, now: float) -> Array:
    """Return the pose with each joint that saves a negligible amount of heat moved back, smallest motions first."""
    for joint in np.argsort(np.abs(pose - near)).tolist():
        other = pose.copy()
        other[joint] = near[joint]
        if holding.watts(other) - holding.watts(pose) < NEGLIGIBLE * now and holding.free(other):
            pose = other
    return pose


def _watts_per_nm2(robot: Robot) -> Array:
    """Return each joint's copper loss per squared torque, (joints,) [W/(N·m)²]; 1/effort² if a motor is unknown."""
    kt = np.array([joint.motor.torque_constant_nm_per_a or np.nan for joint in robot.joints])
    resistance = np.array([joint.motor.resistance_ohm or np.nan for joint in robot.joints])
    watts = resistance / np.square(kt)
    return watts if np.isfinite(watts).all() else 1 / np.square([joint.effort for joint in robot.joints])


def _contact_model(robot: Robot) -> Model:
    """Return the robot's model with contacts enabled for every geom, on a floor at its lowest point at home."""
    spec = read_spec(robot.mjcf_path)
    # Visual geoms, and geoms that collide with objects only, have contacts with the robot disabled.
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 1
    model = spec.compile()
    known = {joint.name for joint in spec.joints}
    if unknown := [name for name in robot.joint_names if name not in known]:
        raise InvalidValueError("mjcf", str(robot.mjcf_path), f"a joint named {unknown[0]!r}")
    data = mujoco.MjData(model)
    for name, position in zip(robot.joint_names, robot.home, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = position
    mujoco.mj_kinematics(model, data)
    add_floor(spec, model, data)
    return spec.compile()
