"""Training with LeRobot in a process of its own, with a log, the loss on disk, clean interruption and resumption."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from waldo.errors import FileError, WaldoError
from waldo.files import make_folder, read_regular, write_atomic
from waldo.json_file import parse_json
from waldo.train.advice import advice
from waldo.train.launch import Launch
from waldo.train.lerobot_entry import DIVERGED, INTERRUPTED
from waldo.train.loss_log import LossLog
from waldo.train.tracking import LOGGERS
from waldo.train.train_config import TrainConfig, TrainPlan, plan_training

STEP = re.compile(r"^Training:.*\| (\d+)/(\d+) \[")
NUMBERS = re.compile(r"\b(loss|grdn|lr|updt_s|data_s):([-+0-9.einfa]+)")
ENABLES_WANDB = re.compile(r"--wandb\.enable=(true|yes|on|1)", re.IGNORECASE)
EVALUATION = re.compile(r"evaluation of step \d+: \d+ of \d+ succeeded")
DEFAULT_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    # Threads that spin while they wait make a step seven times slower as soon as another process needs a core.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of the training process, unless the user's own sets these variables."""

ONE_PROCESS = Launch(kind="accelerate", nodes=1, processes=1)
TAIL_LINES = 15
"""Lines of output that `TrainingError` keeps."""


class TrainingError(WaldoError):
    """lerobot-train failed."""

    exit_code = 3

    def __init__(self, code: int, tail: list[str], log: Path, do: str = "") -> None:
        """Build the message from the exit code, the last lines of output, the path of the log and what to do."""
        self.tail = tail
        """The last lines of output."""
        last = tail[-1] if tail else "no output"
        last = last.rstrip(".") if len(last) <= 200 else last[:197] + "..."
        super().__init__(f"lerobot-train exited with code {code}: {last}; {f'{do}; ' if do else ''}see the log: {log}")


class DivergedError(WaldoError):
    """The loss of a training run is not a finite number."""

    exit_code = 1

    def __init__(self, step: int, checkpoint: tuple[Path, int] | None) -> None:
        """Build the message from the last known step and the last checkpoint with its step."""
        kept = f"the last checkpoint is that of step {checkpoint[1]}" if checkpoint else "no checkpoint was saved"
        super().__init__(
            f"the loss is not a finite number after step {step}; {kept}; check the dataset with: waldo check; or lower "
            "the learning rate: -- --optimizer.lr=1e-4 (with --preset lerobot: --policy.optimizer_lr=1e-5)"
        )


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a training run."""

    checkpoint: Path
    """Folder of the policy, for `waldo eval`."""
    step: int
    """Total number of optimizer steps so far."""
    finished: bool
    """False after an interruption."""


@dataclass
class _Run:
    """State of a running training process."""

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
    with suppress(OSError, ValueError, KeyError, TypeError):
        step = parse_json(read_regular(folder / "training_state" / "training_step.json"))["step"]
        if isinstance(step, int) and (folder / "pretrained_model" / "model.safetensors").exists():
            return folder / "pretrained_model", step
    return None


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    advance: Callable[[int, int, str], None] = lambda done, total, note: None,
    announce: Callable[[str], None] = lambda text: None,
) -> TrainResult:
    """Train a policy; Ctrl-C saves a checkpoint and stops.

    Args:
        config: The options.
        resume: Whether to continue from the last checkpoint in the output folder.
        advance: Progress callback: steps done, steps in total, note for the user.
        announce: Called once with a description of the run before it starts.

    Raises:
        FileError: If the output folder is in use, or has no checkpoint to resume from.
        TrainingError: If lerobot-train fails.
        DivergedError: If the loss is not a finite number.
    """
    plan = plan_training(config)
    before = last_checkpoint(config.output)
    arguments, first = plan.arguments, 0
    if resume:
        if before is None:
            raise FileError(config.output, "contains no checkpoint to resume from", "train without --resume")
        checkpoint, first = before
        if first >= config.steps:
            return TrainResult(checkpoint=checkpoint, step=first, finished=True)
        arguments = _resume_arguments(plan, config, checkpoint)
    elif config.output.is_dir() and any(config.output.iterdir()):
        found = "already contains a training run" if before else "is not empty"
        raise FileError(config.output, found, "pass --resume or another --output")
    else:
        make_folder(config.output)
        config.output.rmdir()  # lerobot-train requires that the folder does not exist
    announce(_describe(config, plan, first))
    run = _Run(first, config.steps, LossLog(first), plan.log_every)
    code = _run(config, plan, arguments, run, advance)
    return _finish(config, plan, run, code)


def _resume_arguments(plan: TrainPlan, config: TrainConfig, checkpoint: Path) -> tuple[str, ...]:
    """Return the options that continue from a checkpoint: its own, overridden by the steps and the user's options."""
    kept = (
        "--wandb.enable=",
        "--steps=",
        "--save_freq=",
        "--log_freq=",
        "--num_workers=",
        "--dataset.root=",
        "--output_dir=",
    )
    again = [a for a in plan.arguments if a.startswith(kept)]
    again += [o for o in config.options if not o.startswith(kept)]
    return (f"--config_path={checkpoint / 'train_config.json'}", "--resume=true", *again)


def _describe(config: TrainConfig, plan: TrainPlan, first: int) -> str:
    start = f"from step {first}" if first else "from scratch"
    inputs = "joints and cameras" if plan.inputs == "images" else "joints and the environment state"
    source = f"{plan.preset} preset" if plan.policy.pretrained is None else f"pretrained: {plan.policy.pretrained}"
    return f"training {plan.policy.type} ({source}) {start} to step {config.steps} on {plan.device}; inputs: {inputs}"


