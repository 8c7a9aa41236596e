"""What can be done in simulation: a task is a robot, things on a table, places to put them, and when it is done.

A task builds its scene around the robot's own MJCF file, so any robot whose file names its joints and actuators alike
can be put into one. Contact bits: 1 things, 2 hands; fixtures meet both, hands do not meet each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.errors import InvalidValueError, UnknownNameError
from waldo.robots.description import Robot, load_robot
from waldo.sim.tasks.goal import Goal
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.sim.engine import Model, Spec


STILL_M_S = 0.05
"""A thing slower than this has been put down [m/s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A box that can be moved."""

    name: str
    """Its name in words, such as "red cube"."""
    half: tuple[float, float, float]
    """Half of its length, width and height [m]."""
    rgba: tuple[float, float, float, float]
    mass: float
    """[kg]"""

    @property
    def key(self) -> str:
        """The name as it stands in array labels: "red_cube"."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """An open box to put things in."""

    name: str
    """Its name in words, such as "left bin"."""
    centre: tuple[float, float]
    """Where it stands, x and y [m]."""
    half: tuple[float, float]
    """Half of its inner length and width [m]."""
    wall: float
    """Height of its walls [m]."""
    rgba: tuple[float, float, float, float]

    @property
    def key(self) -> str:
        """The name as it stands in array labels: "left_bin"."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. Poses are (things, 7): x y z qw qx qy qz in the robot's base frame [m]."""

    name: str
    robot: str
    """Name of the robot preset."""
    horizon_s: float
    """Time that an episode may take [s]."""
    things: tuple[Thing, ...]
    bins: tuple[Bin, ...] = ()
    skills: tuple[str, ...] = ("lift",)
    """Skills that a goal may name here."""
    surface_m: float = 0.0
    """Height of the table top [m]."""
    lift_m: float = 0.10
    """A thing is lifted once its underside is this far above the table top [m]."""
    home_noise: float = 0.02
    """Standard deviation of each joint's start about its home [rad]."""
    place: Callable[[np.random.Generator], Array]
    """Draw the things' poses."""
    choose: Callable[[np.random.Generator], Goal]
    """Draw the goal."""
    furnish: Callable[[Spec], None]
    """Add the table, the floor and the lights."""
    home: tuple[float, ...] | None = None
    """Joint positions at the start, where they are not the robot's home [rad]."""
    views: tuple[str, ...] = ("front",)
    """Cameras worth a video."""
    labels: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Work out the labels of the environment's values."""
        parts = ("x", "y", "z", "qw", "qx", "qy", "qz")
        poses = tuple(f"{thing.key}.{part}" for thing in self.things for part in parts)
        goals = tuple(f"goal.{item.key}" for item in (*self.things, *self.bins))
        object.__setattr__(self, "labels", poses + goals)

    @property
    def thing_names(self) -> tuple[str, ...]:
        """The things' names in words."""
        return tuple(thing.name for thing in self.things)

    @property
    def bin_names(self) -> tuple[str, ...]:
        """The bins' names in words."""
        return tuple(item.name for item in self.bins)

    def check(self, goal: Goal) -> None:
        """Refuse a goal that cannot be asked for here."""
        if goal.skill not in self.skills:
            raise InvalidValueError("skill", goal.skill, f"one of {', '.join(self.skills)} in the task {self.name}")
        if goal.object not in self.thing_names:
            raise UnknownNameError("object", goal.object, self.thing_names)
        if goal.target is not None and goal.target not in self.bin_names:
            raise UnknownNameError("target", goal.target, self.bin_names)

    def reached(self, goal: Goal, poses: Array, speeds: Array) -> NDArray[np.bool_]:
        """Say where `goal` is reached; poses (..., things, 7), speeds of the things (..., things) [m/s]."""
        index = self.thing_names.index(goal.object)
        thing, pose = self.things[index], poses[..., index, :]
        underside = pose[..., 2] - thing.half[2] - self.surface_m
        if goal.skill != "put":
            return np.asarray(underside > self.lift_m)
        target = self.bins[self.bin_names.index(str(goal.target))]
        offset = np.abs(pose[..., :2] - np.array(target.centre))
        inside = np.all(offset < np.array(target.half), axis=-1) & (pose[..., 2] < self.surface_m + target.wall)
        return np.asarray(inside & (speeds[..., index] < STILL_M_S))

    def compile(self, robot: Robot | None = None) -> Model:
        """Build the scene around `robot` (None: the task's preset) and compile it."""
        from waldo.sim.engine import mujoco

        spec = mujoco.MjSpec.from_file(str((robot or load_robot(self.robot)).mjcf_path))
        self.furnish(spec)
        for item in self.bins:
            _add_bin(spec, item, self.surface_m)
        for thing in self.things:
            _add_thing(spec, thing)
        return spec.compile()


def _add_thing(spec: Spec, thing: Thing) -> None:
    from waldo.sim.engine import mujoco

    body = spec.worldbody.add_body(name=thing.key, pos=[0, 0, thing.half[2]])
    body.add_freejoint(name=thing.key)
    material = spec.add_material(name=f"{thing.key}_paint", rgba=thing.rgba, specular=0.3, shininess=0.4)
    body.add_geom(
        name=thing.key,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=thing.half,
        mass=thing.mass,
        friction=[1.0, 0.02, 0.001],
        condim=3,
        contype=1,
        conaffinity=3,
        material=material.name,
        solref=[0.008, 1],
    )


def _add_bin(spec: Spec, item: Bin, surface_m: float) -> None:
    from waldo.sim.engine import mujoco

    thick = 0.003
    (hx, hy), h = item.half, item.wall / 2
    material = spec.add_material(name=f"{item.key}_paint", rgba=item.rgba, specular=0.3, shininess=0.4)
    body = spec.worldbody.add_body(name=item.key, pos=[*item.centre, surface_m])
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


def load_task(name: str) -> Task:
    """Return the task registered as `name`.

    Raises:
        UnknownNameError: If no task has this name; the message suggests the closest match.
    """
    return registry.load("waldo.tasks", name, "task")
