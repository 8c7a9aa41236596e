"""A task of the G1: lift a box from a table between both hands."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from waldo.robots.description import Robot
from waldo.robots.presets.g1 import G1_DEX3, G1_INSPIRE
from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.task import SceneObject, Task
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.sim.engine import Spec


SURFACE_M = 0.76
"""Height of the table top [m]."""

BOX = SceneObject(name="box", half=(0.075, 0.11, 0.075), rgba=(0.78, 0.58, 0.37, 1.0), mass=1.2)


def sample_box(rng: np.random.Generator) -> Array:
    """Return a random pose of the box, (1, 7)."""
    x, y, yaw = rng.uniform(0.285, 0.325), rng.uniform(-0.05, 0.05), rng.uniform(-0.25, 0.25)
    return np.array([[x, y, SURFACE_M + BOX.half[2], np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]])


def _goal(rng: np.random.Generator) -> Goal:
    return Goal(skill="lift", object=BOX.name)


def build_scene(spec: Spec) -> None:
    """Add a table, a floor and lights without shadows."""
    from waldo.sim.engine import mujoco

    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
    world = spec.worldbody
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.86, 0.89, 0.92],
        rgb2=[0.62, 0.68, 0.74],
        width=64,
        height=384,
    )
    spec.add_material(name="wood", rgba=[0.80, 0.70, 0.57, 1], specular=0.15, shininess=0.2)
    spec.add_material(name="steel", rgba=[0.45, 0.48, 0.52, 1], specular=0.4, shininess=0.4)
    spec.add_material(name="ground", rgba=[0.70, 0.73, 0.76, 1], specular=0.0)
    world.add_light(
        pos=[0.8, -0.8, 2.4], dir=[-0.3, 0.35, -1], castshadow=False, diffuse=[0.40, 0.39, 0.38], specular=[0.25] * 3
    )
    world.add_light(
        pos=[1.4, 1.2, 1.6], dir=[-0.7, -0.6, -0.5], castshadow=False, diffuse=[0.16, 0.17, 0.20], specular=[0.1] * 3
    )
    world.add_geom(
        name="table",
        type=box,
        size=[0.17, 0.36, 0.015],
        pos=[0.375, 0, SURFACE_M - 0.015],
        material="wood",
        contype=0,
        conaffinity=1,
    )
    for y in (-0.33, 0.33):
        for x in (0.235, 0.515):
            world.add_geom(
                type=cylinder,
                size=[0.016, SURFACE_M / 2 - 0.015, 0],
                pos=[x, y, SURFACE_M / 2 - 0.015],
                material="steel",
                contype=0,
                conaffinity=0,
            )
    world.add_geom(type=plane, size=[6, 6, 0.1], material="ground", contype=0, conaffinity=1)


CARRY = Task(
    name="carry",
    robot="g1",
    horizon_s=7.0,
    objects=(BOX,),
    skills=("lift",),
    surface_m=SURFACE_M,
    sample_poses=sample_box,
    sample_goal=_goal,
    build_scene=build_scene,
)
"""Lift the box between both hands until its underside is 10 cm above the table."""


THUMB = {"bend": 0.02, "rotation": 0.02}
"""Positions of the joints of an Inspire thumb beside the palm [rad]."""


def _with_flat_hands(robot: Robot) -> tuple[float, ...]:
    """Return the home pose with the thumbs beside the palms."""
    thumbs = {"left_hand_thumb_1_joint": 1.0, "right_hand_thumb_1_joint": -1.0}
    thumbs |= {f"{side}_thumb_{name}_joint": value for side in ("left", "right") for name, value in THUMB.items()}
    return tuple(thumbs.get(joint.name, joint.home) for joint in robot.joints)


CARRY_DEX3 = dataclasses.replace(CARRY, name="carry_dex3", robot="g1_dex3", home=_with_flat_hands(G1_DEX3))
CARRY_INSPIRE = dataclasses.replace(CARRY, name="carry_inspire", robot="g1_inspire", home=_with_flat_hands(G1_INSPIRE))
"""The same with hands, whose fingers stay as they are unless they are commanded."""
