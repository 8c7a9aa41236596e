"""Tasks in simulation: a robot, objects on a table, bins to put them in, and the condition for success.

A task builds its scene around the robot's own MJCF file, so any robot with the same joint names can be used. Contact
bits: 1 for objects, 2 for hands; fixtures collide with both, hands do not collide with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.errors import UnknownNameError, UnsupportedOptionError
from waldo.robots.description import Robot, load_robot
from waldo.sim.tasks.goal import Goal
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.sim.engine import Model, Spec


STILL_M_S = 0.05
"""An object slower than this counts as put down [m/s]."""
BIN_THICKNESS_M = 0.003
"""Thickness of a bin's walls and floor [m]."""
GOAL_DRAWS = 1000
"""Draws of a goal until one with another object is found; a task without one must not draw forever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObject:
    """A box that can be moved."""

    name: str
    """Name in words, such as "red cube"."""
    half: tuple[float, float, float]
    """Half of its length, width and height [m]."""
    rgba: tuple[float, float, float, float]
    """Color, each channel 0 to 1."""
    mass: float
    """Mass [kg]."""

    @property
    def key(self) -> str:
        """The name in array labels and in the MJCF model, such as "red_cube"."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """An open box to put objects in."""

    name: str
    """Name in words, such as "left bin"."""
    center: tuple[float, float]
    """Position, x and y in the robot's base frame [m]."""
    half: tuple[float, float]
    """Half of its inner length and width [m]."""
    wall: float
    """Height of its walls [m]."""
    rgba: tuple[float, float, float, float]
    """Color, each channel 0 to 1."""

    @property
    def key(self) -> str:
        """The name in array labels and in the MJCF model, such as "left_bin"."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. Poses have shape (objects, 7): x y z qw qx qy qz in the robot's base frame [m]."""

    name: str
    """Registered name (entry points `waldo.tasks`)."""
    robot: str
    """Name of the robot preset."""
    horizon_s: float
    """Time limit of an episode [s]."""
    objects: tuple[SceneObject, ...]
    """Objects that can be moved."""
    bins: tuple[Bin, ...] = ()
    """Bins that objects can be put in."""
    skills: tuple[str, ...] = ("lift",)
    """Skills that a goal of this task may name."""
    surface_m: float = 0.0
    """Height of the table top [m]."""
    lift_m: float = 0.10
    """An object counts as lifted when its underside is this far above the table top [m]."""
    home_noise: float = 0.02
    """Standard deviation of each joint's start position about home [rad]."""
    sample_poses: Callable[[np.random.Generator], Array]
    """Return random poses of the objects, (objects, 7)."""
    sample_goal: Callable[[np.random.Generator], Goal]
    """Return a random goal."""
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict[str, tuple[str, ...]]())
    """Skill -> wordings of its goals, such as "pick up the {object}"; none: the text of the goal."""
    build_scene: Callable[[Spec], None]
    """Add the table, the floor and the lights to the robot's model."""
    home: tuple[float, ...] | None = None
    """Joint positions at the start [rad]; None: the robot's home."""
    cameras: tuple[str, ...] = ("front",)
    """Cameras for videos of the task, the best one first."""
    environment_names: tuple[str, ...] = field(default=(), init=False)
    """Names of the ground-truth values: poses ("red_cube.x"), then the goal one-hot ("goal.red_cube")."""

    def __post_init__(self) -> None:
        """Derive the names of the ground-truth values."""
        parts = ("x", "y", "z", "qw", "qx", "qy", "qz")
        poses = tuple(f"{one.key}.{part}" for one in self.objects for part in parts)
        goals = tuple(f"goal.{one.key}" for one in (*self.objects, *self.bins))
        object.__setattr__(self, "environment_names", poses + goals)

    @property
    def object_names(self) -> tuple[str, ...]:
        """Names of the objects in words."""
        return tuple(one.name for one in self.objects)

    @property
    def bin_names(self) -> tuple[str, ...]:
        """Names of the bins in words."""
        return tuple(one.name for one in self.bins)

    def sample_phrase(self, goal: Goal, rng: np.random.Generator) -> str:
        """Return one of the wordings of a goal, with {object} and {target}; empty for the text of the goal."""
        phrases = self.phrases.get(goal.skill, ())
        return phrases[rng.integers(len(phrases))] if phrases else ""

    def sample_another_goal(self, before: Goal, rng: np.random.Generator) -> Goal:
        """Return a random goal with another object than `before` and, if there are several bins, another target.

        Raises:
            UnsupportedOptionError: If the task has only one object, or its goals name only one.
        """
        self.another_object(before.object)
        for _ in range(GOAL_DRAWS):
            goal = self.sample_goal(rng)
            same_target = len(self.bins) > 1 and goal.target is not None and goal.target == before.target
            if goal.object != before.object and not same_target:
                return goal
        raise UnsupportedOptionError("a goal with another object", f"the task {self.name!r}, whose goals name one")

    def another_object(self, name: str) -> str:
        """Return the name of the object after the named one.

        Raises:
            UnsupportedOptionError: If the task has only one object.
        """
        names = self.object_names
        if len(names) < 2:
            raise UnsupportedOptionError("a goal with another object", f"the task {self.name!r}, which has one")
        return names[(names.index(name) + 1) % len(names)]

    def check(self, goal: Goal) -> None:
        """Reject a goal that this task does not support.

        Raises:
            UnsupportedOptionError: If the task does not have the goal's skill.
            UnknownNameError: If the task does not have the goal's object or target.
        """
        if goal.skill not in self.skills:
            raise UnsupportedOptionError(f"the skill {goal.skill!r}", f"the task {self.name!r}", self.skills)
        if goal.object not in self.object_names:
            raise UnknownNameError("object", goal.object, self.object_names)
        if goal.target is not None and goal.target not in self.bin_names:
            raise UnknownNameError("target", goal.target, self.bin_names)

    def reached(self, goal: Goal, poses: Array, speeds: Array) -> NDArray[np.bool_]:
        """Return where `goal` is reached.

        Args:
            goal: The goal.
            poses: Poses of the objects, (..., objects, 7) [m].
            speeds: Speeds of the objects, (..., objects) [m/s].

        Returns:
            Booleans of shape (...).
        """
        index = self.object_names.index(goal.object)
        pose = poses[..., index, :]
        if goal.skill != "put":
            underside = pose[..., 2] - self.objects[index].half[2] - self.surface_m
            return np.asarray(underside > self.lift_m)
        target = self.bins[self.bin_names.index(str(goal.target))]
        offset = np.abs(pose[..., :2] - np.array(target.center))
        inside = np.all(offset < np.array(target.half), axis=-1) & (pose[..., 2] < self.surface_m + target.wall)
        return np.asarray(inside & (speeds[..., index] < STILL_M_S))

    def compile(self, robot: Robot | None = None) -> Model:
        """Build the scene around `robot` (None: the task's preset) and compile it."""
        from waldo.sim.mjcf.robot_model import load_robot_model

        spec = load_robot_model((robot or load_robot(self.robot)).mjcf_path).spec
        for key in list(spec.keys):
            spec.delete(key)  # They have no positions for the objects.
        self.build_scene(spec)
        for one in self.bins:
            _add_bin(spec, one, self.surface_m)
        for one in self.objects:
            _add_object(spec, one)
        return spec.compile()


