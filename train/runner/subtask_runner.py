"""Carries out instructions: a plan for every world, subtask by subtask, in many worlds at once.

A subtask is given to the policy as the goal's text and one-hots; when the world says that it is reached, the next one
begins. A subtask that takes too long ends that world's run, as what follows builds on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from waldo.console import progress
from waldo.errors import InvalidValueError
from waldo.sim.evaluation.intervals import wilson
from waldo.sim.policy import Policy, observe
from waldo.sim.tasks.goal import Goal, Scene
from waldo.sim.world import CONTROL_HZ, World

PEAK_TICKS = 6
"""Ticks between two looks at the hottest winding."""
STEADY_S = 0.25
"""How long a goal must hold before the next subtask begins [s]."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is run and for how long."""

    task: str = "sort"
    """Name of the task whose world it is."""
    episodes: int = 50
    """Worlds, one seed each."""
    first_seed: int = 100_000
    """Seed of the first world."""
    limit_s: float | None = None
    """Time that one subtask may take [s]; None: the task's own horizon."""
    threads: int | None = None
    """Threads of the physics; None: all cores, at most 8."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no run."""
        if self.episodes < 1:
            raise InvalidValueError("episodes", self.episodes, "a number from 1")
        if self.limit_s is not None and self.limit_s <= 0:
            raise InvalidValueError("limit_s", self.limit_s, "a time above 0")


@dataclass(frozen=True, kw_only=True)
class SubtaskResult:
    """One subtask in one world."""

    goal: str
    """What was to be done, in words."""
    reached: bool
    """Whether it was done in time."""
    seconds: float
    """How long it took or was tried; 0 if it was never begun [s]."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of an instruction in all worlds."""

    instruction: str
    """What was asked."""
    seeds: list[int]
    """The worlds."""
    subtasks: list[list[SubtaskResult]]
    """For every world, its plan's steps in order."""
    peak_winding_c: dict[str, float]
    """Hottest winding of any world by joint [°C]."""
    wilson_95: tuple[float, float]
    """Confidence interval of the share of worlds in which everything was done."""

    @property
    def success(self) -> list[bool]:
        """In which worlds every subtask was done."""
        return [all(step.reached for step in steps) for steps in self.subtasks]

    @property
    def rate(self) -> float:
        """Share of worlds in which every subtask was done."""
        return sum(self.success) / len(self.seeds)

    def by_step(self) -> list[tuple[int, int, int]]:
        """Return for each step of the plan: how many worlds have it, began it, reached it."""
        longest = max(len(steps) for steps in self.subtasks)
        columns = [[s[i] for s in self.subtasks if i < len(s)] for i in range(longest)]
        return [(len(c), sum(s.seconds > 0 or s.reached for s in c), sum(s.reached for s in c)) for c in columns]


@dataclass
class _State:
    """Where every world is in its plan."""

    plans: list[list[Goal]]
    step: NDArray[np.int64]
    ticks: NDArray[np.int64]
    steady: NDArray[np.int64]
    running: NDArray[np.bool_]
    results: list[list[SubtaskResult]] = field(default_factory=lambda: list[list[SubtaskResult]]())


def run_instruction(
    policy: Policy | Callable[[World], Policy], instruction: str, plan: Callable[[Scene], list[Goal]], config: RunConfig
) -> RunResult:
    """Plan and carry out an instruction in every world; `plan` makes the steps for a scene, once for each."""
    world = World(config.task, worlds=config.episodes, threads=config.threads)
    actor = policy if isinstance(policy, Policy) and not isinstance(policy, type) else policy(world)
    hold = CONTROL_HZ / actor.fps
    if hold != round(hold):
        raise InvalidValueError("fps", actor.fps, f"a divisor of the control rate {CONTROL_HZ}")
    seeds = [config.first_seed + i for i in range(config.episodes)]
    world.reset(seeds)
    state = _begin(world, plan)
    peak = world.heat[..., 0].max(axis=0)
    limit = round((config.limit_s or world.task.horizon_s) * CONTROL_HZ)
    actor.reset()
    targets = world.position.copy()
    tick = 0
    with progress() as bar:
        total = sum(len(steps) for steps in state.plans)
        task = bar.add_task("subtasks", total=total, note="")
        while state.running.any():
            if tick % round(hold) == 0:
                targets = np.asarray(actor.act(observe(world, actor.image_keys)), dtype=float)
            world.step(targets)
            tick += 1
            if tick % PEAK_TICKS == 0:
                peak = np.maximum(peak, world.heat[state.running, :, 0].max(axis=0))
            _advance(world, actor, state, limit)
            reached = sum(step.reached for steps in state.results for step in steps)
            bar.update(task, completed=reached, note=f"{int(state.running.sum())} worlds running")
    world.close()
    whole = [_with_unbegun(state.plans[i], state.results[i]) for i in range(config.episodes)]
    successes = sum(all(step.reached for step in steps) for steps in whole)
    return RunResult(
        instruction=instruction,
        seeds=seeds,
        subtasks=whole,
        peak_winding_c={joint.name: float(peak[i]) for i, joint in enumerate(world.robot.joints)},
        wilson_95=wilson(successes, len(seeds)),
    )


def _begin(world: World, plan: Callable[[Scene], list[Goal]]) -> _State:
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
    zeros = np.zeros(world.worlds, dtype=np.int64)
    results = [list[SubtaskResult]() for _ in plans]
    return _State(plans, zeros, zeros.copy(), zeros.copy(), np.ones(world.worlds, dtype=bool), results)


def _advance(world: World, policy: Policy, state: _State, limit: int) -> None:
    """Close the subtasks that are done or out of time, and begin the next ones."""
    state.ticks += state.running
    reached = world.goal_reached()
    state.steady = np.where(reached, state.steady + 1, 0)
    done = state.running & (state.steady >= round(STEADY_S * CONTROL_HZ))
    late = state.running & ~done & (state.ticks >= limit)
    renewed: list[int] = []
    for i in np.flatnonzero(done | late):
        goal = state.plans[i][state.step[i]]
        seconds = float(state.ticks[i]) / CONTROL_HZ
        state.results[i].append(SubtaskResult(goal=goal.text, reached=bool(done[i]), seconds=seconds))
        state.step[i] += 1
        state.ticks[i] = state.steady[i] = 0
        if late[i] or state.step[i] == len(state.plans[i]):
            state.running[i] = False
        else:
            world.set_goal([i], state.plans[i][state.step[i]])
            renewed.append(int(i))
    if renewed:
        policy.reset(np.array(renewed))


def _with_unbegun(plan: list[Goal], results: list[SubtaskResult]) -> list[SubtaskResult]:
    """Return a world's results with the steps that it never came to."""
    return results + [SubtaskResult(goal=goal.text, reached=False, seconds=0.0) for goal in plan[len(results) :]]
