"""Exporting to LeRobot v3.0: waldo's packet copy against LeRobot's own writer, on the same episodes.

uv run python benchmarks/export.py DATASET [episodes]
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from waldo.console import out
from waldo.datasets.dataset import Dataset
from waldo.datasets.export_rows import RowConfig, make_rows
from waldo.datasets.lerobot_export import ExportConfig, export


def cpu_s() -> float:
    """Return the CPU time of this process and the children it has waited for [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def write_with_lerobot(dataset: Dataset, folder: Path, episodes: int, **options: Any) -> None:
    """Write the same rows and frames through LeRobot's `add_frame` and `save_episode`."""
    first = dataset.episodes[0]
    cameras = tuple(first.cameras)
    config = RowConfig(cameras=cameras)
    rows = make_rows(first, config)
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": (len(column.names),), "names": list(column.names)}
        for key, column in rows.columns.items()
    }
    for name, stream in first.cameras.items():
        shape = (stream.height, stream.width, 3)
        names = ["height", "width", "channels"]
        features[f"observation.images.{name.split('/')[1]}"] = {"dtype": "video", "shape": shape, "names": names}
    target = LeRobotDataset.create("local/peer", fps=30, features=features, root=folder, use_videos=True, **options)
    for episode in list(dataset.episodes)[:episodes]:
        rows = make_rows(episode, config)
        frames = {name: episode.frames(name, rows.frames[name]) for name in cameras}
        for i in range(len(rows.instants_ns)):
            row: dict[str, Any] = {key: column.values[i] for key, column in rows.columns.items()}
            row |= {f"observation.images.{name.split('/')[1]}": frames[name][i] for name in cameras}
            target.add_frame({**row, "task": episode.task})
        target.save_episode()
    target.finalize()


def main() -> None:
    """Time the three writers once each, after one warm-up of waldo's."""
    source = Dataset.open(sys.argv[1])
    episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    folder = Path(tempfile.mkdtemp())
    some = folder / "some"
    shutil.copytree(source.path, some, ignore=lambda _, names: [n for n in names if n.endswith("journal")])
    for path in sorted(some.glob("episode_*.zarr"))[episodes:]:
        shutil.rmtree(path)
    dataset = Dataset.open(some)
    frames = sum(e.count(name) for e in dataset.episodes for name in e.cameras)
    writers: dict[str, Callable[[Path], object]] = {
        "warm-up": lambda path: export(dataset, path, ExportConfig(include="all")),
        "waldo export (packet copy)": lambda path: export(dataset, path, ExportConfig(include="all")),
        "LeRobot streaming encoder": lambda path: write_with_lerobot(
            dataset, path, episodes, streaming_encoding=True, encoder_queue_maxsize=1000
        ),
        "LeRobot default writer": lambda path: write_with_lerobot(dataset, path, episodes),
    }
    figures: dict[str, tuple[float, float]] = {}
    for name, write in writers.items():
        start, before = time.perf_counter(), cpu_s()
        write(folder / name.replace(" ", "-"))
        figures[name] = time.perf_counter() - start, cpu_s() - before
    ours = figures["waldo export (packet copy)"]
    out().print(f"{len(dataset.episodes)} episodes, {frames} frames")
    for name, (wall, cpu) in list(figures.items())[1:]:
        text = (
            f"{name:28s} {wall:7.2f} s wall {cpu:7.2f} s CPU   {wall / ours[0]:6.1f} x wall {cpu / ours[1]:6.1f} x CPU"
        )
        out().print(text)
    shutil.rmtree(folder)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
