"""A scripted operator: does a task's goal from the ground truth, with a person's timing, noise and misses.

    expert = Expert("lift", seed=3)
    expert.begin(position, environment)
    target = expert.command(position, environment)        # at 60 Hz; None once it has finished

A skill's script is a generator of `Move`s; between them it looks at the world again, so a failed grasp is seen and
tried anew. Each move is a minimum-jerk path in joint space, as people's hands move (Flash and Hogan 1985).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.errors import WaldoError
from waldo.robots.description import load_robot
from waldo.sim.experts.kinematics import kinematics_of
from waldo.sim.policy import Observation
from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.task import Task, load_task
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

TREMOR_RAD = 0.004
"""Standard deviation of a hand's slow wander [rad]."""
TREMOR_S = 0.35
"""Its time constant [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One stretch of motion to joint positions."""

    to: Array
    """Joint positions at its end, (joints,) [rad]."""
    seconds: float
    """How long it takes before the person's own pace is applied [s]."""


class UnreachableError(WaldoError):
    """A place that the robot cannot reach."""

    def __init__(self, what: str, error_m: float) -> None:
        """Take what should be reached and by how much it is missed."""
        super().__init__(f"{what} cannot be reached: the nearest pose is {error_m * 1000:.0f} mm off; use another seed")


class Operator:
    """What a script sees and uses: the newest readings, the goal, the task, and the person's chance."""

    def __init__(self, task: Task, rng: np.random.Generator, human: float) -> None:
        """Take the task, the person's chance and how human it is, 0 (a machine) to 1 and above."""
        self.task, self.rng, self.human = task, rng, human
        self.robot = load_robot(task.robot)
        self.kinematics = kinematics_of(task.robot)
        self.position: Array = self.robot.home
        self.environment: Mapping[str, float] = {}
        self.at: Array = self.robot.home
        """Where the present move ends, before load and noise."""

    @property
    def goal(self) -> Goal:
        """The goal that the environment names."""
        named = {key for key, value in self.environment.items() if key.startswith("goal.") and value > 0.5}
        things = [thing.name for thing in self.task.things if f"goal.{thing.key}" in named]
        bins = [item.name for item in self.task.bins if f"goal.{item.key}" in named]
        skill = "put" if bins else "lift"
        return Goal(skill=skill, object=things[0], target=bins[0] if bins else None)

    def pose(self, name: str) -> tuple[Array, float]:
        """Return a thing's place (3,) [m] and its turn about the vertical [rad]."""
        key = name.replace(" ", "_")
        x, y, z, qw, qx, qy, qz = (
            float(self.environment[f"{key}.{p}"]) for p in ("x", "y", "z", "qw", "qx", "qy", "qz")
        )
        return np.array([x, y, z]), float(np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz)))

    def chance(self, probability: float) -> bool:
        """Say yes with a probability, which a machine (human 0) never does."""
        return bool(self.rng.random() < probability * self.human)

    def pause(self, seconds: float) -> Move:
        """Stay where the last move ended."""
        return Move(to=self.at, seconds=seconds)


class Expert:
    """A scripted operator of one world; the same seed, readings and goal give the same motion."""

    def __init__(self, task: str | Task, *, seed: int = 0, human: float = 1.0) -> None:
        """Take the task, the person (`seed`) and how human it is: 0 is exact, 1 is a person, more is a clumsy one."""
        self.task = load_task(task) if isinstance(task, str) else task
        self.seed, self.human = seed, human
        self._stiffness = self._gains()
        self._script: Iterator[Move] = iter(())
        self._done = True
        self.gave_up = ""
        """Why it stopped before the goal was reached; empty unless something was out of reach."""

    def _gains(self) -> Array:
        model = kinematics_of(self.task.robot).model
        names = load_robot(self.task.robot).joint_names
        return np.array([model.actuator(name).gainprm[0] for name in names])

    def begin(self, position: Array, environment: Mapping[str, float]) -> None:
        """Look at the world and start on the goal that `environment` names."""
        from waldo.sim.experts.skills import script_of

        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, 7])
        self._operator = Operator(self.task, rng, self.human)
        self._rng = rng
        self._pace = 1.0 + self.human * rng.uniform(-0.12, 0.12)
        self._wander = np.zeros(len(position))
        self._see(position, environment)
        self._operator.at = np.array(position, dtype=float)
        self._from = self._operator.at
        self._script = script_of(self._operator)
        self._done, self.gave_up = False, ""
        self._next()

    def _see(self, position: Array, environment: Mapping[str, float]) -> None:
        self._operator.position, self._operator.environment = np.asarray(position, dtype=float), environment

    def _next(self) -> None:
        self._from = self._operator.at
        try:
            self._move = next(self._script)
        except StopIteration:
            self._done = True
            return
        except UnreachableError as error:
            # A thing was knocked out of reach: a person gives up here, too.
            self._done, self.gave_up = True, str(error)
            return
        self._operator.at = self._move.to
        self._tick, self._ticks = 0, max(1, round(self._move.seconds * self._pace * CONTROL_HZ))
        kinematics = self._operator.kinematics
        self._load_from, self._load_to = (kinematics.load(q) / self._stiffness for q in (self._from, self._move.to))

    def command(self, position: Array, environment: Mapping[str, float]) -> Array | None:
        """Return the next position targets (joints,) [rad], or None once the script has ended."""
        if self._done:
            return None
        self._see(position, environment)
        if self._tick == self._ticks:
            self._next()
            if self._done:
                return None
        self._tick += 1
        s = self._tick / self._ticks
        s = s**3 * (10 - 15 * s + 6 * s**2)
        # A servo sags under load by torque over stiffness; people see the sag and lead it away.
        path = self._from + s * (self._move.to - self._from)
        lead = self._load_from + s * (self._load_to - self._load_from)
        robot = self._operator.robot
        return np.clip(path + lead + self._tremor(), robot.lower, robot.upper)

    def _tremor(self) -> Array:
        keep = np.exp(-1 / (TREMOR_S * CONTROL_HZ))
        kick = self._rng.normal(0, TREMOR_RAD * self.human, len(self._wander))
        self._wander = keep * self._wander + np.sqrt(1 - keep**2) * kick
        return self._wander


class ExpertPolicy:
    """The expert in every world of a batch, as a policy: what demonstrations and an upper bound are made from."""

    fps = float(CONTROL_HZ)
    image_keys: tuple[str, ...] = ()

    def __init__(self, world: World, *, human: float = 1.0) -> None:
        """Take the worlds whose ground truth it may see."""
        self._world, self._human = world, human
        self._experts: list[Expert | None] = [None] * world.worlds

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Start anew in the worlds `which` (None: all)."""
        for world in range(self._world.worlds) if which is None else which:
            self._experts[int(world)] = None

    def act(self, observation: Observation) -> Array:
        """Return the targets (worlds, joints) [rad]; a finished expert holds where it ended."""
        positions, values = self._world.position, self._world.environment()
        names = self._world.environment_names
        if not hasattr(self, "_last") or self._last.shape != positions.shape:
            self._last = positions.copy()
        for i, seed in enumerate(self._world.seeds):
            environment = dict(zip(names, values[i], strict=True))
            expert = self._experts[i]
            if expert is None:
                expert = self._experts[i] = Expert(self._world.task, seed=int(seed), human=self._human)
                expert.begin(positions[i], environment)
                self._last[i] = positions[i]
            target = expert.command(positions[i], environment)
            if target is not None:
                self._last[i] = target
        return self._last.copy()
