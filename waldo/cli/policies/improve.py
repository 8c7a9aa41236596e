"""`waldo improve`: train a policy, let a person correct its mistakes, and train it again, with a ledger."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from waldo import console
from waldo.cli.support.bars import progress_bar
from waldo.errors import FileError, InvalidValueError
from waldo.files import require_empty

if TYPE_CHECKING:
    from waldo.demo.recording import Recording
    from waldo.sim.evaluation.results import EvalResult
    from waldo.train.ledger import Entry
    from waldo.train.policies.lerobot_policy import LeRobotPolicy

CORRECTION_SEED = 50_000
"""Seed of the first attempt that is corrected, far from the seeds of demonstrations and evaluations."""

ROUND_SEEDS = 5_000
"""Seeds between the attempts of two rounds."""

EVALUATION_SEED = 100_000
"""First seed of the evaluations."""

LATENCY_S = 0.05
"""Time from an observation to its actions while a policy is corrected [s]."""


@dataclass(frozen=True, kw_only=True)
class Improve:
    """Improve a policy by corrections, on the simulated twin.

    Each round lets the newest policy act; a scripted person takes over when it is not done in time and finishes the
    task. The policy is trained again on the demonstrations and these corrections; what it did wrong before them is left
    out. Both policies are evaluated on the same unseen seeds. `ledger.jsonl` states which data and which parent made
    which policy, with its result and heat. After an interruption, run the command again to resume.
    """

    folder: tyro.conf.Positional[Path]
    """Folder for datasets, policies and the ledger."""
    task: str = "pick"
    """Task, one of an SO-101."""
    demonstrations: int = 40
    """Demonstrations that the first policy is trained on."""
    interventions: int = 60
    """Attempts with a correction that are added in each round."""
    rounds: int = 1
    """Number of rounds of corrections."""
    correct_after: float = 4.0
    """Time of an attempt after which the person takes over [s]."""
    weight: int = 2
    """How often the rows of a correction occur in an epoch, against once for those of a demonstration."""
    policy: str = "keypoint_vla"
    """LeRobot's name of the policy."""
    steps: int = 1500
    """Training steps of each policy."""
    episodes: int = 200
    """Episodes of each evaluation."""
    camera_size: tuple[int, int] = (128, 96)
    """Width and height of the images [px]."""
    seed: int = 0
    """Seed of the first demonstration."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        for name in ("demonstrations", "interventions", "rounds", "weight", "steps", "episodes"):
            if getattr(self, name) < 1:
                raise InvalidValueError(name, getattr(self, name), "a number from 1")
        if self.interventions * 4 > ROUND_SEEDS:
            raise InvalidValueError("interventions", self.interventions, f"at most {ROUND_SEEDS // 4}")
        if not 0 < self.correct_after < 60:
            raise InvalidValueError("correct-after", self.correct_after, "seconds above 0 and below 60")

    def run(self) -> int:
        """Run every round that the ledger does not contain yet, and print the ledger."""
        from waldo.train.ledger import read_ledger

        if not self.folder.exists():
            require_empty(self.folder)
            self.folder.mkdir(parents=True)
        known = read_ledger(self.folder)
        if known and dict(known[0].options) != self._options():
            changed = [key for key, value in self._options().items() if known[0].options.get(key) != value]
            raise FileError(self.folder, f"was made with other options ({', '.join(changed)})", "choose another folder")
        for number in range(len(known), self.rounds + 1):
            console.err().print(f"[bold]round {number} of {self.rounds}[/bold]")
            self._record_demonstrations() if number == 0 else self._record_corrections(number)
            self._train(number)
            self._add(number)
        self._show(read_ledger(self.folder))
        return 0

    def _options(self) -> dict[str, Any]:
        """Return the options that all rounds share."""
        names = ("task", "demonstrations", "interventions", "correct_after", "weight", "policy", "steps", "seed")
        return {name: getattr(self, name) for name in names}

    # stages

    def _recording(self, name: str, episodes: int, seed: int, operator: Sequence[str] = ()) -> Recording:
        from waldo.demo.recording import Recording

        return Recording(
            dataset=self.folder / name,
            robot="so101",
            task=self.task,
            camera_size=self.camera_size,
            episodes=episodes,
            seed=seed,
            logs=self.folder / "logs" / name,
            operator=operator,
        )

    def _record(self, recording: Recording, title: str) -> None:
        with console.progress() as progress:
            bar = progress.add_task(title, total=recording.episodes, note="")
            recording.run(lambda done: progress.update(bar, completed=done))

    def _record_demonstrations(self) -> None:
        self._record(self._recording("demonstrations", self.demonstrations, self.seed), "demonstrations")

    def _record_corrections(self, number: int) -> None:
        """Let the policy of the round before act, and record the attempts in which it is corrected."""
        name = self._corrections(number)
        recording = self._recording(name, self.interventions, CORRECTION_SEED + ROUND_SEEDS * number)
        left = self.interventions - recording.recorded()
        # The seeds of a resumed round continue behind those of the attempts that were good.
        first = recording.seed + 4 * recording.recorded()
        operator = (
            *("run", str(self._checkpoint(number - 1)), "--robot", recording.robot),
            *("--lockstep", "2", "--latency", str(LATENCY_S), "--strategy", "dagger"),
            *("--interventions", str(left), "--time-limit", str(self.correct_after + 12)),
            *("--correct-after", str(self.correct_after), "--first", str(first)),
        )
        self._record(self._recording(name, self.interventions, first - recording.recorded(), operator), "corrections")

    def _corrections(self, number: int) -> str:
        return f"corrections-{number}"

    def _datasets(self, number: int) -> list[Path]:
        """Return the datasets that the policy of a round is trained on."""
        return [self.folder / name for name in ("demonstrations", *map(self._corrections, range(1, number + 1)))]

    def _train(self, number: int) -> None:
        """Train the policy of a round on the demonstrations and all corrections so far."""
        from waldo.cli.policies.train import decode_frames, train_with_bar
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.links import Part, link
        from waldo.datasets.reading.corrections import ControlConfig
        from waldo.datasets.selection import Selection
        from waldo.train.data.store_source import StoreOptions
        from waldo.train.train_config import TrainConfig
        from waldo.train.training import last_checkpoint

        output = self._policy(number)
        last = last_checkpoint(output)
        if last is not None and last[1] >= self.steps:
            return
        data, frames = self.folder / f"data-{number}", self.folder / "frames"
        if not data.exists():
            opened = [Dataset.open(path) for path in self._datasets(number)]
            link(data, [Part(one, one.select(Selection(outcome=("success",)))) for one in opened])
        shutil.rmtree(frames, ignore_errors=True)
        decode_frames(data, frames)
        config = TrainConfig(
            dataset=data,
            output=output,
            policy=self.policy,
            steps=self.steps,
            inputs="images",
            device="cpu",
            store=StoreOptions(cache=frames, shared=ControlConfig(corrections=self.weight)),
        )
        result = train_with_bar(config, resume=last is not None)
        if not result.finished:
            raise KeyboardInterrupt
        shutil.rmtree(frames, ignore_errors=True)

    def _policy(self, number: int) -> Path:
        return self.folder / f"policy-{number}"

    def _checkpoint(self, number: int) -> Path:
        from waldo.train.policies.checkpoint import find_checkpoint

        return find_checkpoint(self._policy(number))

    def _evaluate(self, number: int) -> EvalResult:
        """Evaluate the policy of a round on the unseen seeds."""
        from waldo.sim.evaluation.evaluate import evaluate
        from waldo.sim.evaluation.results import EvalConfig
        from waldo.train.policies.lerobot_policy import LeRobotPolicy

        policy: LeRobotPolicy = LeRobotPolicy(self._checkpoint(number))
        config = EvalConfig(task=self.task, episodes=self.episodes, first_seed=EVALUATION_SEED, videos=0)
        with progress_bar("evaluate") as advance:
            return evaluate(policy, config, advance=advance)

    def _add(self, number: int) -> None:
        """Evaluate the policy of a round, and add it to the ledger."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.schema import CONTROL, DEFAULT_FIELD
        from waldo.robots.control.arbiter import Source
        from waldo.train.ledger import Entry, add_entry, compare, describe_data, read_ledger

        result = self._evaluate(number)
        person_s, interventions = 0.0, 0
        for path in self._datasets(number)[1:]:
            for episode in Dataset.open(path).episodes:
                control = episode.values(CONTROL, DEFAULT_FIELD)[:, 0]
                person_s += float((control == Source.PERSON).sum() / episode.streams[CONTROL].rate_hz)
                interventions += 1
        gain, p = None, None
        if number > 0:
            gain, p = compare(read_ledger(self.folder)[number - 1].success, result.success)
        add_entry(
            self.folder,
            Entry(
                round=number,
                policy=str(self._policy(number)),
                parent=str(self._policy(number - 1)) if number else None,
                data=[describe_data(path) for path in self._datasets(number)],
                interventions=interventions,
                person_s=round(person_s, 1),
                steps=self.steps,
                seeds=(EVALUATION_SEED, self.episodes),
                success=result.success,
                wilson_95=result.wilson_95,
                max_winding_c={motor.joint: motor.max_winding_c for motor in result.motors},
                joules={motor.joint: motor.joules for motor in result.motors},
                gain=gain,
                mcnemar_p=p,
                options=self._options(),
            ),
        )

    def _show(self, entries: Sequence[Entry]) -> None:
        """Print the ledger."""
        from rich.table import Table

        table = Table(
            "round", "demonstrations", "corrections", "success", "95 %", "gain", "p", "maximum winding temperature"
        )
        for entry in entries:
            joint = max(entry.max_winding_c, key=lambda name: entry.max_winding_c[name])
            low, high = entry.wilson_95
            table.add_row(
                str(entry.round),
                str(entry.data[0].episodes),
                f"{entry.interventions} ({entry.person_s:.0f} s)" if entry.interventions else "",
                f"{sum(entry.success)} of {len(entry.success)}",
                f"{100 * low:.0f} to {100 * high:.0f} %",
                "" if entry.gain is None else f"{100 * entry.gain:+.1f} points",
                "" if entry.mcnemar_p is None else f"{entry.mcnemar_p:.2g}",
                f"{entry.max_winding_c[joint]:.0f} °C ({joint})",
            )
        console.out().print(table)
