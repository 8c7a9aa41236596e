"""`waldo eval`: evaluate a policy in simulation, with motor heat."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo.cli.policies.plan import check_planner, make_planner
from waldo.cli.support.bars import progress_bar
from waldo.console import err, out
from waldo.errors import InvalidValueError, MissingOptionError, UnsupportedOptionError
from waldo.files import make_folder, require_writable, write_atomic
from waldo.sim.evaluation.gates import (
    WRONG_INSTRUCTION,
    Gate,
    GateResult,
    check_control,
    check_gates,
    check_limit,
    check_rate,
    parse_gate,
)
from waldo.sim.evaluation.junit import Case, episode_cases, error_case, gate_cases, write_junit
from waldo.sim.evaluation.results import EvalConfig
from waldo.train.policies.checkpoint import find_checkpoint
from waldo.train.runner.policy_loop import LoopConfig

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
    card: bool = False
    """Add the result to the model card of the checkpoint."""
    junit: Path | None = None
    """Write gates and episodes to this file as JUnit XML, for CI systems."""
    fail_under: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A gate such as success=0.8 or success_lower=0.7; can be repeated."""
    max_winding_c: Annotated[float | None, tyro.conf.arg(aliases=("--max-winding",))] = None
    """Gate: maximum winding temperature that passes [°C]."""
    wrong_instruction: bool = False
    """Evaluate the same seeds again with an instruction that names another object: a policy that reads it does not
    reach the own goal of the seed then."""
    max_wrong_instruction: float | None = None
    """Gate: largest rate at which it does, such as 0.05; implies --wrong-instruction."""
    through_ros: bool = False
    """Evaluate in the loop of `waldo run` instead, against a robot node in simulated time, one episode after another:
    with latency, replanning and blending, which the result states."""
    latency: float | None = None
    """Time from an observation to its actions, with --through-ros [s]; default: the time that the inference takes."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """The loop of --through-ros: when the policy looks again, how chunks are blended, and when the robot holds."""
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
        """Evaluate, write the reports and print the gates that failed."""
        gates = self.check()
        with self.errors_to_junit():
            if self.through_ros:
                outcome = self.evaluate_in_loop(gates)
            else:
                outcome = self.evaluate(gates) if self.instruction is None else self.execute(self.instruction, gates)
            if self.junit is not None:
                write_junit(self.junit, self.title(), outcome.suites(), outcome.values)
        if self.json:
            out().print_json(data=outcome.data)
        else:
            for line in outcome.lines:
                out().print(line, markup=False)
        failed = [gate for gate in outcome.gates if not gate.passed]
        for gate in failed:
            err().print(f"gate failed: {gate.text}", markup=False)
        return 1 if failed else 0

    def check(self) -> list[Gate]:
        """Return the gates; raise an error for any option that cannot be used, before anything slow is imported."""
        from waldo.sim.tasks.task import load_task

        gates = [parse_gate(text) for text in self.fail_under]
        if repeated := {gate.key for gate in gates if [other.key for other in gates].count(gate.key) > 1}:
            raise InvalidValueError("fail-under", ", ".join(self.fail_under), f"{min(repeated)} only once")
        check_limit(self.max_winding_c)
        check_rate("max-wrong-instruction", self.max_wrong_instruction)
        task = load_task(self.task)
        if self.with_control:
            if self.instruction is not None:
                raise UnsupportedOptionError("--wrong-instruction", "--instruction")
            task.another_object(task.object_names[0])
        self.config()
        self._check_loop()
        if self.card and (self.policy == "expert" or self.through_ros or self.instruction is not None):
            raise UnsupportedOptionError("--card", "this evaluation", do="pass a checkpoint, and the task's own goals")
        if self.policy != "expert":
            find_checkpoint(Path(self.policy))
        if self.instruction is not None:
            check_planner(self.planner, self.server, self.server_model)
        if self.output is not None:
            make_folder(self.output)
        if self.junit is not None:
            require_writable(self.junit)
            self.junit.unlink(missing_ok=True)  # a run that is killed leaves no verdict of an earlier one
        return gates

    def _check_loop(self) -> None:
        """Raise an error for options of the loop that have no effect."""
        if not self.through_ros:
            if self.latency is not None:
                raise MissingOptionError("--latency", "--through-ros")
            if self.loop != LoopConfig():
                raise MissingOptionError("an option of the loop", "--through-ros")
            return
        if self.policy == "expert":
            raise UnsupportedOptionError("--through-ros", "the expert", do="pass a checkpoint")
        for name in ("instruction", "wrong_instruction", "max_wrong_instruction"):
            if getattr(self, name):
                raise UnsupportedOptionError(f"--{name.replace('_', '-')}", "--through-ros")
        if self.latency is not None and not 0 <= self.latency < 10:
            raise InvalidValueError("latency", self.latency, "0 to 10 s")

    @property
    def with_control(self) -> bool:
        """Whether the seeds are evaluated with a wrong instruction as well."""
        return self.wrong_instruction or self.max_wrong_instruction is not None

    def config(self) -> EvalConfig:
        """Return the options of the evaluation."""
        return EvalConfig(
            task=self.task,
            episodes=self.episodes,
            first_seed=self.seed,
            horizon_s=self.horizon,
            start_c=self.start_temperature,
            threads=self.threads,
            videos=self.videos if self.output else 0,
        )

    def title(self) -> str:
        """Return the name of the evaluation in JUnit XML."""
        return f"waldo.eval.{self.task}"

    @contextmanager
    def errors_to_junit(self) -> Generator[None]:
        """Write an exception to the JUnit file as well, so that CI shows it."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.junit is not None:
                write_junit(self.junit, self.title(), {"run": [error_case(error)]})
            raise

    def evaluate(self, gates: Sequence[Gate]) -> Outcome:
        """Evaluate on the task's own goals."""
        from waldo.sim.evaluation.evaluate import evaluate, evaluate_control
        from waldo.sim.evaluation.report import as_json, remove_report, verdict, write_report
        from waldo.train.policies.model_card import add_evaluation, evaluation_of

        policy, name = load_policy(self.policy, self.task)
        if self.output:
            remove_report(self.output)
        with progress_bar("evaluate") as advance:
            result = evaluate(policy, self.config(), self.output, name, advance=advance)
        if self.with_control:
            with progress_bar("wrong instruction") as advance:
                result = dataclasses.replace(result, control=evaluate_control(policy, self.config(), advance=advance))
        if self.card:
            add_evaluation(find_checkpoint(Path(self.policy)), evaluation_of(result))
        values = {"success": result.rate, "success_lower": result.wilson_95[0]}
        windings = {motor.joint: motor.max_winding_c for motor in result.motors}
        results = check_gates(gates, values, windings, self.max_winding_c)
        lines: list[str] = []
        if result.control is not None:
            values[WRONG_INSTRUCTION] = result.control.rate
            results += check_control(result.control.rate, self.max_wrong_instruction)
            lines.append(f"wrong instruction: {result.control.successes} of {len(result.seeds)} reached the own goal")
        pages = [f"report: {write_report(result, self.output, results)}"] if self.output else []
        head = f"{name} on {self.task}: {result.successes} of {len(result.seeds)} succeeded"
        return Outcome(
            lines=summarize(head, result.rate, result.wilson_95, windings) + lines + pages,
            data=as_json(result) | verdict(results),
            values=values,
            gates=results,
            episodes=episode_cases(result.seeds, result.success, result.seconds),
        )

    def evaluate_in_loop(self, gates: Sequence[Gate]) -> Outcome:
        """Evaluate in the loop that drives a robot."""
        from waldo.cli.support.ros_evaluation import evaluate_checkpoint
        from waldo.sim.evaluation.report import remove_report, verdict

        if self.output:
            remove_report(self.output)
        with progress_bar("evaluate") as advance:
            result = evaluate_checkpoint(Path(self.policy), self.config(), self.loop, self.latency, advance)
        values = {"success": result.rate, "success_lower": result.wilson_95[0]}
        results = check_gates(gates, values, result.max_winding_c, self.max_winding_c)
        data = result.as_json() | verdict(results)
        s = result.settings
        latency = "unknown" if s.latency_s is None else f"{1000 * s.latency_s:.0f} ms"
        lines = [
            f"latency {latency}, chunks of {s.chunk} actions at {s.action_hz:g} Hz, a look every "
            f"{s.replan_s:g} s, blended over {s.blend_s:g} s{', real-time chunking' if s.rtc else ''}, "
            f"{s.control_hz:g} commands per second",
            f"median difference between chunks: {result.jumps[0]:.3f} rad, {result.jumps[1]:.2f} rad/s",
        ]
        if self.output:
            write_atomic(self.output / "through_ros.json", json.dumps(data, indent=2, allow_nan=False) + "\n")
            lines.append(f"report: {self.output / 'through_ros.json'}")
        name = Path(self.policy).name
        head = f"{name} on {self.task} through ROS: {sum(result.success)} of {len(result.seeds)} succeeded"
        return Outcome(
            lines=summarize(head, result.rate, result.wilson_95, result.max_winding_c) + lines,
            data=data,
            values=values,
            gates=results,
            episodes=episode_cases(result.seeds, result.success, result.seconds),
        )

    def execute(self, instruction: str, gates: Sequence[Gate]) -> Outcome:
        """Plan the instruction and execute it, subtask by subtask."""
        from waldo.sim.evaluation.report import remove_report, verdict
        from waldo.train.planner.planner import make_plan
        from waldo.train.runner.subtask_runner import RunConfig, run_instruction

        planner = make_planner(self.planner, self.server, self.server_model)
        policy, name = load_policy(self.policy, self.task)
        config = RunConfig(
            task=self.task, episodes=self.episodes, first_seed=self.seed, limit_s=self.horizon, threads=self.threads
        )
        if self.output:
            remove_report(self.output)
        with progress_bar("subtasks") as advance:
            result = run_instruction(
                policy, instruction, lambda scene: make_plan(planner, instruction, scene), config, advance=advance
            )
        steps = [
            f"  {number}. {result.subtasks[0][number - 1].goal}: {reached} of {started} reached"
            for number, (_, started, reached) in enumerate(result.by_step(), start=1)
            if number <= len(result.subtasks[0])
        ]
        values = {"success": result.rate, "success_lower": result.wilson_95[0]}
        results = check_gates(gates, values, result.max_winding_c, self.max_winding_c)
        data = {"policy": name, "rate": result.rate, "success": result.success, **dataclasses.asdict(result)}
        data |= verdict(results)
        if self.output:
            write_atomic(self.output / "instruction.json", json.dumps(data, indent=2, allow_nan=False) + "\n")
            steps.append(f"report: {self.output / 'instruction.json'}")
        head = f"{name} on {instruction!r}: {sum(result.success)} of {len(result.seeds)} succeeded"
        seconds = [sum(step.seconds for step in steps) for steps in result.subtasks]
        return Outcome(
            lines=summarize(head, result.rate, result.wilson_95, result.max_winding_c) + steps,
            data=data,
            values=values,
            gates=results,
            episodes=episode_cases(result.seeds, result.success, seconds),
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of an evaluation, for output and gates."""

    lines: list[str]
    """Lines for the terminal."""
    data: dict[str, Any]
    """JSON values."""
    values: dict[str, float]
    """Values that gates check."""
    gates: list[GateResult]
    """Results of the gates."""
    episodes: list[Case]
    """Test cases of the episodes."""

    def suites(self) -> dict[str, list[Case]]:
        """Return the test cases of the JUnit file by suite."""
        return {"gates": gate_cases(self.gates), "episodes": self.episodes}


def summarize(head: str, rate: float, interval: tuple[float, float], windings: dict[str, float]) -> list[str]:
    """Return the head with rate and interval, and the maximum winding temperature, one line each."""
    joint = max(windings, key=lambda name: windings[name])
    return [
        f"{head} ({100 * rate:.0f} %, 95 % interval {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)",
        f"maximum winding temperature: {windings[joint]:.1f} °C ({joint})",
    ]


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
