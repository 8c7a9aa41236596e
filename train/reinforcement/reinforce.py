"""A reinforcement learning from start to end: demonstrations, then LeRobot's learner and actor as two processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waldo.errors import FileError, WaldoError
from waldo.files import require_empty, write_atomic
from waldo.json_file import parse_json
from waldo.process import ProcessError
from waldo.train.reinforcement.demonstrations import record_demonstrations
from waldo.train.reinforcement.entry import ENVIRONMENT
from waldo.train.reinforcement.settings import ReinforceConfig, lerobot_config
from waldo.train.training import DEFAULT_ENVIRONMENT, last_checkpoint

OPTIONS_FILE = "reinforce.json"
"""File with the options in the folder of a run."""
EPISODE = re.compile(r"\[ACTOR\] Global step (\d+): Episode reward: ([-\d.e]+)")
"""What the actor logs at the end of each episode."""
RECENT = 20
"""Number of the last episodes whose mean reward is shown."""
POLL_S = 0.5
"""Interval at which the log of the actor is read [s]."""
START_S, SAVE_S = 180.0, 300.0
"""Time in which the learner must listen, and in which it must save its last checkpoint [s]."""
RESUMED_SEED = 1_000_000
"""Distance between the worlds of a run and of its resumption."""

type Advance = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class ReinforceResult:
    """Result of a reinforcement learning."""

    checkpoint: Path
    """Folder of the policy, for `waldo eval`."""
    actions: int
    """Actions in the environment so far."""
    finished: bool
    """False after an interruption."""


def reinforce(config: ReinforceConfig, folder: Path, progress: Callable[[str], Advance]) -> ReinforceResult:
    """Run or resume a reinforcement learning; Ctrl-C saves a checkpoint.

    Args:
        config: The options.
        folder: Folder for demonstrations, logs and checkpoints.
        progress: Returns the progress callback of a stage by its name.

    Raises:
        FileError: If the folder contains something else, or a run with other options.
        ProcessError: If a process of LeRobot's fails.
    """
    _claim(config, folder)
    before = last_checkpoint(folder / "learner")
    done = 0 if before is None else _interactions(before[0])
    if before is not None and done >= config.steps:
        return ReinforceResult(checkpoint=before[0], actions=done, finished=True)
    if not (folder / "demonstrations" / "meta" / "info.json").exists():
        partial = folder / "demonstrations.partial"
        record_demonstrations(config, partial, progress("demonstrations"))
        partial.rename(folder / "demonstrations")
    finished = _learn(config, folder, done, resume=before is not None, advance=progress("reinforce"))
    after = last_checkpoint(folder / "learner")
    if after is None:
        if not finished:
            raise KeyboardInterrupt
        raise WaldoError(f"the learner saved no checkpoint; see {folder / 'learner.log'}")
    return ReinforceResult(checkpoint=after[0], actions=_interactions(after[0]), finished=finished)


def _claim(config: ReinforceConfig, folder: Path) -> None:
    """Reserve the folder; results of other options are not mixed."""
    path = folder / OPTIONS_FILE
    if path.exists():
        found: Mapping[str, Any] = parse_json(path.read_bytes())
        changed = [key for key, value in config.as_json().items() if found.get(key) != value and key != "steps"]
        if changed:
            raise FileError(folder, f"was made with other options ({', '.join(changed)})", "choose another folder")
    else:
        require_empty(folder, "choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(config.as_json(), indent=2) + "\n")


def _interactions(checkpoint: Path) -> int:
    """Return the number of actions in the environment before a checkpoint."""
    values = parse_json((checkpoint.parent / "training_state" / "training_step.json").read_bytes())
    return int(values.get("interaction_step", 0)) + 1


def _learn(config: ReinforceConfig, folder: Path, done: int, *, resume: bool, advance: Advance) -> bool:
    """Run the learner and the actor until the actor has taken its steps; return False after Ctrl-C."""
    arguments = {
        "task": config.task,
        "interventions": config.interventions,
        "after_s": config.after_s,
        "heat_weight": config.heat_weight,
        "seed": config.seed + RESUMED_SEED + done,
    }
    environment = {**DEFAULT_ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": "1", ENVIRONMENT: json.dumps(arguments)}
    with ExitStack() as stack:
        # No other user may enter the folder of the socket, through which LeRobot sends pickled messages.
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waldo-reinforce-")))
        socket = private / "learner:1"
        settings = lerobot_config(config, folder, socket, resume=resume)
        file = folder / "lerobot.json"
        write_atomic(file, json.dumps(settings, indent=2) + "\n")
        learner = stack.enter_context(_process("learner", folder, file, environment))
        _wait_for(socket, learner, folder)
        options = (
            f"--output_dir={private / 'actor'}",
            "--resume=false",
            f"--policy.online_steps={config.steps - done}",
        )
        actor = stack.enter_context(_process("actor", folder, file, environment, options))
        try:
            _watch(actor, learner, folder, done, config.steps, advance)
            finished = True
        except KeyboardInterrupt:
            finished = False
        advance(config.steps if finished else done, config.steps, "saving a checkpoint")
        learner.send_signal(signal.SIGUSR1)
        _wait_for_end(learner, folder)
    return finished


@contextmanager
def _process(
    part: str, folder: Path, file: Path, environment: Mapping[str, str], options: tuple[str, ...] = ()
) -> Generator[subprocess.Popen[bytes]]:
    """Run a part of the learning; it is ended with the block."""
    words = ["-m", "waldo.train.reinforcement.entry", part, f"--config_path={file}", *options]
    with (folder / f"{part}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_for(socket: Path, learner: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the learner listens."""
    deadline = time.monotonic() + START_S
    while not socket.exists():
        if learner.poll() is not None or time.monotonic() > deadline:
            raise ProcessError("learner", learner.poll(), folder / "learner.log")
        time.sleep(POLL_S)


def _watch(
    actor: subprocess.Popen[bytes],
    learner: subprocess.Popen[bytes],
    folder: Path,
    done: int,
    total: int,
    advance: Advance,
) -> None:
    """Show the progress until the actor ends."""
    rewards: deque[float] = deque(maxlen=RECENT)
    with (folder / "actor.log").open("rb") as log:
        log.seek(0, os.SEEK_END)
        advance(done, total, "")
        while True:
            ended = actor.poll()
            for line in log.readlines():
                if match := EPISODE.search(line.decode(errors="replace")):
                    rewards.append(float(match[2]))
                    mean = sum(rewards) / len(rewards)
                    advance(done + int(match[1]) + 1, total, f"mean reward {mean:.2f} of {len(rewards)} episodes")
            if learner.poll() is not None:
                raise ProcessError("learner", learner.poll(), folder / "learner.log")
            if ended is not None:
                if ended != 0:
                    raise ProcessError("actor", ended, folder / "actor.log")
                return
            time.sleep(POLL_S)


def _wait_for_end(learner: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the learner has saved its checkpoint."""
    try:
        learner.wait(SAVE_S)
    except subprocess.TimeoutExpired as error:
        raise ProcessError("learner", None, folder / "learner.log") from error
