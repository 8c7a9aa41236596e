"""A drawing of a robot from its own model: the outline of each link, and the joint that moves it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.graphics import choose_backend
from waldo.robots.description import Robot

type Points = NDArray[np.float64]
type Model = Any
"""A mujoco.MjModel: the compiled model."""
type Data = Any
"""A mujoco.MjData: its state."""

WIDTH = 1000.0
"""Larger side of the drawing."""
MAX_VERTICES = 2000
"""Number of a mesh's vertices that are used."""


def body_map(robot: Robot) -> dict[str, Any]:
    """Return the drawing of a robot in its home position, seen from the front or, if it is deeper than wide, the side.

    Returns:
        `width` and `height`, and `parts` from the back to the front: `joint`, the name of the joint that moves the link
        or an empty text, and `points`, its outline as x and y from the top left. No parts without MuJoCo, or if the
        model cannot be read or lacks a joint: a recording does not depend on its drawing.
    """
    try:
        return _drawing(robot)
    except (ImportError, ValueError, KeyError):
        return {"width": 1, "height": 1, "parts": []}


def _drawing(robot: Robot) -> dict[str, Any]:
    mujoco = _mujoco()
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf_path))
    data = mujoco.MjData(model)
    for name, position in zip(robot.joint_names, robot.home.tolist(), strict=True):
        data.qpos[model.joint(name).qposadr[0]] = position
    mujoco.mj_kinematics(model, data)
    links = {body: found for body in range(1, model.nbody) if len(found := _points(model, data, body))}
    if not links:
        return {"width": 1, "height": 1, "parts": []}
    return _draw(links, {body: _joint_of(model, body, robot.joint_names) for body in links})


def _mujoco() -> Any:
    """Return MuJoCo, imported after the GL back end was chosen: it reads that choice once."""
    choose_backend()
    return importlib.import_module("mujoco")


def _draw(links: dict[int, Points], joints: dict[int, str]) -> dict[str, Any]:
    import cv2

    everything = np.concatenate(list(links.values()))
    extent = np.ptp(everything, axis=0)
    # Seen from the front, the robot's left is on the right.
    across, depth = (1, 0) if extent[1] >= extent[0] else (0, 1)
    scale = WIDTH / max(extent[across], extent[2])
    left, top = everything[:, across].min(), everything[:, 2].max()
    parts: list[tuple[float, dict[str, Any]]] = []
    for body, points in links.items():
        flat = np.column_stack([points[:, across] - left, top - points[:, 2]]) * scale
        hull = cv2.convexHull(flat.astype(np.float32))[:, 0]
        sign = 1 if across == 1 else -1
        parts.append((sign * float(points[:, depth].mean()), {"joint": joints[body], "points": hull.round(1).tolist()}))
    ordered = [part for _, part in sorted(parts, key=lambda part: part[0])]
    return {"width": float(extent[across] * scale), "height": float(extent[2] * scale), "parts": ordered}


def _joint_of(model: Model, body: int, names: tuple[str, ...]) -> str:
    """Return the robot's joint that moves a body: its own, or that of the nearest body below it."""
    while body:
        first = int(model.body_jntadr[body])
        for joint in range(first, first + int(model.body_jntnum[body])):
            if (name := model.joint(joint).name) in names:
                return name
        body = int(model.body_parentid[body])
    return ""


def _points(model: Model, data: Data, body: int) -> Points:
    """Return points (n, 3) on the surfaces of a body's geometries [m]."""
    first = int(model.body_geomadr[body])
    found = [np.empty((0, 3))]
    for geom in range(first, first + int(model.body_geomnum[body])):
        local = _surface(model, geom)
        found.append(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
    return np.concatenate(found)


def _surface(model: Model, geom: int) -> Points:
    """Return points (n, 3) on the surface of a geometry in its own frame [m]."""
    mujoco = _mujoco()
    size, kind = model.geom_size[geom], mujoco.mjtGeom(int(model.geom_type[geom]))
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T.astype(float)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    heights = np.linspace(-1, 1, 7)
    sphere = np.array(
        [[np.sqrt(1 - z * z) * np.cos(a), np.sqrt(1 - z * z) * np.sin(a), z] for z in heights for a in angles]
    )
    match kind:
        case mujoco.mjtGeom.mjGEOM_BOX:
            return corners * size
        case mujoco.mjtGeom.mjGEOM_SPHERE:
            return sphere * size[0]
        case mujoco.mjtGeom.mjGEOM_ELLIPSOID:
            return sphere * size
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            shift = np.array([0.0, 0.0, size[1]])
            return np.concatenate([sphere * size[0] + shift, sphere * size[0] - shift])
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            circle = np.column_stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)]) * size[0]
            shift = np.array([0.0, 0.0, size[1]])
            return np.concatenate([circle + shift, circle - shift])
        case mujoco.mjtGeom.mjGEOM_MESH:
            mesh = int(model.geom_dataid[geom])
            first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
            step = max(1, count // MAX_VERTICES)
            return np.asarray(model.mesh_vert[first : first + count : step], dtype=float)
        case _:  # planes and height fields are not part of a robot
            return np.empty((0, 3))
