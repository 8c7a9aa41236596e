"""A scripted operator that solves a task from the ground truth, with human-like timing, noise and errors.

    expert = Expert("lift", seed=3)
    expert.begin(position, environment)
    target = expert.command(position, environment)        # at 60 Hz; None once the script has ended

The script of a skill is a generator of `Move`s that reads the world between moves, so a failed grasp is detected and
repeated. Each move is a minimum-jerk path in joint space, like the motions of human hands (Flash and Hogan 1985,
J. Neurosci. 5:1688).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from waldo.errors import UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.sim.experts.bimanual_lift import lift_with_both
from waldo.sim.experts.kinematics import kinematics_of
from waldo.sim.experts.script import Move, ScriptContext, UnreachableError
from waldo.sim.experts.tabletop_skills import tabletop_script
from waldo.sim.policy import Observation
from waldo.sim.tasks.task import Task, load_task
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

TREMOR_RAD = 0.004
"""Standard deviation of the slow drift of a hand [rad]."""
TREMOR_S = 0.35
"""Time constant of the drift [s]."""
PACE_RANGE = 0.12
"""Maximum relative deviation of an operator's pace."""

SCRIPTS: dict[str, Callable[[ScriptContext], Iterator[Move]]] = {
    "so101": tabletop_script,
    **dict.fromkeys(("g1", "g1_dex3", "g1_inspire"), lift_with_both),
}
"""Robot preset -> function that returns the script for a context's goal."""


class Expert:
    """A scripted operator of one world; the same seed, readings and goal give the same motion."""

    def __init__(self, task: str | Task, *, seed: int = 0, noise_scale: float = 1.0) -> None:
        """Initialize an operator.

        Args:
            task: The task or its registered name.
            seed: Seed of the operator's pace, noise and errors.
            noise_scale: Scale of noise, pauses and errors: 0 is exact, 1 is human-like, above 1 is clumsy.

        Raises:
            UnsupportedOptionError: If there is no script for the task's robot.
        """
        self.task = load_task(task) if isinstance(task, str) else task
        if self.task.robot not in SCRIPTS:
            raise UnsupportedOptionError("the scripted expert", f"the robot {self.task.robot!r}", sorted(SCRIPTS))
        self.seed, self.noise_scale = seed, noise_scale
        self._stiffness = self._gains()
        self._script: Iterator[Move] = iter(())
        self._done = True
        self.gave_up = ""
        """Reason why the script ended early; empty unless a pose was out of reach."""

    def _gains(self) -> Array:
        model = kinematics_of(self.task.robot).model
        names = load_robot(self.task.robot).joint_names
        return np.array([model.actuator(name).gainprm[0] for name in names])

    def begin(self, position: Array, environment: Mapping[str, float]) -> None:
        """Start on the goal that the ground truth `environment` contains, from joint positions (joints,) [rad]."""
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, 7])
        self._context = ScriptContext(self.task, rng, self.noise_scale)
        self._rng = rng
        self._pace = 1.0 + self.noise_scale * rng.uniform(-PACE_RANGE, PACE_RANGE)
        self._drift = np.zeros(len(position))
        self._update(position, environment)
        self._context.at = np.array(position, dtype=float)
        self._from = self._context.at
        self._script = SCRIPTS[self.task.robot](self._context)
        self._done, self.gave_up = False, ""
        self._next()

    def _update(self, position: Array, environment: Mapping[str, float]) -> None:
        self._context.position, self._context.environment = np.asarray(position, dtype=float), environment

    def _next(self) -> None:
        self._from = self._context.at
        try:
            self._move = next(self._script)
        except StopIteration:
            self._done = True
            return
        except UnreachableError as error:
            # An object was knocked out of reach: the script ends, as an operator would stop.
            self._done, self.gave_up = True, str(error)
            return
        self._context.at = self._move.to
        self._tick, self._ticks = 0, max(1, round(self._move.seconds * self._pace * CONTROL_HZ))
        load = self._context.kinematics.load
        self._lead_from, self._lead_to = (load(q) / self._stiffness for q in (self._from, self._move.to))

    def command(self, position: Array, environment: Mapping[str, float]) -> Array | None:
        """Return the next position targets (joints,) [rad], or None once the script has ended."""
        if self._done:
            return None
        self._update(position, environment)
        if self._tick == self._ticks:
            self._next()
            if self._done:
                return None
        self._tick += 1
        s = self._tick / self._ticks
        s = s**3 * (10 - 15 * s + 6 * s**2)
        # A servo sags under load by torque over stiffness; an operator sees the sag and leads the target by it.
        path = self._from + s * (self._move.to - self._from)
        lead = self._lead_from + s * (self._lead_to - self._lead_from)
        robot = self._context.robot
        return np.clip(path + lead + self._tremor(), robot.lower, robot.upper)

    def _tremor(self) -> Array:
        keep = np.exp(-1 / (TREMOR_S * CONTROL_HZ))
        kick = self._rng.normal(0, TREMOR_RAD * self.noise_scale, len(self._drift))
        self._drift = keep * self._drift + np.sqrt(1 - keep**2) * kick
        return self._drift


class ExpertPolicy:
    """One expert for each world of a batch, as a policy for demonstrations and as an upper bound."""

    fps = float(CONTROL_HZ)
    image_keys: tuple[str, ...] = ()

    def __init__(self, world: World, *, noise_scale: float = 1.0) -> None:
        """Initialize for the worlds to read the ground truth from; `noise_scale` as for `Expert`."""
        self._world, self._noise_scale = world, noise_scale
        self._experts: list[Expert | None] = [None] * world.worlds
        self._last = world.position

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Start again in the worlds `which` (None: all)."""
        for world in range(self._world.worlds) if which is None else which:
            self._experts[int(world)] = None

    def act(self, observation: Observation) -> Array:
        """Return the targets (worlds, joints) [rad]; an expert that has finished holds its last target."""
        positions, values = self._world.position, self._world.environment()
        names = self._world.environment_names
        for i, seed in enumerate(self._world.seeds):
            environment = dict(zip(names, values[i], strict=True))
            expert = self._experts[i]
            if expert is None:
                expert = self._experts[i] = Expert(self._world.task, seed=int(seed), noise_scale=self._noise_scale)
                expert.begin(positions[i], environment)
                self._last[i] = positions[i]
            target = expert.command(positions[i], environment)
            if target is not None:
                self._last[i] = target
        return self._last.copy()
