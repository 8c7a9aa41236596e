"""Instructions in many worlds: plans, time limits and results by subtask."""

import numpy as np
import pytest

from waldo.errors import InvalidValueError
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.tasks.goal import Goal, Scene
from waldo.sim.world import World
from waldo.train.runner.subtask_runner import RunConfig, run_instruction

PLAN = [Goal("put", "red cube", "left bin"), Goal("put", "blue cube", "right bin")]


class Still:
    """Holds its position."""

    fps = 30.0
    image_keys: tuple[str, ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world

    def reset(self, which: object = None) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        return self.world.position


def test_an_expert_executes_a_plan_of_two_steps() -> None:
    scenes: list[Scene] = []

    def plan(scene: Scene) -> list[Goal]:
        scenes.append(scene)
        return PLAN

    result = run_instruction(
        lambda world: ExpertPolicy(world, noise_scale=0.0), "both", plan, RunConfig(episodes=3, threads=1)
    )
    assert len(scenes) == 1, "worlds with equal scenes share a plan"
    assert [[step.goal for step in steps] for steps in result.subtasks] == [[goal.text for goal in PLAN]] * 3
    assert result.success == [all(step.reached for step in steps) for steps in result.subtasks]
    assert sum(result.success) >= 2
    assert set(result.max_winding_c) == set(World("sort").robot.joint_names)
    assert max(result.max_winding_c.values()) > 25.0


def test_a_subtask_that_exceeds_its_time_ends_the_run() -> None:
    result = run_instruction(Still, "both", lambda scene: PLAN, RunConfig(episodes=2, limit_s=0.5, threads=1))
    assert [(s.reached, s.seconds) for s in result.subtasks[0]] == [(False, 0.5), (False, 0.0)]
    assert (result.rate, result.success) == (0.0, [False, False])
    assert result.by_step() == [(2, 2, 0), (2, 0, 0)]


def test_values_out_of_range_are_rejected() -> None:
    with pytest.raises(InvalidValueError, match=r"^episodes is 0, expected a number from 1$"):
        RunConfig(episodes=0)
    with pytest.raises(InvalidValueError, match=r"^limit_s is 0, expected a time above 0$"):
        RunConfig(limit_s=0)
