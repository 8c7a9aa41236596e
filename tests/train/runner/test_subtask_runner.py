import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.tasks.goal import Goal, Scene
from waldo.sim.world import World
from waldo.train.runner.subtask_runner import RunConfig, run_instruction

PLAN = [Goal("put", "red cube", "left bin"), Goal("put", "blue cube", "right bin")]


class Still:
    """Moves nothing."""

    fps = 30.0
    image_keys: tuple[str, ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world

    def reset(self, which: object = None) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        return self.world.position


def test_an_expert_carries_out_a_plan_of_two_steps() -> None:
    asked: list[Scene] = []

    def plan(scene: Scene) -> list[Goal]:
        asked.append(scene)
        return PLAN

    result = run_instruction(
        lambda world: ExpertPolicy(world, human=0.0), "both", plan, RunConfig(episodes=3, threads=1)
    )
    assert len(asked) == 1, "the worlds hold the same things, so one plan does"
    assert [[step.goal for step in steps] for steps in result.subtasks] == [[goal.text for goal in PLAN]] * 3
    assert result.success == [all(step.reached for step in steps) for steps in result.subtasks]
    assert sum(result.success) >= 2
    assert set(result.peak_winding_c) == set(World("sort").robot.joint_names)
    assert max(result.peak_winding_c.values()) > 25.0


def test_a_subtask_out_of_time_ends_the_run_and_says_where() -> None:
    result = run_instruction(Still, "both", lambda scene: PLAN, RunConfig(episodes=2, limit_s=0.5, threads=1))
    assert [(s.reached, s.seconds) for s in result.subtasks[0]] == [(False, 0.5), (False, 0.0)]
    assert (result.rate, result.success) == (0.0, [False, False])
    assert result.by_step() == [(2, 2, 0), (2, 0, 0)]


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^episodes is 0, expected a number from 1$"):
        RunConfig(episodes=0)
    with pytest.raises(ConfigError, match=r"^limit_s is 0, expected a time above 0$"):
        RunConfig(limit_s=0)
