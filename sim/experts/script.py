"""Building blocks of an expert's script: the moves that it yields and the context that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from waldo.errors import InvalidValueError, WaldoError
from waldo.robots.description import load_robot
from waldo.sim.experts.kinematics import kinematics_of
from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.task import Task
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One motion to joint positions."""

    to: Array
    """Joint positions at the end, (joints,) [rad]."""
    seconds: float
    """Duration before it is scaled by the expert's pace [s]."""


class UnreachableError(WaldoError):
    """A pose that the robot cannot reach."""

    def __init__(self, target: str, error_m: float) -> None:
        """Build the message from the target and the distance of the nearest reachable pose [m]."""
        super().__init__(
            f"{target} is out of reach: the nearest pose is {error_m * 1000:.0f} mm away; use another seed"
        )


class ScriptContext:
    """Readings, goal and random generator of a running script."""

    def __init__(self, task: Task, rng: np.random.Generator, noise_scale: float) -> None:
        """Initialize without readings; `noise_scale` 0 disables everything random, 1 is human-like."""
        self.task, self.rng, self.noise_scale = task, rng, noise_scale
        self.robot = load_robot(task.robot)
        self.kinematics = kinematics_of(task.robot)
        self.position: Array = self.robot.home
        """Measured joint positions, (joints,) [rad]."""
        self.environment: Mapping[str, float] = {}
        """Ground truth by name."""
        self.at: Array = self.robot.home
        """End of the current move, without load compensation and noise, (joints,) [rad]."""

    @property
    def goal(self) -> Goal:
        """The goal that the ground truth contains; raises InvalidValueError for a goal of another task."""
        named = {key for key, value in self.environment.items() if key.startswith("goal.") and value > 0.5}
        objects = [one.name for one in self.task.objects if f"goal.{one.key}" in named]
        bins = [one.name for one in self.task.bins if f"goal.{one.key}" in named]
        if not objects:
            found = ", ".join(sorted(key.removeprefix("goal.") for key in named)) or "none"
            expected = f"one of the task {self.task.name!r}: {', '.join(self.task.object_names)}"
            raise InvalidValueError("goal", found, expected, "name the robot's task, such as --option task=pick")
        skill = "put" if bins else "lift"
        return Goal(skill=skill, object=objects[0], target=bins[0] if bins else None)

    def pose(self, name: str) -> tuple[Array, float]:
        """Return an object's position (3,) [m] and its rotation about the vertical [rad]."""
        key = name.replace(" ", "_")
        x, y, z, qw, qx, qy, qz = (
            float(self.environment[f"{key}.{p}"]) for p in ("x", "y", "z", "qw", "qx", "qy", "qz")
        )
        return np.array([x, y, z]), float(np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz)))

    def happens(self, probability: float) -> bool:
        """Return True at random, with a probability that is scaled by `noise_scale`."""
        return bool(self.rng.random() < probability * self.noise_scale)

    def pause(self, seconds: float) -> Move:
        """Return a move that stays at the end of the last one."""
        return Move(to=self.at, seconds=seconds)
