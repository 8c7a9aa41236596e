"""Random reads for training: waldo's recording and frame cache compared with LeRobotDataset and TorchCodec in one run.

Usage: uv run python benchmarks/training_reads.py [--episodes 8] [--seconds 20] [--batches 40]

The dataset is that of the export benchmark: three cameras 640x480 at 30 Hz. A batch consists of 8 random rows with
1 or 2 frames of each camera, read by a DataLoader with 0 or 2 workers. LeRobot reads waldo's export (the same H.264)
and a dataset that its own default writer produces from the same frames. Values are medians of rounds through all
readers in turn.
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
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.lerobot.layout import LEROBOT_VERSION
from waldo.datasets.reading.cache_build import build_cache
from waldo.datasets.reading.cache_check import check_cache
from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.schema import feature_key
from waldo.files import format_bytes
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
    """Return batches per second from the first batch to the last, without the start of the workers."""
    # A forked worker would share file positions with the decoders that LeRobot keeps open in this process.
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
    """Open a waldo dataset."""
    windows = Windows(dataset, WindowConfig(rows=RowConfig(), frame_cache=cache, deltas=deltas))
    return StoreDataset(windows, store_metadata(windows))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8, help="number of episodes")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of an episode")
    parser.add_argument("--kind", default="camera", help="kind of images, see workload.py")
    parser.add_argument("--batches", type=int, default=30, help="batches per round")
    parser.add_argument(
        "--no-default", action="store_true", help="skip the dataset of LeRobot's default writer, which is slow to write"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    try:
        dataset = record(folder / "dataset", args.episodes, args.seconds, args.kind)
        export_dataset(dataset, folder / "export", LeRobotConfig())
        start = time.perf_counter()
        openers = [partial(dataset.episode, index) for index in dataset.indices]
        built = build_cache(FrameCache.create(folder / "cache", CacheConfig()), openers)
        seconds = time.perf_counter() - start
        faults = list(check_cache(FrameCache.open(folder / "cache"), openers, lambda done, total: None))
        if faults:
            raise SystemExit(f"the cache differs from the recording: {faults[0]}")
        readers: dict[str, Callable[[Any], Any]] = {
            f"LeRobotDataset {LEROBOT_VERSION}, waldo's export": lambda deltas: lerobot(folder / "export", deltas),
            "waldo, recording": lambda deltas: store(dataset, None, deltas),
            "waldo, cache": lambda deltas: store(dataset, folder / "cache", deltas),
        }
        if not args.no_default:
            write_with_lerobot(dataset, folder / "default", Timer())
            readers[f"LeRobotDataset {LEROBOT_VERSION}, its default writer"] = lambda deltas: lerobot(
                folder / "default", deltas
            )
        size = format_bytes(built.nbytes)
        out().print(f"cache: {size}, built in {seconds:.0f} s, every frame equals the recording\n")
        out().print(f"| frames | workers | {' | '.join(readers)} | recording / best | cache / best |")
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
                ratios = f"{rates['waldo, recording'] / best:.2f}x | {rates['waldo, cache'] / best:.2f}x"
                out().print(f"| {frames} | {workers} | {cells} | {ratios} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
