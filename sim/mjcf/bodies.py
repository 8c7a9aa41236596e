"""Poses of the bodies of a model that float freely: the base of a legged robot, and objects."""

from __future__ import annotations

import numpy as np

from waldo.sim.engine import Data, Model, mujoco
from waldo.typing import Array

PARTS = ("x", "y", "z", "qw", "qx", "qy", "qz")
"""Values of a pose [m, and a unit quaternion]."""


class FreeBodies:
    """Reads the poses of the bodies with a free joint."""

    def __init__(self, model: Model) -> None:
        """Look up the bodies."""
        free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        bodies = [int(model.jnt_bodyid[joint]) for joint in free]
        labels = [model.body(body).name or f"body{body}" for body in bodies]
        self.names = tuple(f"{label}.{part}" for label in labels for part in PARTS)
        """Names of the values: "trunk.x" ... "trunk.qz"."""
        self._at = model.jnt_qposadr[free][:, None] + np.arange(7)

    def poses(self, data: Data) -> Array:
        """Return the poses, shape (7 · bodies,); qw is never negative."""
        poses = data.qpos[self._at]
        poses[:, 3:] *= np.where(poses[:, 3:4] < 0, -1.0, 1.0)
        return poses.ravel()
