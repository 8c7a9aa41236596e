"""Tabletop tasks of the SO-101: lift a cube; lift the named one of three; put it into the named bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.task import Bin, SceneObject, Task
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.sim.engine import Spec


HALF_M = 0.015
"""Half of a cube's edge [m]."""
SHOULDER_X_M = 0.0388
"""X coordinate of the pan axis [m]."""
GAP_M = 0.062
"""Minimum distance between the centers of two cubes: the open gripper fits between them [m]."""
YAW_RAD = 0.5
"""Maximum rotation of a cube about the vertical [rad]."""


LIFT_PHRASES = (
    "lift the {object}",
    "pick up the {object}",
    "raise the {object}",
    "grab the {object} and lift it",
    "take the {object} off the table",
    "please lift up the {object}",
)
"""Wordings of the goal to lift a cube."""


def _cube(color: str, rgb: tuple[float, float, float]) -> SceneObject:
    return SceneObject(name=f"{color} cube", half=(HALF_M, HALF_M, HALF_M), rgba=(*rgb, 1.0), mass=0.03)


RED = _cube("red", (0.86, 0.16, 0.13))
BLUE = _cube("blue", (0.12, 0.36, 0.85))
GREEN = _cube("green", (0.16, 0.62, 0.27))
CUBES = (RED, BLUE, GREEN)

LEFT = Bin(name="left bin", center=(0.12, 0.215), half=(0.05, 0.05), wall=0.035, rgba=(0.93, 0.94, 0.95, 1))
RIGHT = Bin(name="right bin", center=(0.12, -0.215), half=(0.05, 0.05), wall=0.035, rgba=(0.25, 0.28, 0.33, 1))


def _pose(xy: Array, yaw: float) -> Array:
    return np.array([*xy, HALF_M, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def _sample_xy(rng: np.random.Generator, azimuth_rad: float) -> Array:
    """Return a random position (2,) within easy reach: a ring sector about the pan axis [m]."""
    radius, azimuth = rng.uniform(0.17, 0.23), rng.uniform(-azimuth_rad, azimuth_rad)
    return np.array([SHOULDER_X_M + radius * np.cos(azimuth), radius * np.sin(azimuth)])


def sample_one(rng: np.random.Generator) -> Array:
    """Return a random pose of one cube, (1, 7)."""
    xy = _sample_xy(rng, 0.55)
    return _pose(xy, rng.uniform(-YAW_RAD, YAW_RAD))[None]


def sample_three(rng: np.random.Generator) -> Array:
    """Return random poses of three cubes, (3, 7), far enough apart for the gripper."""
    while True:
        xy = np.stack([_sample_xy(rng, 0.62) for _ in range(3)])
        gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + np.eye(3)
        if gaps.min() > GAP_M:
            return np.stack([_pose(p, rng.uniform(-YAW_RAD, YAW_RAD)) for p in xy])


def _lift_goal(rng: np.random.Generator) -> Goal:
    return Goal(skill="lift", object=RED.name)


def _pick_goal(rng: np.random.Generator) -> Goal:
    return Goal(skill="lift", object=CUBES[rng.integers(3)].name)


def _sort_goal(rng: np.random.Generator) -> Goal:
    cube, target = rng.integers(3), rng.integers(2)
    return Goal(skill="put", object=CUBES[cube].name, target=(LEFT, RIGHT)[target].name)


def build_scene(spec: Spec) -> None:
    """Add a table with a work mat, a floor, a backdrop and lights without shadows."""
    from waldo.sim.engine import mujoco

    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    world = spec.worldbody
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.84, 0.88],
        rgb2=[0.55, 0.61, 0.68],
        width=64,
        height=384,
    )
    spec.add_material(name="wood", rgba=[0.80, 0.70, 0.57, 1], specular=0.15, shininess=0.2)
    spec.add_material(name="mat", rgba=[0.36, 0.42, 0.47, 1], specular=0.05, shininess=0.1)
    spec.add_material(name="ground", rgba=[0.62, 0.65, 0.68, 1], specular=0.0)
    world.add_light(
        pos=[0.2, -0.4, 1.2], dir=[0.05, 0.35, -1], castshadow=False, diffuse=[0.42, 0.41, 0.39], specular=[0.25] * 3
    )
    world.add_light(
        pos=[0.8, 0.6, 0.9], dir=[-0.6, -0.5, -0.7], castshadow=False, diffuse=[0.16, 0.17, 0.20], specular=[0.1] * 3
    )
    world.add_geom(
        name="table", type=box, size=[0.34, 0.42, 0.02], pos=[0.18, 0, -0.02], material="wood", contype=0, conaffinity=3
    )
    world.add_geom(type=box, size=[0.13, 0.19, 0.0006], pos=[0.235, 0, 0], material="mat", contype=0, conaffinity=0)
    world.add_geom(type=plane, size=[4, 4, 0.1], pos=[0, 0, -0.72], material="ground", contype=0, conaffinity=1)


LIFT = Task(
    name="lift",
    robot="so101",
    horizon_s=9.0,
    objects=(RED,),
    skills=("lift",),
    sample_poses=sample_one,
    sample_goal=_lift_goal,
    build_scene=build_scene,
)
"""Lift the red cube until its underside is 10 cm above the table."""

PICK = Task(
    name="pick",
    robot="so101",
    horizon_s=10.0,
    objects=CUBES,
    skills=("lift",),
    sample_poses=sample_three,
    sample_goal=_pick_goal,
    phrases={"lift": LIFT_PHRASES},
    build_scene=build_scene,
)
"""Lift the named one of three cubes until its underside is 10 cm above the table."""

SORT = Task(
    name="sort",
    robot="so101",
    horizon_s=12.0,
    objects=CUBES,
    bins=(LEFT, RIGHT),
    skills=("put", "lift"),
    sample_poses=sample_three,
    sample_goal=_sort_goal,
    build_scene=build_scene,
)
"""Put the named one of three cubes into the named one of two bins."""
