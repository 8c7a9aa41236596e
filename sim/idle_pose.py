"""The pose near a robot's present one that costs the least heat to hold.

Holding against gravity heats a motor by the square of its torque, whatever the speed: a robot that must cool is best
off in a pose that leans on nothing. Searched on the robot's own model, joint by joint from several starts, within the
joints' limits and without touching itself or the floor, there and on the straight way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from waldo.robots.description import Robot
from waldo.sim.engine import Model, mujoco
from waldo.typing import Array

FAR_WEIGHT = 0.01
"""A joint's whole range costs as much as this share of the present heat: a near pose is worth a little warmth."""
POINTS = 41
"""Positions of a joint that are tried in a sweep, evenly over what is left of its range."""
STARTS = 12
"""Poses that a search begins at: the present one, home, and others drawn at random."""
FINEST_RAD = 0.01
"""A sweep this narrow is the last."""
WAY_RAD = 0.05
"""Poses on the way are checked this far apart, in the joint that turns most."""
TRIFLE = 0.01
"""A joint whose turn saves less than this share of the present heat stays where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePose:
    """A pose to rest in."""

    position: Array
    """Joint positions, (joints,) [rad or m]."""
    heat_ratio: float
    """What holding it costs over what the present pose costs."""
    moved: tuple[int, ...]
    """Joints that turn, by their place."""

    def describe(self, joints: Sequence[str]) -> str:
        """Return the pose for the operator; empty where no other one is better."""
        if not self.moved:
            return ""
        where = ", ".join(f"{joints[i]} {self.position[i]:.1f}" for i in self.moved)
        return f"rest at {where}: holds with {self.heat_ratio:.0%} of the heat"


class HoldingHeat:
    """What poses of a robot cost to hold, and which are possible."""

    def __init__(self, robot: Robot, weights: Array | None = None) -> None:
        """Take the robot and how much each motor's heat counts, (joints,); None: all alike."""
        self.robot = robot
        self.model = _touching(robot)
        self._data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in robot.joint_names])
        self._per_nm2 = _watts_per_nm2(robot) * (1.0 if weights is None else np.asarray(weights, dtype=float))
        self._always = self._contacts(robot.home)

    def watts(self, position: Array) -> float:
        """Return the weighted heat [W] of holding a pose (joints,)."""
        self._data.qpos[self._qpos] = position
        # Without speeds the bias force is gravity alone.
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_comVel(self.model, self._data)
        mujoco.mj_rne(self.model, self._data, 0, self._data.qfrc_bias)
        return float(self._per_nm2 @ np.square(self._data.qfrc_bias[self._dofs]))

    def _contacts(self, position: Array) -> set[tuple[int, int]]:
        """Return which bodies touch in a pose."""
        self._data.qpos[self._qpos] = position
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_collision(self.model, self._data)
        body, contacts = self.model.geom_bodyid, self._data.contact[: self._data.ncon]
        return {(int(body[c.geom1]), int(body[c.geom2])) for c in contacts if c.dist < 0}

    def free(self, position: Array) -> bool:
        """Say whether nothing touches in a pose that does not touch at home."""
        return self._contacts(position) <= self._always

    def way_is_free(self, start: Array, end: Array) -> bool:
        """Say whether nothing touches on the straight way."""
        steps = int(np.ceil(np.abs(end - start).max() / WAY_RAD)) + 1
        return all(self.free(start + (end - start) * share) for share in np.linspace(0, 1, steps)[1:])


