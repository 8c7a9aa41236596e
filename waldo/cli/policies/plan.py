"""`waldo plan`: break an instruction into subtasks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from waldo.console import out
from waldo.errors import FileError, MissingOptionError
from waldo.sim.tasks.goal import Goal, Scene

if TYPE_CHECKING:
    from waldo.train.planner.planner import Planner


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Break an instruction into subtasks that a robot can execute in the scene."""

    instruction: tyro.conf.Positional[str]
    """The instruction, in plain words."""
    task: str = "sort"
    """Task that provides the scene."""
    objects: tuple[str, ...] = ()
    """Objects of the scene instead of the task's."""
    targets: tuple[str, ...] = ()
    """Targets of the scene instead of the task's; requires --objects."""
    holding: str | None = None
    """Object in the hand."""
    model: str | None = None
    """Folder or hub name of a causal language model; default: the small one that is part of waldo."""
    server: str | None = None
    """Address of an OpenAI-compatible server, such as http://localhost:8000/v1; requires --server-model."""
    server_model: str | None = None
    """Name of the model on the server; requires --server."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Plan and print the steps."""
        from waldo.train.planner.planner import make_plan

        scene = self.scene()
        plan = make_plan(make_planner(self.model, self.server, self.server_model), self.instruction, scene)
        if self.json:
            out().print_json(data=plan_data(self.instruction, scene, plan))
            return 0
        for number, goal in enumerate(plan, start=1):
            out().print(f"{number}. {goal.text}", markup=False)
        return 0

    def scene(self) -> Scene:
        """Return the scene that the options describe."""
        if self.objects:
            return Scene(self.objects, self.targets, self.holding)
        if self.targets:
            raise MissingOptionError("--targets", "--objects")
        return dataclasses.replace(task_scene(self.task), holding=self.holding)


def check_planner(model: str | None, server: str | None, server_model: str | None) -> None:
    """Check the options that select a planner.

    Args:
        model: Folder or hub name of a causal language model; None: the small one that is part of waldo.
        server: Address of an OpenAI-compatible server.
        server_model: Name of the model on the server.

    Raises:
        MissingOptionError: If only one of `server` and `server_model` is given.
        FileError: If `model` is a path without a model.
    """
    if server is None and server_model is not None:
        raise MissingOptionError("--server-model", "--server", "pass the address of the server, or use --model")
    if server is not None and server_model is None:
        raise MissingOptionError("--server", "--server-model", "pass the name of the model on the server")
    if server is None and model is not None:
        check_model(model)


def check_model(model: str) -> None:
    """Raise FileError for a path without a model; a name such as "Qwen/Qwen3-4B" is looked up on the hub."""
    folder = Path(model)
    if folder.is_dir() or folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        if not folder.is_dir():
            raise FileError(folder, "no such model folder", "pass a folder or a name on the hub")
        if not (folder / "config.json").is_file():
            raise FileError(folder, "contains no language model (no config.json)", "pass the folder of a model")


def make_planner(model: str | None, server: str | None, server_model: str | None) -> Planner:
    """Return the planner that the options select; see `check_planner`."""
    check_planner(model, server, server_model)
    from waldo.train.planner.planner import ServerPlanner, TransformersPlanner

    if server is None or server_model is None:
        return TransformersPlanner(model)
    return ServerPlanner(server, server_model)


def task_scene(task: str) -> Scene:
    """Return the objects and targets of a task in words."""
    from waldo.sim.tasks.task import load_task

    known = load_task(task)
    return Scene(known.object_names, known.bin_names)


def plan_data(instruction: str, scene: Scene, plan: list[Goal]) -> dict[str, Any]:
    """Return a plan as JSON values."""
    steps = [{**dataclasses.asdict(goal), "text": goal.text} for goal in plan]
    return {"instruction": instruction, "scene": dataclasses.asdict(scene), "plan": steps}
