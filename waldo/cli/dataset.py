"""`waldo info`, `waldo check` and `waldo recover`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from waldo import console
from waldo.cli.support.arguments import DatasetAddress


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print a summary of a dataset: episodes, outcomes, tasks, streams, size, losses."""

    dataset: DatasetAddress
    """Folder or address of the dataset."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        """Print the summary."""
        from waldo.cli.support import tables
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.info import dataset_info

        info = dataset_info(Dataset.open(self.dataset))
        if self.json:
            print_json(info)
        else:
            tables.print_info(info)
        return 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check a dataset: rates, gaps, losses, staleness, cameras, limits, delay, heat, checksums.

    The exit code is 1 if there is a problem.
    """

    dataset: DatasetAddress
    """Folder or address of the dataset."""
    rules: Path | None = None
    """YAML file with the limits, which `waldo record` uses as well; by default rules.yaml in the dataset's folder."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        """Check every episode and print the problems."""
        from waldo.cli.support import tables
        from waldo.cli.support.rules import load_rules
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.quality.check import check_dataset

        dataset = Dataset.open(self.dataset)
        rules = load_rules(self.rules, dataset)
        with console.progress() as progress:
            bar = progress.add_task("checking", total=len(dataset.indices), note="")
            reports = []
            for report in check_dataset(dataset, rules):
                reports.append(report)
                progress.advance(bar)
        problems = sum(report.problems for report in reports)
        unfinished = [path.name for path in dataset.unfinished]
        if self.json:
            print_json(
                {"problems": problems, "unfinished": unfinished, "episodes": [asdict(report) for report in reports]}
            )
        else:
            tables.print_check(reports, unfinished)
        return 1 if problems else 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a page about a recording session: yield per hour, losses, rates, heat, progress, and what to fix."""

    dataset: DatasetAddress
    """Folder or address of the dataset."""
    plan: Path | None = None
    """YAML file with the plan; only its episodes are reported, with the progress against it."""
    rules: Path | None = None
    """YAML file with the rules of quality; by default rules.yaml in the dataset's folder."""
    out: Path = Path("session.html")
    """File of the page."""

    def run(self) -> int:
        """Check the episodes and write the page."""
        from waldo.cli.support.config import load_file
        from waldo.cli.support.rules import load_rules
        from waldo.collect.sessions.plan import SessionPlan
        from waldo.collect.sessions.report import session_report, write_report
        from waldo.datasets.dataset import Dataset

        dataset = Dataset.open(self.dataset)
        plan = None if self.plan is None else load_file(SessionPlan, self.plan)
        with console.progress() as bars:
            bar = bars.add_task("checking", total=len(dataset.indices), note="")
            report = session_report(
                dataset,
                plan,
                load_rules(self.rules, dataset),
                lambda done, total: bars.update(bar, completed=done, total=total),
            )
        write_report(report, self.out)
        console.out().print(
            f"{report.successes} of {len(report.episodes)} episodes successful, {report.per_hour:.1f} per hour, "
            f"{report.clean} without a problem, {report.lost} messages lost: {self.out}"
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Recover:
    """Recover episodes that a crash interrupted, and print what was kept and lost."""

    dataset: DatasetAddress
    """Folder or address of the dataset."""

    def run(self) -> int:
        """Recover the episodes and print the result of each."""
        from waldo.cli.support import tables
        from waldo.datasets.dataset import Dataset

        dataset = Dataset.open(self.dataset)
        with dataset.lock("waldo recover"):
            tables.print_recovered(dataset.recover())
        return 0


def print_json(values: Any) -> None:
    """Print values as JSON; NaN and infinities become null."""
    console.out().print(json.dumps(_finite(values), indent=2, ensure_ascii=False), markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities by None, deeply."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value