def idle_pose(
    robot: Robot, near: Array, weights: Array | None = None, *, reach: float = 1.5, seed: int = 0
) -> IdlePose:
    """Return the pose within `reach` [rad or m] of `near` (joints,) in every joint that costs the least heat to hold.

    `weights`: how much each motor's heat counts (joints,), more for one with less room to its limit. The robot needs an
    MJCF model.
    """
    held = HoldingHeat(robot, weights)
    near = np.clip(near, robot.lower, robot.upper)
    lower, upper = np.maximum(robot.lower, near - reach), np.minimum(robot.upper, near + reach)
    now = held.watts(near)
    if now <= 0:
        return IdlePose(position=near, heat_ratio=1.0, moved=())
    cost = pose_cost(held, near)
    rng = np.random.default_rng(seed)
    starts = [near, np.clip(robot.home, lower, upper), *rng.uniform(lower, upper, (STARTS - 2, len(near)))]
    found = sorted((_descend(held, cost, start, lower, upper) for start in starts), key=cost)
    fewest = (_spare(held, pose, near, now) for pose in found if cost(pose) < cost(near))
    best = next((pose for pose in fewest if held.way_is_free(near, pose)), near)
    moved = tuple(np.flatnonzero(best != near).tolist())
    return IdlePose(position=best, heat_ratio=held.watts(best) / now, moved=moved)


def pose_cost(held: HoldingHeat, near: Array) -> Callable[[Array], float]:
    """Return what is minimised: heat as a share of that of `near`, and a little for the way."""
    now, span = held.watts(near), held.robot.upper - held.robot.lower

    def cost(position: Array) -> float:
        return held.watts(position) / now + FAR_WEIGHT * float(np.sum(np.square((position - near) / span)))

    return cost


def _descend(held: HoldingHeat, cost: Callable[[Array], float], start: Array, lower: Array, upper: Array) -> Array:
    """Return a pose that no single joint can better: whole ranges first, then ever narrower sweeps about the best."""
    pose, least = start.copy(), cost(start) if held.free(start) else np.inf
    width = upper - lower
    while width.max() > FINEST_RAD:
        before = least
        for joint in range(len(pose)):
            tried = np.linspace(
                max(lower[joint], pose[joint] - width[joint]), min(upper[joint], pose[joint] + width[joint]), POINTS
            )
            for value in tried.tolist():
                other = pose.copy()
                other[joint] = value
                there = cost(other)
                if there < least and held.free(other):
                    pose, least = other, there
        if not least < before - 1e-4:
            width = width / 4
    return pose


def _spare(held: HoldingHeat, pose: Array, near: Array, now: float) -> Array:
    """Return the pose with those joints left where they are whose turn is hardly worth it, the smallest turns first."""
    for joint in np.argsort(np.abs(pose - near)).tolist():
        other = pose.copy()
        other[joint] = near[joint]
        if held.watts(other) - held.watts(pose) < TRIFLE * now and held.free(other):
            pose = other
    return pose


def _watts_per_nm2(robot: Robot) -> Array:
    """Return each joint's copper loss per squared torque, (joints,) [W/(N·m)²]; of unknown motors 1/effort²."""
    kt = np.array([joint.motor.torque_constant_nm_per_a or np.nan for joint in robot.joints])
    resistance = np.array([joint.motor.resistance_ohm or np.nan for joint in robot.joints])
    watts = resistance / np.square(kt)
    return watts if np.isfinite(watts).all() else 1 / np.square([joint.effort for joint in robot.joints])


def _touching(robot: Robot) -> Model:
    """Return the robot's model on a floor at its lowest point at home, every geom of which can touch."""
    spec = mujoco.MjSpec.from_file(str(robot.mjcf_path))
    # What is only shown, or touches things alone, would not touch the robot itself.
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 1
    model = spec.compile()
    data = mujoco.MjData(model)
    for name, position in zip(robot.joint_names, robot.home, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = position
    mujoco.mj_kinematics(model, data)
    rows = data.geom_xmat.reshape(-1, 3, 3)[:, 2]
    middle, half = model.geom_aabb[:, :3], model.geom_aabb[:, 3:]
    lowest = data.geom_xpos[:, 2] + np.sum(rows * middle, axis=1) - np.sum(np.abs(rows) * half, axis=1)
    floor = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=[0, 0, float(lowest.min())])
    floor.contype = floor.conaffinity = 1
    return spec.compile()
