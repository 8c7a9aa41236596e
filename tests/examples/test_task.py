"""The worked example of a task: it is found by name, its scene is consistent, and the expert solves it."""

import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from waldo import registry
from waldo.cli.main import main
from waldo.sim.environments.gym_env import register_all
from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.results import EvalConfig
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.tasks.task import load_task, task_names
from waldo.sim.world import World

PATH = Path(__file__).parents[2] / "examples" / "task.py"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example as the module of an installed package with an entry point."""
    spec = importlib.util.spec_from_file_location("example_task", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example_task", module)
    spec.loader.exec_module(module)
    group = "waldo.tasks"
    monkeypatch.setitem(registry.entries(group), "tidy", EntryPoint("tidy", "example_task:TIDY", group))
    yield module
    gymnasium.registry.pop("waldo/Tidy-v0", None)


def test_the_task_is_found_by_name(example: ModuleType) -> None:
    assert "tidy" in task_names()
    assert load_task("tidy") is example.TIDY


def test_layouts_are_random_and_within_the_table(example: ModuleType) -> None:
    world = World("tidy", worlds=20, threads=1)
    positions = world.poses[:, 0, :3]
    assert len(np.unique(positions.round(6), axis=0)) == 20
    for _ in range(30):
        world.step(world.position)
    np.testing.assert_allclose(world.poses[:, 0, :3], positions, atol=2e-3, err_msg="the eraser lies on the table")
    assert world.goal(0).text == "put the eraser in the tray"
    assert world.environment_names[-2:] == ("goal.eraser", "goal.tray")


def test_the_scripted_expert_solves_it(example: ModuleType) -> None:
    found = evaluate(ExpertPolicy, EvalConfig(task="tidy", episodes=10, videos=0, threads=2))
    assert found.successes >= 9


def test_commands_and_gymnasium_use_it(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "expert", "--task", "tidy", "--episodes", "2", "--threads", "1"]) == 0
    assert capsys.readouterr().out.startswith("expert on tidy: 2 of 2 succeeded")
    register_all()
    env = gymnasium.make("waldo/Tidy-v0")
    _, info = env.reset(seed=1)
    assert info["task"] == "put the eraser in the tray"
    env.close()
