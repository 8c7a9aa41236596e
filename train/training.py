"""Runs LeRobot's training in a process of its own: progress, the loss on disk, a stop that loses nothing, resuming."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waldo.console import err, progress
from waldo.errors import FileError, WaldoError
from waldo.train.loss_log import LossLog
from waldo.train.policies.names import check_policy
from waldo.train.train_config import TrainConfig, TrainPlan, plan_training

STEP = re.compile(r"^Training:.*\| (\d+)/(\d+) \[")
NUMBERS = re.compile(r"\b(loss|grdn|lr|updt_s|data_s):([-+0-9.einfa]+)")
STOPPED = 130


class TrainingError(WaldoError):
    """lerobot-train ended with an error."""

    def __init__(self, code: int, last: str, log: Path) -> None:
        """Take its exit code, the last thing that it said and where all of it is."""
        said = last if len(last) <= 200 else last[:197] + "..."
        super().__init__(f"lerobot-train ended with exit code {code}: {said}; its whole output is in {log}")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training run left."""

    checkpoint: Path
    """Folder of the policy, for `waldo eval`."""
    step: int
    """Optimiser steps done in all."""
    finished: bool
    """False after a stop that was asked for."""


@dataclass
class _Run:
    """What is known of a running training."""

    first: int
    steps: int
    log: LossLog
    log_every: int
    logged: int = 0
    lines: list[str] = field(default_factory=list)
    step: int = 0
    stopping: bool = False


def last_checkpoint(output: Path) -> tuple[Path, int] | None:
    """Return the newest checkpoint of a training folder and its step, or None if there is none."""
    folder = output / "checkpoints" / "last"
    with suppress(OSError, ValueError, KeyError):
        step = json.loads((folder / "training_state" / "training_step.json").read_text())["step"]
        if (folder / "pretrained_model" / "model.safetensors").exists():
            return folder / "pretrained_model", int(step)
    return None


def train(config: TrainConfig, *, resume: bool = False) -> TrainResult:
    """Train, showing progress; Ctrl-C saves a checkpoint and stops, `resume` goes on from the last one."""
    check_policy(config.policy)
    plan = plan_training(config)
    before = last_checkpoint(config.output)
    arguments, first = plan.arguments, 0
    if resume:
        if before is None:
            raise FileError(config.output, "holds no checkpoint to resume from", "train without --resume")
        checkpoint, first = before
        if first >= config.steps:
            return TrainResult(checkpoint=checkpoint, step=first, finished=True)
        arguments = _resuming(plan, config, checkpoint)
    elif config.output.is_dir() and any(config.output.iterdir()):
        raise FileError(
            config.output, "already holds a training" if before else "is not empty", "give --resume or another --output"
        )
    elif config.output.is_dir():
        config.output.rmdir()  # lerobot-train insists on making it
    _announce(config, plan, first)
    run = _Run(first, config.steps, LossLog(first), plan.log_every)
    code = _run(config, plan, arguments, run)
    return _finish(config, run, code)


def _resuming(plan: TrainPlan, config: TrainConfig, checkpoint: Path) -> tuple[str, ...]:
    """Return the options that go on from a checkpoint: its own, with only the steps and the user's options on top."""
    kept = ("--steps=", "--save_freq=", "--log_freq=", "--num_workers=", "--dataset.root=", "--output_dir=")
    again = [a for a in plan.arguments if a.startswith(kept)]
    again += [o for o in config.options if not o.startswith(kept)]
    return (f"--config_path={checkpoint / 'train_config.json'}", "--resume=true", *again)


def _announce(config: TrainConfig, plan: TrainPlan, first: int) -> None:
    start = f"from step {first}" if first else "from scratch"
    err().print(
        f"training {config.policy} ({plan.preset} preset) {start} to step {config.steps} on {plan.device}; "
        f"it sees {'joints and cameras' if plan.inputs == 'images' else 'joints and the environment'}",
        markup=False,
    )


def _run(config: TrainConfig, plan: TrainPlan, arguments: tuple[str, ...], run: _Run) -> int:
    """Run lerobot-train to its end and return its exit code."""
    command = [
        sys.executable,
        "-m",
        "waldo.train.lerobot_entry",
        *(["--waldo-memory"] if plan.memory else []),
        *([f"--waldo-store={plan.store}"] if plan.store else []),
        *arguments,
    ]
    environment = {**os.environ, **child_environment(plan.threads)}
    # a session of its own: Ctrl-C on the terminal reaches us alone, and we ask it to stop in its own time
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        with progress() as bar:
            task = bar.add_task("train", total=config.steps, completed=run.first, note="starting LeRobot")
            for _ in _watch(process, run):
                note = "saving a checkpoint, then stopping" if run.stopping else run.log.note
                bar.update(task, completed=run.step, note=note or "starting LeRobot")
    finally:
        if process.poll() is None:
            process.terminate()
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if config.output.is_dir():
            with (config.output / "train.log").open("a") as file:
                file.writelines(run.lines)
    return STOPPED if run.stopping and code in (-signal.SIGINT, -signal.SIGTERM) else code


def _watch(process: subprocess.Popen[str], run: _Run) -> Iterator[None]:
    """Read the output as it comes, and yield whenever something is new; Ctrl-C asks the process to stop."""
    assert process.stdout is not None
    while True:
        try:
            for line in process.stdout:
                _take(line, run)
                yield
            return
        except KeyboardInterrupt:
            if run.stopping:
                raise
            run.stopping = True
            process.send_signal(signal.SIGINT)
            yield


def child_environment(threads: int) -> dict[str, str]:
    """Return the variables that keep lerobot-train offline and within its threads."""
    return {
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin while they wait make a step seven times slower as soon as another process wants a core.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _take(line: str, run: _Run) -> None:
    """Make use of one line of lerobot-train's output."""
    if match := STEP.match(line):
        run.step = max(run.step, run.first + int(match[1]))
        line = line[match.end() :]
        if "loss:" not in line:
            return
    run.lines.append(line if line.endswith("\n") else line + "\n")
    values: dict[str, Any] = dict(NUMBERS.findall(line))
    if "loss" in values:
        # the log writes steps as "2K" and the bar skips some, but a line comes exactly every log_every steps
        run.logged = (max(run.logged, run.first) // run.log_every + 1) * run.log_every
        run.step = max(run.step, run.logged)
        run.log.add(run.logged, values)


def _finish(config: TrainConfig, run: _Run, code: int) -> TrainResult:
    log = config.output / "train.log"
    if config.output.is_dir():
        run.log.write(config.output)
    found = last_checkpoint(config.output)
    if code == STOPPED:
        if found is None:
            raise KeyboardInterrupt
        return TrainResult(checkpoint=found[0], step=found[1], finished=False)
    if code != 0 or found is None:
        spoken = [line.strip() for line in run.lines if line.strip()]
        for line in spoken[-15:]:
            err().print(line, markup=False)
        if not log.exists():
            log = config.output.with_suffix(".train.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("".join(run.lines))
        raise TrainingError(code, spoken[-1] if spoken else "it said nothing", log)
    return TrainResult(checkpoint=found[0], step=found[1], finished=True)
