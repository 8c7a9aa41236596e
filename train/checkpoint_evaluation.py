"""Evaluation of each checkpoint while a policy is trained, and a link to the best one."""

from __future__ import annotations

import csv
import json
import os
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from waldo.files import atomic_file
from waldo.train.policies.model_card import add_evaluation, evaluation_of

EVALUATIONS_FILE = "evaluations.csv"
"""File in the output folder of a training; one row per checkpoint."""

COLUMNS = ("step", "successes", "episodes", "low", "high", "max_winding_c")

VALIDATION_SEED = 90_000
"""First seed: other worlds than those of demonstrations (from 0) and of `waldo eval` (from 100,000)."""


@dataclass(frozen=True, kw_only=True)
class CheckpointEvaluation:
    """Which task each checkpoint is evaluated on."""

    task: str
    """Registered name of the task."""
    episodes: int
    """Number of episodes."""
    device: str = "cpu"
    """Device of the policy."""

    def to_json(self) -> str:
        """Return the options as one line of JSON."""
        return json.dumps(asdict(self))

    def run(self, checkpoint: Path) -> tuple[int, dict[str, Any]]:
        """Evaluate a checkpoint; `best` beside it links to the one with the most successes so far, the first of equals.

        The random numbers of the training are not affected.

        Args:
            checkpoint: A folder `checkpoints/<step>`.

        Returns:
            The step, and the numbers of the evaluation by name.
        """
        import numpy as np
        import torch

        from waldo.sim.evaluation.evaluate import evaluate
        from waldo.sim.evaluation.results import EvalConfig
        from waldo.train.policies.lerobot_policy import LeRobotPolicy

        states = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
        on_gpu = torch.cuda.get_rng_state_all() if self.device.startswith("cuda") else None
        try:
            policy = LeRobotPolicy(checkpoint, device=self.device, threads=states[3])
            config = EvalConfig(task=self.task, episodes=self.episodes, first_seed=VALIDATION_SEED, videos=0)
            found = evaluation_of(evaluate(policy, config))
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])
            torch.set_num_threads(states[3])
            if on_gpu is not None:
                torch.cuda.set_rng_state_all(on_gpu)
        add_evaluation(checkpoint / "pretrained_model", found)
        step = int(checkpoint.name)
        output = checkpoint.parent.parent
        rows = [row for row in read_evaluations(output) if row[0] < step]
        best = max((row[1] for row in rows), default=-1)
        values = (step, found.successes, found.episodes, found.low, found.high, found.max_winding_c)
        with atomic_file(output / EVALUATIONS_FILE) as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows, values])
        if found.successes > best:
            _link(checkpoint)
        sys.stdout.write(f"evaluation of step {step}: {found.successes} of {found.episodes} succeeded\n")
        rate = found.successes / found.episodes
        return step, {"success": rate, "success_lower": found.low, "max_winding_c": found.max_winding_c}


def read_evaluations(output: Path) -> list[tuple[int, int, int, float, float, float]]:
    """Return the rows of `evaluations.csv`, as `COLUMNS` names them; none if there is no such file."""
    path = output / EVALUATIONS_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [(int(r[0]), int(r[1]), int(r[2]), float(r[3]), float(r[4]), float(r[5])) for r in rows]


def _link(checkpoint: Path) -> None:
    """Let `best` beside a checkpoint point to it."""
    link, partial = checkpoint.parent / "best", checkpoint.parent / f".best-{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(checkpoint.name)
    partial.replace(link)