def _add_object(spec: Spec, added: SceneObject) -> None:
    from waldo.sim.engine import mujoco

    body = spec.worldbody.add_body(name=added.key, pos=[0, 0, added.half[2]])
    body.add_freejoint(name=added.key)
    material = spec.add_material(name=f"{added.key}_paint", rgba=added.rgba, specular=0.3, shininess=0.4)
    body.add_geom(
        name=added.key,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=added.half,
        mass=added.mass,
        friction=[1.0, 0.02, 0.001],
        condim=3,
        contype=1,
        conaffinity=3,
        material=material.name,
        solref=[0.008, 1],
    )


def _add_bin(spec: Spec, added: Bin, surface_m: float) -> None:
    from waldo.sim.engine import mujoco

    thick = BIN_THICKNESS_M
    (hx, hy), h = added.half, added.wall / 2
    material = spec.add_material(name=f"{added.key}_paint", rgba=added.rgba, specular=0.3, shininess=0.4)
    body = spec.worldbody.add_body(name=added.key, pos=[*added.center, surface_m])
    walls = (
        ((0, 0, thick / 2), (hx, hy, thick / 2)),
        ((hx + thick, 0, h), (thick, hy + 2 * thick, h)),
        ((-hx - thick, 0, h), (thick, hy + 2 * thick, h)),
        ((0, hy + thick, h), (hx, thick, h)),
        ((0, -hy - thick, h), (hx, thick, h)),
    )
    for position, half in walls:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, pos=position, size=half, material=material.name, contype=0, conaffinity=3
        )


def task_names() -> tuple[str, ...]:
    """Return the names of the registered tasks (entry points `waldo.tasks`)."""
    return registry.names("waldo.tasks")


def default_task(robot: str) -> str:
    """Return the first task of a robot, in alphabetical order.

    Raises:
        UnknownNameError: If no task has this robot.
    """
    tasks = {name: load_task(name).robot for name in task_names()}
    fitting = sorted(name for name, one in tasks.items() if one == robot)
    if not fitting:
        raise UnknownNameError("robot with a task", robot, set(tasks.values()))
    return fitting[0]


def load_task(name: str) -> Task:
    """Return the task registered as `name`.

    Raises:
        UnknownNameError: If no task has this name; the message suggests the closest match.
    """
    return registry.load("waldo.tasks", name, "task")
