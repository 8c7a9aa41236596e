"""Execution of instructions in many worlds at once: a plan for every world, subtask by subtask.

The policy receives a subtask as the goal's text and one-hot values. When the world reports that the goal is reached,
the next subtask starts. A subtask that exceeds its time limit ends the run of its world: later subtasks build on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from waldo.errors import InvalidValueError
from waldo.sim.evaluation.results import success_interval
from waldo.sim.evaluation.rollout import Advance, no_progress, rollout, ticks_per_action
from waldo.sim.policy import Policy, PolicyFactory, image_sizes, make_policy, observe
from waldo.sim.tasks.goal import Goal, Scene
from waldo.sim.world import CONTROL_HZ, World

SAMPLE_TICKS = 6
"""Ticks between two samples of the winding temperatures."""
STEADY_S = 0.25
"""Time for which a goal has to stay reached before the next subtask starts [s]."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of a run."""

    task: str = "sort"
    """Registered name of the task that provides the world."""
    episodes: int = 50
    """Number of worlds, one seed each."""
    first_seed: int = 100_000
    """Seed of the first world."""
    limit_s: float | None = None
    """Time limit of one subtask [s]; None: the task's horizon."""
    threads: int | None = None
    """Threads of the physics; None: all cores, at most 8."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if self.episodes < 1:
            raise InvalidValueError("episodes", self.episodes, "a number from 1")
        if self.limit_s is not None and self.limit_s <= 0:
            raise InvalidValueError("limit_s", self.limit_s, "a time above 0")


@dataclass(frozen=True, kw_only=True)
class SubtaskResult:
    """Result of one subtask in one world."""

    goal: str
    """The goal in words."""
    reached: bool
    """Whether the goal was reached within the time limit."""
    seconds: float
    """Duration [s]; 0 if the subtask was not started."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Result of an instruction in all worlds."""

    instruction: str
    """The instruction."""
    seeds: list[int]
    """Seed of each world."""
    subtasks: list[list[SubtaskResult]]
    """The subtasks of each world's plan, in order."""
    max_winding_c: dict[str, float]
    """Joint -> maximum winding temperature in any world [°C]."""
    wilson_95: tuple[float, float]
    """95 % Wilson score interval of the success rate."""

    @property
    def success(self) -> list[bool]:
        """Whether each world reached every subtask."""
        return [all(step.reached for step in steps) for steps in self.subtasks]

    @property
    def rate(self) -> float:
        """Fraction of worlds that reached every subtask."""
        return sum(self.success) / len(self.seeds)

    def by_step(self) -> list[tuple[int, int, int]]:
        """Return for each step of the plan how many worlds have it, started it and reached it."""
        longest = max(len(steps) for steps in self.subtasks)
        columns = [[s[i] for s in self.subtasks if i < len(s)] for i in range(longest)]
        return [(len(c), sum(s.seconds > 0 or s.reached for s in c), sum(s.reached for s in c)) for c in columns]


def run_instruction(
    policy: Policy | PolicyFactory,
    instruction: str,
    plan: Callable[[Scene], list[Goal]],
    config: RunConfig,
    *,
    advance: Advance = no_progress,
) -> RunResult:
    """Plan an instruction and execute it in every world.

    Args:
        policy: The policy, or a function that makes one for given worlds.
        instruction: The instruction.
        plan: Returns the subtasks for a scene; called once for each distinct scene.
        config: The options.
        advance: Progress callback, in subtasks.
    """
    world = World(config.task, worlds=config.episodes, threads=config.threads)
    actor = make_policy(policy, world)
    ticks_per_action(actor.fps)
    seeds = [config.first_seed + i for i in range(config.episodes)]
    world.reset(seeds)
    plans = _make_plans(world, plan)
    run = _Run(world, actor, plans, round((config.limit_s or world.task.horizon_s) * CONTROL_HZ), advance)
    sizes = image_sizes(actor)
    rollout(actor, observe=lambda keys: observe(world, keys, sizes), act=world.step, on_tick=run.on_tick)
    world.close()
    subtasks = [_with_unstarted(steps, results) for steps, results in zip(plans, run.results, strict=True)]
    successes = sum(all(step.reached for step in steps) for steps in subtasks)
    return RunResult(
        instruction=instruction,
        seeds=seeds,
        subtasks=subtasks,
        max_winding_c={joint.name: float(run.max_winding[i]) for i, joint in enumerate(world.robot.joints)},
        wilson_95=success_interval(successes, len(seeds)),
    )


def _make_plans(world: World, plan: Callable[[Scene], list[Goal]]) -> list[list[Goal]]:
    """Return the plan of each world and set its first goal."""
    known: dict[Scene, list[Goal]] = {}
    plans: list[list[Goal]] = []
    for i in range(world.worlds):
        scene = world.scene(i)
        if scene not in known:
            known[scene] = plan(scene)
            for goal in known[scene]:
                world.task.check(goal)
        plans.append(known[scene])
    for i, steps in enumerate(plans):
        world.set_goal([i], steps[0])
    return plans


class _Run:
    """State of a run: the current step of every world's plan."""

    def __init__(self, world: World, policy: Policy, plans: list[list[Goal]], limit: int, advance: Advance) -> None:
        self._world, self._policy, self._plans, self._limit, self._advance = world, policy, plans, limit, advance
        self._step, self._ticks, self._steady = np.zeros((3, world.worlds), dtype=np.int64)
        self._running = np.ones(world.worlds, dtype=bool)
        self.results = [list[SubtaskResult]() for _ in plans]
        self.max_winding = world.heat[..., 0].max(axis=0)

    def on_tick(self, tick: int) -> bool:
        """Finish subtasks and start the next ones; return whether any world is still running."""
        if tick % SAMPLE_TICKS == 0:
            self.max_winding = np.maximum(self.max_winding, self._world.heat[self._running, :, 0].max(axis=0))
        self._ticks += self._running
        self._steady = np.where(self._world.goal_reached(), self._steady + 1, 0)
        done = self._running & (self._steady >= round(STEADY_S * CONTROL_HZ))
        late = self._running & ~done & (self._ticks >= self._limit)
        started = [int(i) for i in np.flatnonzero(done | late) if self._finish(int(i), bool(done[i]))]
        if started:
            self._policy.reset(np.array(started))
        reached = sum(step.reached for steps in self.results for step in steps)
        self._advance(reached, sum(map(len, self._plans)), f"{int(self._running.sum())} worlds running")
        return bool(self._running.any())

    def _finish(self, i: int, reached: bool) -> bool:
        """Finish the current subtask of world `i`; return whether the next one was started."""
        goal = self._plans[i][self._step[i]]
        seconds = float(self._ticks[i]) / CONTROL_HZ
        self.results[i].append(SubtaskResult(goal=goal.text, reached=reached, seconds=seconds))
        self._step[i] += 1
        self._ticks[i] = self._steady[i] = 0
        if not reached or self._step[i] == len(self._plans[i]):
            self._running[i] = False
            return False
        self._world.set_goal([i], self._plans[i][self._step[i]])
        return True


def _with_unstarted(plan: list[Goal], results: list[SubtaskResult]) -> list[SubtaskResult]:
    """Return the results of a world, completed by the subtasks that were not started."""
    return results + [SubtaskResult(goal=goal.text, reached=False, seconds=0.0) for goal in plan[len(results) :]]
