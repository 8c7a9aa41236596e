"""Measures a planner on examples that its training never drew.

python -m waldo.train.planner.measure [MODEL] --count 300
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import tyro

from waldo.console import out, progress
from waldo.train.planner.grammar import SPLITS, Example, sample
from waldo.train.planner.plan_check import PlanError
from waldo.train.planner.planner import Planner, TransformersPlanner, make_plan

MEASURE_SEED = 20_000_001
"""Apart from the seeds of training, which are made of a text."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the plans of one split came out."""

    exact: int = 0
    """Plans that are right in every step."""
    refused: int = 0
    """Plans that were not right and that a check refused, with a reason."""
    wrong: int = 0
    """Plans that were not right and passed every check."""


@dataclass(frozen=True, kw_only=True)
class PlannerMeasure:
    """Measure how often a planner's plans are exactly right."""

    model: Annotated[Path | None, tyro.conf.Positional] = None
    """Model folder; the one that comes with waldo by default."""
    count: int = 300
    """Examples of each split."""
    hard: bool = False
    """Measure on the long and winding half of the language too."""
    show: int = 0
    """How many wrong plans of each split to print."""

    def run(self) -> int:
        """Measure and print a table."""
        planner = TransformersPlanner(self.model)
        out().print(
            f"{'split':<14}{'exact':>8}{'refused':>9}{'wrong':>7}   of {self.count}, possible instructions only"
        )
        for split in SPLITS:
            outcome, wrong = measure(planner, split, self.count, plain=not self.hard)
            out().print(
                f"{split:<14}{outcome.exact:>8}{outcome.refused:>9}{outcome.wrong:>7}   "
                f"{outcome.exact / self.count:.1%}"
            )
            for example, answer in wrong[: self.show]:
                out().print(f"  {example.instruction}\n    {example.scene}\n    -> {answer}", markup=False)
                out().print(f"    expected {[goal.text for goal in example.plan]}", markup=False)
        return 0


def measure(
    planner: Planner, split: str, count: int, *, plain: bool = True
) -> tuple[Outcome, list[tuple[Example, str]]]:
    """Return how `count` examples of a split come out, and those that were not right with what was answered."""
    rng = Random(f"{MEASURE_SEED} {split}")
    tally = {"exact": 0, "refused": 0, "wrong": 0}
    failures: list[tuple[Example, str]] = []
    with progress() as bar:
        task = bar.add_task(split, total=count, note="")
        for _ in range(count):
            example = sample(rng, split, possible=True, plain=plain)
            try:
                plan = make_plan(planner, example.instruction, example.scene, example.done)
            except PlanError as error:
                tally["refused"] += 1
                failures.append((example, "refused: " + "; ".join(error.problems)))
            else:
                right = tuple(plan) == example.plan
                tally["exact" if right else "wrong"] += 1
                if not right:
                    failures.append((example, str([goal.text for goal in plan])))
            bar.advance(task)
    return Outcome(**tally), failures


if __name__ == "__main__":
    raise SystemExit(tyro.cli(PlannerMeasure).run())
