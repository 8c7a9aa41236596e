"""Measure how often a planner is right on examples of the synthetic grammar that were not used for training.

python -m waldo.train.planner.training.measure [MODEL] --count 300
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import tyro

from waldo.console import out, progress
from waldo.train.planner.plan_check import PlanError
from waldo.train.planner.planner import Planner, TransformersPlanner, make_plan
from waldo.train.planner.training.examples import SPLITS, Example, sample

MEASURE_SEED = 20_000_001
"""Differs from the seeds of training, which have another form."""


@dataclass(frozen=True, kw_only=True)
class PlanCounts:
    """Number of plans of one split by result."""

    exact: int = 0
    """Plans with every step right."""
    refused: int = 0
    """Wrong plans that a check refused."""
    wrong: int = 0
    """Wrong plans that passed every check."""


@dataclass(frozen=True, kw_only=True)
class PlannerMeasure:
    """Measure the fraction of plans that are exactly right."""

    model: Annotated[Path | None, tyro.conf.Positional] = None
    """Model folder; by default the toy planner."""
    count: int = 300
    """Number of examples per split."""
    hard: bool = False
    """Include long and complex instructions."""
    show: int = 0
    """Number of wrong plans per split to print."""

    def run(self) -> int:
        """Measure and print a table."""
        planner = TransformersPlanner(self.model)
        out().print(
            f"{'split':<14}{'exact':>8}{'refused':>9}{'wrong':>7}   of {self.count}, possible instructions only"
        )
        for split in SPLITS:
            found, wrong = measure(planner, split, self.count, plain=not self.hard)
            out().print(
                f"{split:<14}{found.exact:>8}{found.refused:>9}{found.wrong:>7}   {found.exact / self.count:.1%}"
            )
            for example, answer in wrong[: self.show]:
                out().print(f"  {example.instruction}\n    {example.scene}\n    -> {answer}", markup=False)
                out().print(f"    expected {[goal.text for goal in example.plan]}", markup=False)
        return 0


def measure(
    planner: Planner, split: str, count: int, *, plain: bool = True
) -> tuple[PlanCounts, list[tuple[Example, str]]]:
    """Return the counts over `count` examples of a split, and the wrong ones with the answers."""
    rng = Random(f"{MEASURE_SEED} {split}")
    counts = {"exact": 0, "refused": 0, "wrong": 0}
    failures: list[tuple[Example, str]] = []
    with progress() as bar:
        task = bar.add_task(split, total=count, note="")
        for _ in range(count):
            example = sample(rng, split, possible=True, plain=plain)
            try:
                plan = make_plan(planner, example.instruction, example.scene, example.done)
            except PlanError as error:
                counts["refused"] += 1
                failures.append((example, "refused: " + "; ".join(error.problems)))
            else:
                right = tuple(plan) == example.plan
                counts["exact" if right else "wrong"] += 1
                if not right:
                    failures.append((example, str([goal.text for goal in plan])))
            bar.advance(task)
    return PlanCounts(**counts), failures


if __name__ == "__main__":
    raise SystemExit(tyro.cli(PlannerMeasure).run())
