"""`waldo reinforce`: reinforcement learning on the simulated twin, in which a person takes over."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from waldo import console
from waldo.cli.support.bars import progress_bar
from waldo.train.reinforcement.settings import ReinforceConfig

if TYPE_CHECKING:
    from waldo.train.reinforcement.reinforce import Advance


@dataclass(frozen=True, kw_only=True)
class Reinforce(ReinforceConfig):
    """Reinforcement learning of a task on the simulated twin, by LeRobot's actor and learner (HIL-SERL).

    A scripted person demonstrates the task, and takes over while the policy does not succeed by itself. The policy sees
    the simulation's ground truth. Ctrl-C saves a checkpoint; the same command resumes.
    """

    folder: tyro.conf.Positional[Path]
    """Folder for demonstrations, logs and checkpoints."""

    def run(self) -> int:
        """Learn and return the exit code: 130 after an interruption that saved a checkpoint."""
        from waldo.train.reinforcement.reinforce import reinforce

        options = {one.name: getattr(self, one.name) for one in dataclasses.fields(ReinforceConfig)}
        with ExitStack() as stack:

            def progress(stage: str) -> Advance:
                return stack.enter_context(progress_bar(stage))

            result = reinforce(ReinforceConfig(**options), self.folder, progress)
        if not result.finished:
            console.err().print(
                f"stopped after {result.actions} actions and saved a checkpoint; to continue, repeat the command"
            )
            return 130
        console.out().print(f"learned from {result.actions} actions: {result.checkpoint}", markup=False)
        return 0
