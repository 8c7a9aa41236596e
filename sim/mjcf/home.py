"""The home pose of a model: the keyframe "home", else the first one, else the pose in which the file defines it."""

from __future__ import annotations

import numpy as np

from waldo.sim.engine import Data, Model, Spec, mujoco
from waldo.typing import Array


def reset_to_home(model: Model, data: Data) -> None:
    """Reset a state to the home pose, with everything that a keyframe sets, such as the pose of a floating base."""
    names = [model.key(i).name for i in range(model.nkey)]
    if names:
        mujoco.mj_resetDataKeyframe(model, data, names.index("home") if "home" in names else 0)
    else:
        mujoco.mj_resetData(model, data)


def home_data(model: Model) -> Data:
    """Return a state in the home pose, with all that follows from the positions."""
    data = mujoco.MjData(model)
    reset_to_home(model, data)
    mujoco.mj_forward(model, data)
    return data


def home_inertia(model: Model) -> Array:
    """Return the inertia matrix in the home pose, shape (nv, nv)."""
    matrix = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, home_data(model), matrix)
    return matrix


def exclude_home_contacts(spec: Spec, model: Model) -> None:
    """Exclude contacts between bodies that touch in the home pose.

    The links of a URDF overlap at their joints; which of them may collide is in another file (SRDF).
    """
    contacts = home_data(model).contact
    bodies = np.sort(model.geom_bodyid[contacts.geom], axis=1)
    for first, second in np.unique(bodies, axis=0).tolist():
        spec.add_exclude(bodyname1=model.body(first).name, bodyname2=model.body(second).name)
