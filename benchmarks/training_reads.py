"""Random reads for training: waldo's archive and its cache against LeRobotDataset with torchcodec, in one run.

Usage: uv run python benchmarks/training_reads.py [--episodes 8] [--seconds 20] [--batches 40]

The dataset is that of the export benchmark: three cameras 640x480 at 30 Hz. A batch is 8 rows at random with 3 cameras
and 1 or 2 frames of each, read by a DataLoader with 0 or 2 workers. LeRobot reads waldo's export (the same H.264), and
what its own default writer makes of the same frames. Figures are the medians of rounds through all readers in turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import lerobot.datasets.video_utils as video_utils
import numpy as np
import torch
from export import Timer, record, write_with_lerobot
from torch.utils.data import DataLoader

from waldo.console import out
from waldo.datasets.dataset import Dataset
from waldo.datasets.lerobot.export import ExportConfig, export, feature_key
from waldo.datasets.reading import frame_cache
from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
from waldo.datasets.reading.rows import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.train.data.store_dataset import StoreDataset
from waldo.train.data.store_meta import store_metadata

BATCH = 8
ROUNDS = 5


def batches(dataset: Any, rows: Any, workers: int) -> Iterator[Any]:
    """Yield batches of these rows, (batches, BATCH)."""
    loader: Any = DataLoader(
        dataset,
        batch_sampler=rows.tolist(),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    yield from loader


def rate(dataset: Any, rows: Any, workers: int) -> float:
    """Return batches a second, from the first batch to the last: starting the workers is not counted."""
    # A forked worker would share the file positions of the decoders that LeRobot keeps open in this process.
    vars(video_utils)["_default_decoder_cache"].clear()
    stream = batches(dataset, rows, workers)
    next(stream)
    start = time.perf_counter()
    count = sum(1 for _ in stream)
    return count / (time.perf_counter() - start)


def lerobot(folder: Path, deltas: Any) -> Any:
    """Open a LeRobot dataset."""
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset(
        "local/x", root=folder, delta_timestamps=deltas, video_backend="torchcodec", return_uint8=True
    )


def store(dataset: Dataset, cache: Path | None, deltas: Any) -> StoreDataset:
    """Open the store."""
    rows = RowConfig(cameras=tuple(dataset.episodes[0].cameras))
    windows = Windows(dataset, WindowConfig(rows=rows, frame_cache=cache, deltas=deltas))
    return StoreDataset(windows, store_metadata(windows))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8, help="episodes")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of an episode")
    parser.add_argument("--kind", default="camera", help="kind of pictures, see workload.py")
    parser.add_argument("--batches", type=int, default=30, help="batches in a round")
    parser.add_argument("--no-default", action="store_true", help="leave out LeRobot's own default file (slow to make)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    try:
        dataset = record(folder / "dataset", args.episodes, args.seconds, args.kind)
        export(dataset, folder / "export", ExportConfig())
        start = time.perf_counter()
        openers = [partial(dataset.episode, index) for index in dataset.indices]
        built = frame_cache.build(FrameCache.create(folder / "cache", CacheConfig()), openers)
        seconds = time.perf_counter() - start
        faults = list(frame_cache.check(FrameCache.open(folder / "cache"), openers, lambda done, total: None))
        if faults:
            raise SystemExit(f"the cache is not the archive: {faults[0]}")
        readers: dict[str, Callable[[Any], Any]] = {
            "LeRobotDataset, waldo's export": lambda deltas: lerobot(folder / "export", deltas),
            "waldo, archive": lambda deltas: store(dataset, None, deltas),
            "waldo, cache": lambda deltas: store(dataset, folder / "cache", deltas),
        }
        if not args.no_default:
            write_with_lerobot(dataset, folder / "default", Timer())
            readers["LeRobotDataset, its default writer"] = lambda deltas: lerobot(folder / "default", deltas)
        out().print(f"cache: {built.nbytes / 1e9:.2f} GB, built in {seconds:.0f} s, every frame is the archive's\n")
        out().print(f"| frames | workers | {' | '.join(readers)} | archive / best | cache / best |")
        out().print("|---|---|" + "---|" * (len(readers) + 2))
        draw = np.random.default_rng(0)
        for frames in (1, 2):
            offsets = [-1 / 30, 0.0][2 - frames :]
            deltas = {feature_key(name): offsets for name in dataset.episodes[0].cameras}
            opened = {name: reader(deltas) for name, reader in readers.items()}
            for workers in (0, 2):
                found: dict[str, list[float]] = {name: [] for name in readers}
                for _ in range(ROUNDS):
                    length = min(len(reader) for reader in opened.values())
                    rows = draw.integers(0, length, (args.batches + 1, BATCH))
                    for name, reader in opened.items():
                        found[name].append(rate(reader, rows, workers))
                rates = {name: median(values) for name, values in found.items()}
                best = max(value for name, value in rates.items() if name.startswith("LeRobot"))
                cells = " | ".join(f"{value:.1f}/s" for value in rates.values())
                ratios = f"{rates['waldo, archive'] / best:.2f}x | {rates['waldo, cache'] / best:.2f}x"
                out().print(f"| {frames} | {workers} | {cells} | {ratios} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
