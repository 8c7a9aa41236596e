"""The commands of the episode store: `waldo info`, `check`, `recover`, `export`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from waldo import console
from waldo.cli.arguments import DatasetAddress
from waldo.datasets.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a dataset holds: episodes, outcomes, tasks, streams, size, loss."""

    dataset: DatasetAddress
    """The dataset's folder."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        """Print it."""
        from waldo.cli import tables
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
    """Check a dataset: rates, gaps, loss, staleness, frozen cameras, limits, heat, checksums. Exit code 1: problems."""

    dataset: DatasetAddress
    """The dataset's folder."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        """Check every episode and print what was found."""
        from waldo.cli import tables
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.quality.check import check_dataset

        dataset = Dataset.open(self.dataset)
        with console.progress() as progress:
            bar = progress.add_task("checking", total=len(dataset.indices), note="")
            reports = []
            for report in check_dataset(dataset):
                reports.append(report)
                progress.advance(bar)
        problems = sum(report.problems for report in reports)
        cut = [path.name for path in dataset.cut]
        if self.json:
            print_json({"problems": problems, "cut": cut, "episodes": [asdict(report) for report in reports]})
        else:
            tables.print_check(reports, cut)
        return 1 if problems else 0


@dataclass(frozen=True, kw_only=True)
class Recover:
    """Close the episodes that a crash cut off, and say what was kept and what was lost."""

    dataset: DatasetAddress
    """The dataset's folder."""

    def run(self) -> int:
        """Recover and print what became of each."""
        from waldo.cli import tables
        from waldo.datasets.dataset import Dataset

        dataset = Dataset.open(self.dataset)
        with dataset.lock("waldo recover"):
            tables.print_recovered(dataset.recover())
        return 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a dataset to LeRobot v3.0 or another format. Exit code 1 if an episode had to be left out."""

    dataset: DatasetAddress
    """The dataset's folder."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder (for umi: zip) of the exported dataset; must not hold anything yet."""
    format: Literal["lerobot", "replay-buffer", "umi", "rosbag2"] = "lerobot"
    """LeRobot v3.0, diffusion_policy's replay buffer, UMI's zarr.zip, or ROS 2 bags."""
    fps: int = 30
    """Rows a second."""
    cameras: tuple[str, ...] = ()
    """Cameras to export, such as `front wrist`; all if none is named; `none` for a dataset without images."""
    action: Literal["command", "sent"] = "command"
    """What the policy is to learn: what was asked, or what was sent to the motors."""
    environment: bool = True
    """Whether the simulation's ground truth becomes `observation.environment_state`."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """Which episodes."""
    max_age_s: float = 0.25
    """Farthest that a sample may lie from its row; an episode with a longer gap inside is left out [s]."""
    licence: str = ""
    """The licence's name for the dataset card, such as `apache-2.0`."""
    images: Literal["jpeg", "h264"] = "jpeg"
    """Of bags: what H.264 becomes: JPEGs that everything reads, or the packets as they are (CompressedVideo)."""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """Of bags: what they are."""
    workers: int = 1
    """Processes that prepare episodes side by side; 0: one for each core."""
    ray: str | None = None
    """Address of a Ray cluster that sees the same folders, `auto`, or `local`; without it, no Ray."""

    def run(self) -> int:
        """Export and print what was written."""
        from waldo.cli import formats as formats
        from waldo.cli import tables
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.jobs import Jobs
        from waldo.datasets.lerobot.export import ExportConfig, export

        formats.check_options(self)
        config = ExportConfig(
            fps=self.fps,
            cameras=None if self.cameras == ("none",) else self.cameras,
            action=self.action,
            environment=self.environment,
            selection=self.selection,
            max_age_s=self.max_age_s,
            licence=self.licence,
        )
        with console.progress() as progress:
            bar = progress.add_task("exporting", total=None, note="")

            def advance(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            if self.format == "lerobot":
                jobs = Jobs(workers=self.workers, ray=self.ray)
                result = export(Dataset.open(self.dataset), self.out, config, advance, jobs)
            else:
                result = formats.export(self, advance)
        tables.print_export(result)
        return 1 if result.left_out else 0


def print_json(values: Any) -> None:
    """Print values as JSON; what is no number is null."""
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
