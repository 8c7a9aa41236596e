"""`waldo eval`: evaluate a policy in simulation, with motor heat."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo.cli.plan import make_planner
from waldo.cli.support.bars import progress_bar
from waldo.console import err, out
from waldo.files import write_atomic
from waldo.train.gates import failures, parse_gate

if TYPE_CHECKING:
    from waldo.sim.policy import Policy, PolicyFactory


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a policy in simulation, with motor heat; exit code 1 if a gate fails."""

    policy: tyro.conf.Positional[str] = "expert"
    """A checkpoint folder of `waldo train`, or `expert`, the scripted operator."""
    task: str = "lift"
    """Name of the task."""
    episodes: int = 50
    """Number of episodes, one seed each."""
    seed: int = 100_000
    """Seed of the first episode."""
    instruction: str | None = None
    """An instruction to plan and execute subtask by subtask, instead of the task's own goals."""
    output: Path | None = None
    """Folder for the report and the videos."""
    fail_under: tuple[str, ...] = ()
    """Gates such as success=0.8 or success_lower=0.7."""
    max_winding_c: Annotated[float | None, tyro.conf.arg(aliases=("--max-winding",))] = None
    """Gate: maximum winding temperature that passes [°C]."""
    start_temperature: float = 25.0
    """Temperature of the motors at the start [°C]."""
    horizon: float | None = None
    """Time limit of an episode, or of a subtask [s]; default: the task's own."""
    videos: int = 3
    """Number of episodes to film; requires --output."""
    threads: int | None = None
    """Threads of the physics; default: all cores, at most 8."""
    planner: str | None = None
    """Language model that plans the instruction; default: the small one that is part of waldo."""
    server: str | None = None
    """Address of an OpenAI-compatible server that plans the instruction; requires --server-model."""
    server_model: str | None = None
    """Name of the model on the server; requires --server."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Evaluate, write the report and print the gates that failed."""
        from waldo.sim.tasks.task import load_task

        gates = [parse_gate(text) for text in self.fail_under]
        load_task(self.task)
        outcome = self.evaluate() if self.instruction is None else self.execute(self.instruction)
        if self.json:
            out().print_json(data=outcome.data)
        else:
            for line in outcome.lines:
                out().print(line, markup=False)
        lines = failures(gates, outcome.values, outcome.max_winding_c, self.max_winding_c)
        for line in lines:
            err().print(line, markup=False)
        return 1 if lines else 0

    def evaluate(self) -> Outcome:
        """Evaluate on the task's own goals."""
        from waldo.sim.evaluation.evaluate import evaluate
        from waldo.sim.evaluation.report import as_json, write_report
        from waldo.sim.evaluation.results import EvalConfig

        policy, name = load_policy(self.policy, self.task)
        config = EvalConfig(
            task=self.task,
            episodes=self.episodes,
            first_seed=self.seed,
            horizon_s=self.horizon,
            start_c=self.start_temperature,
            threads=self.threads,
            videos=self.videos if self.output else 0,
        )
        with progress_bar("evaluate") as advance:
            result = evaluate(policy, config, self.output, name, advance=advance)
        pages = [f"report: {write_report(result, self.output)}"] if self.output else []
        windings = {motor.joint: motor.max_winding_c for motor in result.motors}
        head = f"{name} on {self.task}: {result.successes} of {len(result.seeds)} succeeded"
        return summarize(head, result.rate, result.wilson_95, windings, as_json(result), pages)

    def execute(self, instruction: str) -> Outcome:
        """Plan the instruction and execute it, subtask by subtask."""
        from waldo.train.planner.planner import make_plan
        from waldo.train.runner.subtask_runner import RunConfig, run_instruction

        planner = make_planner(self.planner, self.server, self.server_model)
        policy, name = load_policy(self.policy, self.task)
        config = RunConfig(
            task=self.task, episodes=self.episodes, first_seed=self.seed, limit_s=self.horizon, threads=self.threads
        )
        with progress_bar("subtasks") as advance:
            result = run_instruction(
                policy, instruction, lambda scene: make_plan(planner, instruction, scene), config, advance=advance
            )
        steps = [
            f"  {number}. {result.subtasks[0][number - 1].goal}: {reached} of {started} reached"
            for number, (_, started, reached) in enumerate(result.by_step(), start=1)
            if number <= len(result.subtasks[0])
        ]
        data = {"policy": name, "rate": result.rate, "success": result.success, **dataclasses.asdict(result)}
        if self.output:
            self.output.mkdir(parents=True, exist_ok=True)
            write_atomic(self.output / "instruction.json", json.dumps(data, indent=2) + "\n")
            steps.append(f"report: {self.output / 'instruction.json'}")
        head = f"{name} on {instruction!r}: {sum(result.success)} of {len(result.seeds)} succeeded"
        return summarize(head, result.rate, result.wilson_95, result.max_winding_c, data, steps)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of an evaluation, for output and gates."""

    lines: list[str]
    """Lines for the terminal."""
    data: dict[str, Any]
    """JSON values."""
    values: dict[str, float]
    """Values that gates check."""
    max_winding_c: dict[str, float]
    """Joint -> maximum winding temperature [°C]."""


def summarize(
    head: str,
    rate: float,
    interval: tuple[float, float],
    windings: dict[str, float],
    data: dict[str, Any],
    more: list[str],
) -> Outcome:
    """Return an outcome whose lines are the head with rate and interval, the maximum winding temperature, and more."""
    joint = max(windings, key=lambda name: windings[name])
    lines = [
        f"{head} ({100 * rate:.0f} %, 95 % interval {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)",
        f"maximum winding temperature: {windings[joint]:.1f} °C ({joint})",
        *more,
    ]
    return Outcome(
        lines=lines, data=data, values={"success": rate, "success_lower": interval[0]}, max_winding_c=windings
    )


def load_policy(name: str, task: str) -> tuple[Policy | PolicyFactory, str]:
    """Return the policy of a name or checkpoint folder, and its name in reports.

    Raises:
        PolicyMismatchError: If the policy does not fit the task's world.
    """
    if name == "expert":
        from waldo.sim.experts.expert import ExpertPolicy

        return ExpertPolicy, "expert"
    from waldo.sim.world import World
    from waldo.train.policies.lerobot_policy import LeRobotPolicy

    policy = LeRobotPolicy(Path(name))
    world = World(task)
    policy.check(world)
    world.close()
    return policy, Path(name).name if Path(name).name != "pretrained_model" else str(Path(name))
