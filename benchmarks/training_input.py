"""Samples per second that reach a training: waldo's recording and frame cache against LeRobotDataset, small images.

Usage: uv run python benchmarks/training_input.py [--episodes 16] [--batches 20]

The task `pick` is recorded over DDS with two square cameras of 96 and of 224 pixels. Batches of 64 rows with one image
of each camera and 45 actions are read by a DataLoader with one worker, in the order of a training: LeRobot's shuffle,
and waldo's block shuffle for the recording. LeRobot reads waldo's export, the same H.264, through TorchCodec. Values
are medians of rounds through all readers in turn.
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
from torch.utils.data import DataLoader
from workload import machine

from waldo.console import out
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.lerobot.layout import LEROBOT_VERSION
from waldo.datasets.reading.cache_build import build_cache
from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.demo.recording import Recording
from waldo.train.data.store_dataset import StoreDataset
from waldo.train.data.store_meta import store_metadata
from waldo.train.store_training import store_order

BATCH, ROUNDS, FPS = 64, 3, 30
MEMORY = 1024 * 10**6
"""Memory of the block shuffle, as in `waldo train` [bytes]."""


def record(folder: Path, pixels: int, episodes: int) -> Dataset:
    """Record the task `pick`."""
    Recording(
        dataset=folder / "dataset",
        robot="so101",
        task="pick",
        camera_size=(pixels, pixels),
        episodes=episodes,
        seed=0,
        logs=folder / "logs",
    ).run(lambda done: None)
    return Dataset.open(folder / "dataset")


def batches(dataset: Any, rows: Any) -> Iterator[Any]:
    """Yield batches of these rows, (batches, BATCH)."""
    yield from DataLoader(
        dataset,
        batch_sampler=rows.tolist(),
        num_workers=1,
        prefetch_factor=2,
        multiprocessing_context="fork",
    )


def samples_per_second(dataset: Any, rows: Any) -> float:
    """Return samples per second from the first batch to the last, without the start of the worker."""
    # A forked worker would share file positions with the decoders that LeRobot keeps open in this process.
    vars(video_utils)["_default_decoder_cache"].clear()
    stream = batches(dataset, rows)
    next(stream)
    start = time.perf_counter()
    count = sum(1 for _ in stream)
    return BATCH * count / (time.perf_counter() - start)


def measure(folder: Path, pixels: int, episodes: int, count: int) -> dict[str, float]:
    """Return reader -> samples per second."""
    from lerobot.datasets import LeRobotDataset

    dataset = record(folder, pixels, episodes)
    export_dataset(dataset, folder / "export", LeRobotConfig())
    build_cache(
        FrameCache.create(folder / "cache", CacheConfig()),
        [partial(dataset.episode, index) for index in dataset.indices],
    )
    deltas = {"action": [step / FPS for step in range(45)]}

    def store(cache: Path | None, cache_bytes: int = 0) -> StoreDataset:
        config = WindowConfig(rows=RowConfig(), frame_cache=cache, deltas=deltas, cache_bytes=cache_bytes)
        windows = Windows(dataset, config)
        return StoreDataset(windows, store_metadata(windows))

    theirs = LeRobotDataset(
        "local/x", root=folder / "export", delta_timestamps=deltas, video_backend="torchcodec", return_uint8=True
    )
    archive, cached = store(None, MEMORY), store(folder / "cache")
    length = min(len(theirs), len(archive))
    draw = np.random.default_rng(0)

    def shuffled() -> Any:
        return np.concatenate([draw.permutation(length) for _ in range(1 + (count + 1) * BATCH // length)])

    def blocks() -> Any:
        windows, epochs = archive.windows, 1 + (count + 1) * BATCH // length
        starts, stops = (np.array([getattr(one, name) for one in windows.spans]) for name in ("first", "stop"))
        order = [
            store_order(starts, stops, windows=windows, batch=BATCH, readers=1, cache_bytes=MEMORY, seed=0, epoch=epoch)
            for epoch in range(epochs)
        ]
        return np.concatenate(order)

    readers: dict[str, tuple[Any, Callable[[], Any]]] = {
        f"LeRobotDataset {LEROBOT_VERSION}": (theirs, shuffled),
        "waldo, recording": (archive, blocks),
        "waldo, cache": (cached, shuffled),
    }
    found: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, (reader, order) in readers.items():
            rows = order()[: (count + 1) * BATCH].reshape(-1, BATCH)
            found[name].append(samples_per_second(reader, rows))
    return {name: median(values) for name, values in found.items()}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=16, help="number of episodes")
    parser.add_argument("--batches", type=int, default=20, help="batches per round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out().print(f"{machine()}\n")
    first = True
    for pixels in (96, 224):
        folder = Path(tempfile.mkdtemp())
        try:
            rates = measure(folder, pixels, args.episodes, args.batches)
        finally:
            shutil.rmtree(folder)
        if first:
            out().print(f"| images | {' | '.join(rates)} | recording | cache |\n|---|" + "---|" * (len(rates) + 2))
        first = False
        peer, archive, cache = rates.values()
        cells = " | ".join(f"{value:.0f}/s" for value in rates.values())
        out().print(f"| 2 x {pixels}x{pixels} | {cells} | {archive / peer:.1f} x | {cache / peer:.1f} x |")


if __name__ == "__main__":
    main()
