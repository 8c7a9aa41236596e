"""A floor below a robot whose model has none."""

from __future__ import annotations

import numpy as np

from waldo.sim.engine import Data, Model, Spec, mujoco
from waldo.sim.mjcf.drives import Drive

EVERY_BIT = 0x7FFFFFFF
"""Contact bits of a floor that collides with every geom that collides at all."""
RGBA = (0.42, 0.45, 0.48, 1.0)
"""Color of the floor."""


def lowest_point(model: Model, data: Data, colliding: bool = False) -> float:
    """Return the height of the lowest point of a model's geoms, from their bounding boxes [m].

    Args:
        model: The model.
        data: Its state.
        colliding: Whether only geoms with contacts count, if there are any.
    """
    rows = data.geom_xmat.reshape(-1, 3, 3)[:, 2]
    middle, half = model.geom_aabb[:, :3], model.geom_aabb[:, 3:]
    lowest = data.geom_xpos[:, 2] + np.sum(rows * middle, axis=1) - np.sum(np.abs(rows) * half, axis=1)
    touching = (model.geom_contype | model.geom_conaffinity) > 0
    return float((lowest[touching] if colliding and touching.any() else lowest).min())


def needs_floor(model: Model, drives: tuple[Drive, ...]) -> bool:
    """Return whether a robot with a floating base would fall: its model has no fixed geom."""
    fixed = model.body_weldid[model.geom_bodyid] == 0
    return bool(model.ngeom) and not fixed.any() and any(_floats(model, drive) for drive in drives)


def _floats(model: Model, drive: Drive) -> bool:
    """Return whether the body of a drive is carried by one with a free joint."""
    body = int(model.dof_bodyid[int(np.argmax(np.abs(drive.transmission.motion)))])
    root = int(model.body_rootid[body])
    return bool(model.body_jntnum[root] and model.jnt_type[model.body_jntadr[root]] == mujoco.mjtJoint.mjJNT_FREE)


def add_floor(spec: Spec, model: Model, data: Data) -> None:
    """Add a floor below a model in a state to its spec."""
    height = lowest_point(model, data, colliding=True)
    floor = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=[0, 0, height])
    floor.contype = floor.conaffinity = EVERY_BIT
    floor.rgba = RGBA
