"""`waldo train`, `waldo plan` and `waldo eval`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import tyro

from waldo.console import err, out
from waldo.errors import InvalidValueError
from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.data.store_source import StoreOptions
from waldo.train.gates import failures, parse_gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from waldo.sim.policy import Policy
    from waldo.sim.world import World
    from waldo.train.planner.planner import Planner


@dataclass(frozen=True, kw_only=True)
class Train(StoreOptions):
    """Train a LeRobot policy on a dataset of waldo's or LeRobot's; options of lerobot-train may follow a lone --."""

    dataset: tyro.conf.Positional[str]
    """A waldo dataset, here or at `s3://bucket/name`, which is read as it is; or the folder of a LeRobot dataset."""
    options: tyro.conf.Positional[tuple[str, ...]] = ()
    """Options passed on to lerobot-train, such as: -- --policy.dim_model=256 --batch_size=32."""
    policy: str = "act"
    """LeRobot's name of the policy."""
    steps: int = 2000
    """Optimiser steps in all."""
    output: Path | None = None
    """Folder for checkpoints, log and loss; None: runs/<dataset>-<policy>."""
    resume: bool = False
    """Go on from the last checkpoint in the output folder."""
    device: str = "auto"
    """cpu, cuda, mps, or auto: a GPU if there is one."""
    inputs: Literal["auto", "state", "images"] = "auto"
    """state: joints and environment_state, no images; images: joints and cameras."""
    preset: Literal["auto", "small", "lerobot"] = "auto"
    """small: an ACT for CPUs and small datasets; lerobot: LeRobot's own defaults."""
    save_every: int | None = None
    """Steps between checkpoints; None: a fifth of the run, at least 100."""
    threads: int | None = None
    """CPU threads; None: all cores, or two for the small preset without images, which has no use for more."""
    seed: int = 1000
    """Seed of the weights and of the order of the data."""

    def run(self) -> int:
        """Train; 130 after a stop that was asked for."""
        from waldo.datasets.store_path import open_path
        from waldo.train.train_config import TrainConfig
        from waldo.train.training import train

        dataset = open_path(self.dataset)
        own = ("dataset", "output", "resume")
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in own}
        store = StoreOptions(**{f.name: values.pop(f.name) for f in dataclasses.fields(StoreOptions)})
        output = self.output or Path("runs") / f"{dataset.resolve().name}-{self.policy}"
        result = train(TrainConfig(dataset=dataset, **values, store=store, output=output), resume=self.resume)
        if not result.finished:
            err().print(
                f"stopped at step {result.step}; its checkpoint is kept. Go on with the same command and --resume"
            )
            return 130
        out().print(f"trained to step {result.step}: {result.checkpoint}", markup=False)
        return 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Break an instruction into subtasks that a robot can carry out in the scene."""

    instruction: tyro.conf.Positional[str]
    """What to do, in plain words."""
    task: str = "sort"
    """Task whose scene it is."""
    seed: int = 0
    """Seed of the scene."""
    objects: tuple[str, ...] = ()
    """Objects of the scene instead of the task's."""
    targets: tuple[str, ...] = ()
    """Targets of the scene instead of the task's; only with --objects."""
    holding: str | None = None
    """Object in the hand."""
    model: str | None = None
    """Folder or hub name of a causal language model; None: the small one that comes with waldo."""
    server: str | None = None
    """Address of an OpenAI-compatible server, such as http://localhost:8000/v1."""
    server_model: str | None = None
    """Name of the model on the server."""
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
            raise InvalidValueError(
                "targets", " ".join(self.targets), "--objects beside them", "name the objects too, or neither"
            )
        return dataclasses.replace(task_scene(self.task, self.seed), holding=self.holding)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a policy in simulation, with motor heat; exit code 1 if a gate fails."""

    policy: tyro.conf.Positional[str] = "expert"
    """A checkpoint folder of `waldo train`, or `expert`, the scripted one."""
    task: str = "lift"
    """Name of the task."""
    episodes: int = 50
    """Number of episodes, one seed each."""
    seed: int = 100_000
    """Seed of the first episode."""
    instruction: str | None = None
    """An instruction to plan and carry out, subtask by subtask, instead of the task's own goals."""
    output: Path | None = None
    """Folder for the report and the videos."""
    fail_under: tuple[str, ...] = ()
    """Gates such as success=0.8 or success_lower=0.7."""
    max_winding: float | None = None
    """Gate: hottest winding allowed [°C]."""
    start_temperature: float = 25.0
    """Temperature of the motors at the start [°C]."""
    horizon: float | None = None
    """Time that an episode, or a subtask, may take [s]; None: the task's own."""
    videos: int = 3
    """Episodes to film; only with --output."""
    threads: int | None = None
    """Threads of the physics; None: all cores, at most 8."""
    planner: str | None = None
    """Model that plans the instruction; None: the small one that comes with waldo."""
    server: str | None = None
    """Address of an OpenAI-compatible server that plans the instruction."""
    server_model: str | None = None
    """Name of the model on the server."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Evaluate, write the report, say which gates failed."""
        from waldo.sim.tasks.task import load_task

        gates = [parse_gate(text) for text in self.fail_under]
        load_task(self.task)
        outcome = self.carry_out(self.instruction) if self.instruction is not None else self.measure()
        if self.json:
            out().print_json(data=outcome.data)
        else:
            for line in outcome.lines:
                out().print(line, markup=False)
        lines = failures(gates, outcome.values, outcome.peak_winding_c, self.max_winding)
        for line in lines:
            err().print(line, markup=False)
        return 1 if lines else 0

    def measure(self) -> Outcome:
        """Evaluate on the task's own goals."""
        from waldo.sim.evaluation.evaluate import EvalConfig, evaluate
        from waldo.sim.evaluation.report import as_json, write_report

        policy, name = make_policy(self.policy, self.task)
        config = EvalConfig(
            task=self.task,
            episodes=self.episodes,
            first_seed=self.seed,
            horizon_s=self.horizon,
            start_c=self.start_temperature,
            threads=self.threads,
            videos=self.videos if self.output else 0,
        )
        result = evaluate(policy, config, self.output, name)
        pages = [f"report: {write_report(result, self.output)}"] if self.output else []
        peaks = {motor.joint: motor.peak_winding_c for motor in result.motors}
        head = f"{name} on {self.task}: {result.successes} of {len(result.seeds)} succeeded"
        return summarise(head, result.rate, result.wilson_95, peaks, as_json(result), pages)

    def carry_out(self, instruction: str) -> Outcome:
        """Plan the instruction and carry it out, subtask by subtask."""
        from waldo.train.planner.planner import make_plan
        from waldo.train.runner.subtask_runner import RunConfig, run_instruction

        planner = make_planner(self.planner, self.server, self.server_model)
        policy, name = make_policy(self.policy, self.task)
        config = RunConfig(
            task=self.task, episodes=self.episodes, first_seed=self.seed, limit_s=self.horizon, threads=self.threads
        )
        result = run_instruction(policy, instruction, lambda scene: make_plan(planner, instruction, scene), config)
        steps = [
            f"  {number}. {result.subtasks[0][number - 1].goal}: {reached} of {begun} reached"
            for number, (_, begun, reached) in enumerate(result.by_step(), start=1)
            if number <= len(result.subtasks[0])
        ]
        data = {"policy": name, "rate": result.rate, "success": result.success, **dataclasses.asdict(result)}
        if self.output:
            self.output.mkdir(parents=True, exist_ok=True)
            (self.output / "instruction.json").write_text(json.dumps(data, indent=2) + "\n")
            steps.append(f"report: {self.output / 'instruction.json'}")
        head = f"{name} on {instruction!r}: {sum(result.success)} of {len(result.seeds)} succeeded"
        return summarise(head, result.rate, result.wilson_95, result.peak_winding_c, data, steps)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an evaluation comes down to."""

    lines: list[str]
    """For people."""
    data: dict[str, Any]
    """For programs."""
    values: dict[str, float]
    """What gates look at."""
    peak_winding_c: dict[str, float]
    """Hottest winding by joint [°C]."""


def summarise(
    head: str, rate: float, wilson: tuple[float, float], peaks: dict[str, float], data: dict[str, Any], more: list[str]
) -> Outcome:
    """Return an outcome with its lines: the head with the rate and its interval, the hottest winding, and more."""
    joint = max(peaks, key=lambda name: peaks[name])
    lines = [f"{head} ({100 * rate:.0f} %, 95 % interval {100 * wilson[0]:.0f} to {100 * wilson[1]:.0f} %)"]
    lines.append(f"hottest winding: {joint}, {peaks[joint]:.1f} °C")
    return Outcome(
        lines=[*lines, *more], data=data, values={"success": rate, "success_lower": wilson[0]}, peak_winding_c=peaks
    )


def make_planner(model: str | None, server: str | None, server_model: str | None) -> Planner:
    """Return the planner that the options name."""
    from waldo.train.planner.planner import ServerPlanner, TransformersPlanner

    if server is None:
        if server_model is not None:
            raise InvalidValueError(
                "server-model", server_model, "--server beside it", "give the server's address, or use --model"
            )
        return TransformersPlanner(model)
    if server_model is None:
        raise InvalidValueError(
            "server-model", server_model, "the model's name on the server", "give --server-model NAME"
        )
    return ServerPlanner(server, server_model)


def task_scene(task: str, seed: int) -> Scene:
    """Return what there is in a task's world, in words."""
    from waldo.sim.tasks.task import load_task

    known = load_task(task)
    return Scene(known.thing_names, known.bin_names)


def plan_data(instruction: str, scene: Scene, plan: list[Goal]) -> dict[str, Any]:
    """Return a plan as JSON-able values."""
    steps = [{**dataclasses.asdict(goal), "text": goal.text} for goal in plan]
    return {"instruction": instruction, "scene": dataclasses.asdict(scene), "plan": steps}


def make_policy(name: str, task: str) -> tuple[Policy | Callable[[World], Policy], str]:
    """Return the policy that a name or folder stands for, and what to call it."""
    if name == "expert":
        from waldo.sim.experts.expert import ExpertPolicy

        return cast("Callable[[World], Policy]", ExpertPolicy), "expert"
    from waldo.sim.world import World
    from waldo.train.policies.lerobot_policy import LeRobotPolicy

    policy = LeRobotPolicy(Path(name))
    world = World(task)
    policy.check(world)
    world.close()
    return policy, Path(name).name if Path(name).name != "pretrained_model" else str(Path(name))
