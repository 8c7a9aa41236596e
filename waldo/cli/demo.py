"""`waldo demo`: teleoperate, record, check, export, train, plan, evaluate; every part the real one, on this machine.

Each stage leaves its result in one folder and is skipped when that is there: an interrupted demo goes on where it was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from waldo import console
from waldo.errors import FileError, InvalidValueError, WaldoError

if TYPE_CHECKING:
    from waldo.demo.recording import Recording

INSTRUCTION = "put the red cube in the left bin, then the blue one in the right bin"
"""What the demo's planner breaks into subtasks, in the scene of the sorting task."""

EVALUATION_SEED = 100_000
"""Seeds of the evaluation begin here, far from those of the recorded episodes."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything a demo does."""

    episodes: int
    """Episodes to record."""
    steps: int
    """Training steps."""
    trials: int
    """Episodes to evaluate."""
    videos: int
    """Evaluated episodes to film."""


FULL = Size(episodes=50, steps=2000, trials=50, videos=3)
QUICK = Size(episodes=3, steps=60, trials=10, videos=1)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole of waldo on this machine and end with a report. Run it again to go on after an interruption."""

    folder: tyro.conf.Positional[Path] = Path("waldo-demo")
    """Folder for everything that the demo makes."""
    quick: bool = False
    """Record and train just enough to see every part work; the policy will not be good."""
    seed: int = 0
    """Seed of the first episode; the same seed records the same bits."""
    episodes: int | None = None
    """Episodes to record; 50, or 3 if quick."""
    steps: int | None = None
    """Training steps; 2000, or 60 if quick."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no demo."""
        for name in ("episodes", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValueError(name, value, "1 or more")

    @property
    def size(self) -> Size:
        """How much is done."""
        usual = QUICK if self.quick else FULL
        return Size(
            episodes=self.episodes or usual.episodes,
            steps=self.steps or usual.steps,
            trials=usual.trials,
            videos=usual.videos,
        )

    def run(self) -> int:
        """Run every stage that has not been run; return 0 when the report is there."""
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._claim_folder()
        stages: list[tuple[str, Callable[[], str]]] = [
            ("record", self.record),
            ("check", self.check),
            ("export", self.export),
            ("train", self.train),
            ("plan", self.plan),
            ("evaluate", self.evaluate),
            ("picture", self.picture),
        ]
        rows: list[tuple[str, str, float]] = []
        for number, (name, stage) in enumerate(stages, start=1):
            console.err().print(f"[bold]{number}/{len(stages)} {name}[/bold]")
            started = time.monotonic()
            rows.append((name, stage(), time.monotonic() - started))
        self._summarise(rows)
        return 0

    # stages

    def recording(self) -> Recording:
        """Return what is recorded."""
        from waldo.demo.recording import Recording

        return Recording(
            dataset=self.folder / "dataset",
            robot="so101",
            task="lift",
            episodes=self.size.episodes,
            seed=self.seed,
            logs=self.folder / "logs",
        )

    def record(self) -> str:
        """Record episodes of a scripted operator who steers the simulated arm over DDS."""
        recording = self.recording()
        with console.progress() as progress:
            bar = progress.add_task("episodes", total=recording.episodes, note="")
            recording.run(lambda done: progress.update(bar, completed=done))
        return f"{recording.recorded()} episodes"

    def check(self) -> str:
        """Check every finished episode; anything lost ends the demo."""
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
            raise WaldoError(f"{dataset.path}: {found}; see them with: waldo check {dataset.path}")
        return f"0 problems, {lost} of {messages} messages lost"

    def export(self) -> str:
        """Export the successful episodes to LeRobot v3.0."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.lerobot.export import export

        result_file = self.folder / "export.json"
        if not (result_file.exists() and (self.folder / "lerobot").exists()):
            with console.progress() as progress:
                bar = progress.add_task("episodes", total=None, note="")
                dataset = Dataset.open(self.folder / "dataset")
                result = export(
                    dataset,
                    self.folder / "lerobot",
                    advance=lambda done, total: progress.update(bar, completed=done, total=total),
                )
            _write(result_file, {**asdict(result), "path": str(result.path)})
        found = _read(result_file)
        error = max(found["frame_error_ms"].values(), default=0.0)
        return f"{found['episodes']} episodes, {found['rows']} rows, frames within {error:.1f} ms of their rows"

    def train(self) -> str:
        """Train an ACT policy with LeRobot on joints and object poses."""
        from waldo.cli.train import train_with_bar
        from waldo.train.train_config import TrainConfig
        from waldo.train.training import last_checkpoint

        output = self.folder / "policy"
        config = TrainConfig(
            dataset=self.folder / "lerobot", output=output, steps=self.size.steps, inputs="state", device="cpu"
        )
        last = last_checkpoint(output)
        if last is None or last[1] < config.steps:
            result = train_with_bar(config, resume=last is not None)
            if not result.finished:
                raise KeyboardInterrupt
        return f"ACT, {config.steps} steps"

    def plan(self) -> str:
        """Break an instruction into subtasks with the small Qwen planner, and let the expert carry them out."""
        from waldo.cli.bars import progress_bar
        from waldo.sim.experts.expert import ExpertPolicy
        from waldo.train.planner.planner import TransformersPlanner, make_plan
        from waldo.train.runner.subtask_runner import RunConfig, run_instruction

        result_file = self.folder / "plan.json"
        if not result_file.exists():
            planner = TransformersPlanner(None)
            config = RunConfig(task="sort", episodes=self.size.trials, first_seed=EVALUATION_SEED)
            with progress_bar("subtasks") as advance:
                result = run_instruction(
                    ExpertPolicy,
                    INSTRUCTION,
                    lambda scene: make_plan(planner, INSTRUCTION, scene),
                    config,
                    advance=advance,
                )
            goals = [step.goal for step in result.subtasks[0]]
            values = {"instruction": INSTRUCTION, "plan": goals, "success": result.success}
            _write(result_file, values)
        found = _read(result_file)
        return (
            f"{' -> '.join(found['plan'])}: done in {sum(found['success'])} of {len(found['success'])} worlds (expert)"
        )

    def evaluate(self) -> str:
        """Evaluate the policy on unseen seeds, with motor heat."""
        from waldo.cli.bars import progress_bar
        from waldo.sim.evaluation.evaluate import evaluate
        from waldo.sim.evaluation.report import write_report
        from waldo.sim.evaluation.results import EvalConfig
        from waldo.train.policies.lerobot_policy import LeRobotPolicy
        from waldo.train.training import last_checkpoint

        output = self.folder / "evaluation"
        if not (output / "report.html").exists():
            last = last_checkpoint(self.folder / "policy")
            if last is None:
                raise FileError(self.folder / "policy", "has no checkpoint", "delete it and run the demo again")
            config = EvalConfig(
                task="lift",
                episodes=self.size.trials,
                first_seed=EVALUATION_SEED,
                videos=self.size.videos,
            )
            with progress_bar("evaluate") as advance:
                result = evaluate(LeRobotPolicy(last[0]), config, output, "ACT", advance=advance)
            write_report(result, output)
        found = _read(output / "report.json")
        windings = {motor["joint"]: _max_winding_c(motor) for motor in found["motors"]}
        joint = max(windings, key=lambda name: windings[name])
        low, high = found["wilson_95"]
        return (
            f"{sum(found['success'])} of {len(found['success'])} unseen seeds "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %), "
            f"maximum winding temperature {windings[joint]:.1f} °C ({joint})"
        )

    def picture(self) -> str:
        """Draw the demo in one picture."""
        from waldo.demo.picture import draw

        path = self.folder / "picture.png"
        if not path.exists():
            draw(self.folder, path)
        return str(path)

    # the folder

    def _claim_folder(self) -> None:
        """Make the folder this demo's own; one of other sizes or seeds is not mixed into it."""
        wanted = {"seed": self.seed, **asdict(self.size)}
        marker = self.folder / "demo.json"
        if marker.exists():
            found = _read(marker)
            if found != wanted:
                differs = [
                    f"{key} {found.get(key)} -> {value}" for key, value in wanted.items() if found.get(key) != value
                ]
                raise FileError(
                    self.folder, f"holds a demo of another size ({', '.join(differs)})", "name another folder"
                )
            console.err().print(f"going on with {self.folder}")
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise FileError(self.folder, "is not an empty folder", "name another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(marker, wanted)

    def _summarise(self, rows: list[tuple[str, str, float]]) -> None:
        """Print what came of every stage."""
        from rich.table import Table

        table = Table("stage", "result", "seconds")
        table.columns[2].justify = "right"
        for name, result, seconds in rows:
            table.add_row(name, result, f"{seconds:.0f}")
        table.add_section()
        table.add_row("all", str(self.folder), f"{sum(seconds for _, _, seconds in rows):.0f}")
        console.out().print(table)
        console.out().print(f"report: {self.folder / 'evaluation' / 'report.html'}", markup=False)


def _max_winding_c(motor: dict[str, Any]) -> float:
    """Return a motor's maximum winding temperature in a report.json [°C]; older reports name it peak_winding_c."""
    return motor["max_winding_c"] if "max_winding_c" in motor else motor["peak_winding_c"]


def _write(path: Path, values: object) -> None:
    """Write JSON so that the file is whole or absent."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    temporary.rename(path)


def _read(path: Path) -> dict[str, Any]:
    """Read JSON that a stage wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FileError(path, f"cannot be understood ({error})", "delete it and run the demo again") from error
