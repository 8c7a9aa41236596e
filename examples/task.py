"""A complete simulation task: put an eraser into the tray in front of an SO-101 arm.

Register it in the `pyproject.toml` of your package, and every command finds it by name:

    [project.entry-points."waldo.tasks"]
    tidy = "my_package.task:TIDY"

    waldo eval expert --task tidy
    waldo robot so101 --task tidy

The scripted expert has the skills `lift` and `put` of the SO-101, so it solves this task without further code. A task
with other skills needs a policy of your own (`waldo.sim.policy.Policy`).

Usage: python examples/task.py
"""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np

from waldo import EvalConfig, evaluate, registry
from waldo.sim.engine import Spec, mujoco
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.task import Bin, SceneObject, Task
from waldo.typing import Array

HALF_M = (0.015, 0.02, 0.015)
"""Half of the eraser's length, width and height [m]."""

ERASER = SceneObject(name="eraser", half=HALF_M, rgba=(0.95, 0.75, 0.25, 1.0), mass=0.03)
TRAY = Bin(name="tray", center=(0.12, 0.2), half=(0.05, 0.05), wall=0.03, rgba=(0.35, 0.4, 0.5, 1.0))


def sample_poses(rng: np.random.Generator) -> Array:
    """Return a random pose of the eraser within reach, (1, 7): x y z [m], qw qx qy qz."""
    x, y, yaw = rng.uniform(0.20, 0.25), rng.uniform(-0.08, 0.04), rng.uniform(-0.4, 0.4)
    return np.array([[x, y, HALF_M[2], np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]])


def sample_goal(rng: np.random.Generator) -> Goal:
    """Return the goal, which is always the same here."""
    return Goal(skill="put", object=ERASER.name, target=TRAY.name)


def build_scene(spec: Spec) -> None:
    """Add a table top at height 0 and a light; contact bits as in `waldo.sim.tasks.task`."""
    spec.worldbody.add_light(pos=[0.2, -0.4, 1.2], dir=[0.05, 0.35, -1], castshadow=False)
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.34, 0.42, 0.02],
        pos=[0.18, 0, -0.02],
        rgba=[0.8, 0.7, 0.57, 1],
        contype=0,
        conaffinity=3,
    )


TIDY = Task(
    name="tidy",
    robot="so101",
    horizon_s=9.0,
    objects=(ERASER,),
    bins=(TRAY,),
    skills=("put", "lift"),
    sample_poses=sample_poses,
    sample_goal=sample_goal,
    build_scene=build_scene,
)


def main() -> None:
    """Register the task for this process and evaluate the scripted expert on it."""
    group = "waldo.tasks"
    registry.entries(group)["tidy"] = EntryPoint("tidy", f"{__name__}:TIDY", group)
    result = evaluate(ExpertPolicy, EvalConfig(task="tidy", episodes=4, videos=0))
    print(f"{result.instruction}: {result.successes} of {len(result.success)} succeeded")


if __name__ == "__main__":
    main()