def _run(
    config: TrainConfig,
    plan: TrainPlan,
    arguments: tuple[str, ...],
    run: _Run,
    advance: Callable[[int, int, str], None],
) -> int:
    """Run lerobot-train to its end and return its exit code."""
    words = entry_arguments(config, plan, arguments)
    launch = config.launch or ONE_PROCESS
    command = launch.command(sys.executable, words, cpu=plan.device == "cpu")
    # A session of its own: Ctrl-C in the terminal reaches this process alone, which then interrupts the child.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=child_environment(os.environ, plan.threads, plan.arguments),
        start_new_session=True,
    )
    try:
        advance(run.first, config.steps, "starting LeRobot")
        for _ in _watch(process, run):
            note = "saving a checkpoint, then stopping" if run.stopping else run.log.note
            advance(run.step, config.steps, note or "starting LeRobot")
    finally:
        if process.poll() is None:
            process.terminate()
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if config.output.is_dir():
            with (config.output / "train.log").open("a") as file:
                file.writelines(run.lines)
    return INTERRUPTED if run.stopping and code in (-signal.SIGINT, -signal.SIGTERM) else code


def entry_arguments(config: TrainConfig, plan: TrainPlan, arguments: Sequence[str]) -> list[str]:
    """Return the module of the training process and its options, which follow `python -m`."""
    evaluation = replace(config.evaluation, device=plan.device) if config.evaluation else None
    return [
        "waldo.train.lerobot_entry",
        *(["--waldo-memory"] if plan.memory else []),
        *([f"--waldo-store={plan.store}"] if plan.store else []),
        *([f"--waldo-evaluate={evaluation.to_json()}"] if evaluation else []),
        *([f"--waldo-track={config.track}"] if config.track in LOGGERS else []),
        *([f"--waldo-license={config.license}"] if config.license else []),
        *arguments,
    ]


def submit(config: TrainConfig, launch: Launch) -> str:
    """Write what a cluster needs to train, and return the command that submits it.

    Args:
        config: The options; the output folder must be on a file system that the cluster shares.
        launch: SLURM or Ray.
    """
    plan = plan_training(config)
    words = entry_arguments(config, plan, plan.arguments)
    if launch.kind == "ray":
        return shlex.join(launch.ray("python", words, Path.cwd()))
    file = config.output.with_suffix(".sbatch")
    make_folder(file.parent)
    environment = {key: value for key, value in DEFAULT_ENVIRONMENT.items() if key not in os.environ}
    write_atomic(file, launch.slurm(sys.executable, words, config.output.name, environment))
    return shlex.join(["sbatch", str(file)])


def _watch(process: subprocess.Popen[str], run: _Run) -> Iterator[None]:
    """Read the output line by line and yield after each one; Ctrl-C interrupts the process."""
    assert process.stdout is not None
    while True:
        try:
            for line in process.stdout:
                _parse(line, run)
                yield
            return
        except KeyboardInterrupt:
            if run.stopping:
                raise
            run.stopping = True
            process.send_signal(signal.SIGINT)
            yield


def child_environment(environment: Mapping[str, str], threads: int, options: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment of lerobot-train.

    By default the process is offline: no model is fetched from the hub and nothing is sent to Weights & Biases. The
    user's own variables take precedence, and `--wandb.enable=true` among the options leaves Weights & Biases enabled.

    Args:
        environment: The user's environment.
        threads: CPU threads of the process.
        options: Options of lerobot-train.
    """
    defaults = dict(DEFAULT_ENVIRONMENT)
    if not any(ENABLES_WANDB.fullmatch(option) for option in options):
        defaults["WANDB_MODE"] = "disabled"
    return {**defaults, **environment, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}


def _parse(line: str, run: _Run) -> None:
    """Update the state of the run from one line of output."""
    if match := STEP.match(line):
        run.step = max(run.step, run.first + int(match[1]))
        line = line[match.end() :]
        if "loss:" not in line:
            return
    run.lines.append(line if line.endswith("\n") else line + "\n")
    if match := EVALUATION.search(line):
        run.log.note = match[0]
    values: dict[str, Any] = dict(NUMBERS.findall(line))
    if "loss" in values:
        # The log abbreviates steps ("2K") and the bar skips some, but a line is written exactly every log_every steps.
        run.logged = (max(run.logged, run.first) // run.log_every + 1) * run.log_every
        run.step = max(run.step, run.logged)
        run.log.add(run.logged, values)


def _finish(config: TrainConfig, plan: TrainPlan, run: _Run, code: int) -> TrainResult:
    log = config.output / "train.log"
    if config.output.is_dir():
        run.log.write(config.output)
    found = last_checkpoint(config.output)
    if code == INTERRUPTED:
        if found is None:
            raise KeyboardInterrupt
        return TrainResult(checkpoint=found[0], step=found[1], finished=False)
    if code == DIVERGED:
        raise DivergedError(run.step, found)
    if code != 0 or found is None:
        if not log.exists():
            log = config.output.with_suffix(".train.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("".join(run.lines))
        tail = [line.strip() for line in run.lines if line.strip()][-TAIL_LINES:]
        raise TrainingError(code, tail, log, advice(plan.policy.type, run.lines))
    return TrainResult(checkpoint=found[0], step=found[1], finished=True)
