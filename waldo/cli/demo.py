"""`waldo demo`: teleoperate, record, check, export, train, plan and evaluate on this machine.

Each stage writes its result to one folder and is skipped if the result exists, so an interrupted demo resumes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from waldo import console
from waldo.errors import FileError, InvalidValueError, WaldoError
from waldo.files import require_empty, write_atomic

if TYPE_CHECKING:
    from waldo.demo.recording import Recording
    from waldo.train.policies.lerobot_policy import LeRobotPolicy

INSTRUCTIONS = {
    "pick": "lift the red cube, then the blue one",
    "sort": "put the red cube in the left bin, then the blue one in the right bin",
}
"""Task -> the instruction that the planner decomposes, and whose subtasks the policy carries out."""

GOALS = 2
"""Goals in each recorded scene: the second one starts with a cube in the hand, as the second step of a plan does."""

CAMERA_SIZE = (128, 96)
"""Width and height of the recorded images [px]: enough to see the cubes, and fast to render and to learn from."""

EVALUATION_SEED = 100_000
"""First seed of the evaluation, far from the seeds of the recorded episodes."""


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """The amount of work in a demo."""

    episodes: int
    """Number of episodes to record."""
    steps: int
    """Number of training steps."""
    trials: int
    """Number of episodes to evaluate."""
    videos: int
    """Number of evaluated episodes to render as videos."""


FULL = {
    "pick": DemoSize(episodes=225, steps=2700, trials=100, videos=3),
    "sort": DemoSize(episodes=400, steps=5500, trials=100, videos=3),
}
"""Task -> size of its demo."""
QUICK = DemoSize(episodes=2, steps=10, trials=3, videos=1)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run every part of waldo on this machine and write a report. After an interruption, run it again to resume."""

    folder: tyro.conf.Positional[Path] = Path("waldo-demo")
    """Folder for all results."""
    task: Literal["pick", "sort"] = "pick"
    """pick: lift the named one of three cubes; sort: put it into the named one of two bins, which takes an hour."""
    quick: bool = False
    """Record and train just enough to exercise every part; the policy will not be useful."""
    seed: int = 0
    """Seed of the first episode; a recording with the same seed is bit-identical."""
    episodes: int | None = None
    """Number of episodes to record; default 225 (sort: 400), or 2 with --quick."""
    steps: int | None = None
    """Number of training steps; default 2700 (sort: 5500), or 10 with --quick."""
    policy: str = "keypoint_vla"
    """The policy to train: a name as for `waldo train`, such as act or smolvla."""
    inputs: Literal["images", "state"] = "images"
    """Inputs of the policy beside the instruction and the joints: images, or the simulation's ground truth."""

    def __post_init__(self) -> None:
        """Validate the numbers."""
        for name in ("episodes", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValueError(name, value, "1 or more")

    @property
    def size(self) -> DemoSize:
        """The amount of work."""
        usual = QUICK if self.quick else FULL[self.task]
        return DemoSize(
            episodes=self.episodes or usual.episodes,
            steps=self.steps or usual.steps,
            trials=usual.trials,
            videos=usual.videos,
        )

    def run(self) -> int:
        """Run every stage that has no result yet."""
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._claim_folder()
        stages: list[tuple[str, Callable[[], str]]] = [
            ("record", self.record),
            ("check", self.check),
            ("export", self.export),
            ("train", self.train),
            ("plan", self.plan),
            ("evaluate", self.evaluate),
            ("figure", self.figure),
        ]
        rows: list[tuple[str, str, float]] = []
        for number, (name, stage) in enumerate(stages, start=1):
            console.err().print(f"[bold]{number}/{len(stages)} {name}[/bold]")
            started = time.monotonic()
            rows.append((name, stage(), time.monotonic() - started))
        self._summarize(rows)
        return 0

    # stages

    def recording(self) -> Recording:
        """Return the recording to make."""
        from waldo.demo.recording import Recording

        return Recording(
            dataset=self.folder / "dataset",
            robot="so101",
            task=self.task,
            camera_size=CAMERA_SIZE,
            goals=GOALS,
            episodes=self.size.episodes,
            seed=self.seed,
            logs=self.folder / "logs",
        )

    def record(self) -> str:
        """Record episodes in which a scripted operator drives the simulated arm over DDS."""
        recording = self.recording()
        with console.progress() as progress:
            bar = progress.add_task("episodes", total=recording.episodes, note="")
            recording.run(lambda done: progress.update(bar, completed=done))
        return f"{recording.recorded()} episodes"

    def check(self) -> str:
        """Check every finished episode; the demo stops if a message was lost."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.quality.check import check_episode

        dataset = Dataset.open(self.folder / "dataset")
        finished = [episode for episode in dataset.episodes if episode.reason == "operator"]
        problems = lost = messages = 0
        with console.progress() as progress:
            bar = progress.add_task("episodes", total=len(finished), note="")
            for episode in finished:
                problems += check_episode(episode).problems
                lost += sum(episode.lost(name) for name in episode.streams)
                messages += sum(episode.count(name) for name in episode.streams)
                progress.advance(bar)
        if problems or lost:
            found = f"{problems} problems, {lost} messages lost"
            raise WaldoError(f"{dataset.path}: {found}; for details: waldo check {dataset.path}")
        return f"0 problems, {lost} of {messages} messages lost"

    def export(self) -> str:
        """Export the successful episodes to LeRobot v3.0."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.formats.target import export_dataset
        from waldo.datasets.lerobot.format import LeRobotConfig

        result_file = self.folder / "export.json"
        if not (result_file.exists() and (self.folder / "lerobot").exists()):
            with console.progress() as progress:
                bar = progress.add_task("episodes", total=None, note="")
                dataset = Dataset.open(self.folder / "dataset")
                result = export_dataset(
                    dataset,
                    self.folder / "lerobot",
                    LeRobotConfig(),
                    progress=lambda done, total: progress.update(bar, completed=done, total=total),
                )
            _write(result_file, {**asdict(result), "path": str(result.path)})
        found = _read(result_file)
        error = max(found["frame_error_ms"].values(), default=0.0)
        return f"{found['episodes']} episodes, {found['rows']} rows, frames within {error:.1f} ms of their rows"

    def train(self) -> str:
        """Train a policy with LeRobot on images, joint positions and the instruction."""
        from waldo.cli.policies.train import decode_frames, train_with_bar
        from waldo.datasets.selection import Selection
        from waldo.train.data.store_source import StoreOptions
        from waldo.train.train_config import TrainConfig
        from waldo.train.training import last_checkpoint

        output, cache = self.folder / "policy", self.folder / "frames"
        last = last_checkpoint(output)
        if last is None or last[1] < self.size.steps:
            if self.inputs == "images":
                decode_frames(self.folder / "dataset", cache, Selection(outcome=("success",)))
            config = TrainConfig(
                dataset=self.folder / "dataset",
                output=output,
                policy=self.policy,
                steps=self.size.steps,
                inputs=self.inputs,
                device="cpu",
                store=StoreOptions(cache=cache if self.inputs == "images" else None),
            )
            result = train_with_bar(config, resume=last is not None)
            if not result.finished:
                raise KeyboardInterrupt
        shutil.rmtree(cache, ignore_errors=True)
        sees = "images and the instruction" if self.inputs == "images" else "the simulation's ground truth"
        return f"{self.policy} on {sees}, {self.size.steps} steps"

    def plan(self) -> str:
        """Decompose an instruction with the embedded planner, and let the policy carry out the subtasks."""
        result_file = self.folder / "plan.json"
        if not result_file.exists():
            from waldo.cli.support.bars import progress_bar
            from waldo.train.planner.planner import TransformersPlanner, make_plan
            from waldo.train.runner.subtask_runner import RunConfig, run_instruction

            planner, instruction = TransformersPlanner(None), INSTRUCTIONS[self.task]
            config = RunConfig(task=self.task, episodes=self.size.trials, first_seed=EVALUATION_SEED)
            with progress_bar("subtasks") as advance:
                result = run_instruction(
                    self._policy(),
                    instruction,
                    lambda scene: make_plan(planner, instruction, scene),
                    config,
                    advance=advance,
                )
            goals = [step.goal for step in result.subtasks[0]]
            values = {
                "instruction": instruction,
                "plan": goals,
                "success": result.success,
                "wilson_95": result.wilson_95,
            }
            _write(result_file, values)
        found = _read(result_file)
        low, high = found["wilson_95"]
        return (
            f"{' -> '.join(found['plan'])}: carried out in {sum(found['success'])} of {len(found['success'])} "
            f"unseen worlds (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
        )

    def _policy(self) -> LeRobotPolicy:
        """Return the trained policy."""
        from waldo.train.policies.lerobot_policy import LeRobotPolicy
        from waldo.train.training import last_checkpoint

        last = last_checkpoint(self.folder / "policy")
        if last is None:
            raise FileError(self.folder / "policy", "has no checkpoint", "delete it and run the demo again")
        return LeRobotPolicy(last[0])

    def evaluate(self) -> str:
        """Evaluate the policy on unseen seeds, with motor heat."""
        output = self.folder / "evaluation"
        if not (output / "report.html").exists():
            from waldo.cli.support.bars import progress_bar
            from waldo.graphics import choose_backend
            from waldo.sim.evaluation.evaluate import evaluate, evaluate_control
            from waldo.sim.evaluation.report import write_report
            from waldo.sim.evaluation.results import EvalConfig

            config = EvalConfig(
                task=self.task,
                episodes=self.size.trials,
                first_seed=EVALUATION_SEED,
                videos=self.size.videos if choose_backend() else 0,
            )
            if not config.videos:
                console.err().print("no videos: MuJoCo cannot render here (apt-get install libegl1 libgl1-mesa-dri)")
            policy = self._policy()
            with progress_bar("evaluate") as advance:
                result = evaluate(policy, config, output, self.policy, advance=advance)
            with progress_bar("wrong instruction") as advance:
                result = replace(result, control=evaluate_control(policy, config, advance=advance))
            write_report(result, output)
        found = _read(output / "report.json")
        windings = {motor["joint"]: _max_winding_c(motor) for motor in found["motors"]}
        joint = max(windings, key=lambda name: windings[name])
        low, high = found["wilson_95"]
        return (
            f"{sum(found['success'])} of {len(found['success'])} unseen seeds "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %), {found['control']['successes']} with a wrong "
            f"instruction, "
            f"maximum winding temperature {windings[joint]:.1f} °C ({joint})"
        )

    def figure(self) -> str:
        """Draw a figure that summarizes the demo."""
        path = self.folder / "demo.png"
        if not path.exists():
            from waldo.demo.figure import draw

            draw(self.folder, path)
        return str(path)

    # the folder

    def _claim_folder(self) -> None:
        """Reserve the folder for this demo; results of another size or seed are not mixed."""
        wanted = {
            "task": self.task,
            "seed": self.seed,
            "policy": self.policy,
            "inputs": self.inputs,
            **asdict(self.size),
        }
        marker = self.folder / "demo.json"
        if marker.exists():
            found = {"task": "pick", **_read(marker)}
            if found != wanted:
                differs = [
                    f"{key} {found.get(key)} -> {value}" for key, value in wanted.items() if found.get(key) != value
                ]
                raise FileError(
                    self.folder, f"contains a demo of another kind ({', '.join(differs)})", "choose another folder"
                )
            console.err().print(f"resuming {self.folder}")
            return
        require_empty(self.folder, "choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(marker, wanted)

    def _summarize(self, rows: list[tuple[str, str, float]]) -> None:
        """Print the result of every stage."""
        from rich.table import Table

        table = Table("stage", "result", "seconds")
        table.columns[2].justify = "right"
        for name, result, seconds in rows:
            table.add_row(name, result, f"{seconds:.0f}")
        table.add_section()
        table.add_row("total", str(self.folder), f"{sum(seconds for _, _, seconds in rows):.0f}")
        console.out().print(table)
        console.out().print(f"report: {self.folder / 'evaluation' / 'report.html'}", markup=False)


def _max_winding_c(motor: dict[str, Any]) -> float:
    """Return a motor's maximum winding temperature in a report.json [°C]; older reports name it peak_winding_c."""
    return motor["max_winding_c"] if "max_winding_c" in motor else motor["peak_winding_c"]


def _write(path: Path, values: object) -> None:
    """Write JSON atomically."""
    write_atomic(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Read the JSON result of a stage."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FileError(path, f"is not valid JSON ({error})", "delete it and run the demo again") from error
