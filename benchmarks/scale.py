"""Open, list and filter datasets of up to 100,000 episodes and append to them, compared with LeRobot's metadata.

Usage: uv run python benchmarks/scale.py [--episodes 1000 10000 100000]

The episodes are synthetic: the attributes of a real one with other tasks, outcomes, times and temperatures, since
opening, listing and filtering read nothing else. The appended episodes are recorded and finalized.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import Field, ScalarStream

STREAM = ScalarStream(name="joints/state", rate_hz=200.0, fields=(Field("position", "rad", ("a", "b", "c")),))
TASKS = [f"{verb} the {noun}" for verb in ("lift", "push", "stack", "hand over") for noun in ("cube", "can", "bowl")]

READ_WALDO = """
import sys, time
from waldo.datasets.dataset import Dataset
from waldo.datasets.selection import Selection
start = time.perf_counter()
dataset = Dataset.open(sys.argv[1])
entries = list(dataset.catalog)
listed = time.perf_counter()
found = dataset.select(Selection(outcome=("success",), task=("lift*",), min_duration_s=10.0, max_winding_c=70.0))
print(listed - start, time.perf_counter() - listed, len(entries), len(found))
"""

READ_LEROBOT = """
import sys, time, fnmatch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
start = time.perf_counter()
meta = LeRobotDatasetMetadata("local/scale", root=sys.argv[1])
entries = meta.episodes["length"][:]
listed = time.perf_counter()
found = [n for n, (tasks, length) in enumerate(zip(meta.episodes["tasks"][:], meta.episodes["length"][:]))
         if fnmatch.fnmatchcase(tasks[0], "lift*") and length >= 300]
print(listed - start, time.perf_counter() - listed, len(entries), len(found))
"""


def record(dataset: Dataset) -> None:
    """Record one episode of one second."""
    writer = dataset.begin([STREAM], {"task": "lift the cube"})
    for tick in range(200):
        at = 1_700_000_000_000_000_000 + tick * 5_000_000
        writer.row(STREAM.name, header_ns=at, receipt_ns=at, sequence=tick + 1, values={"position": np.zeros(3)})
    writer.save("success")


def synthesize(root: Path, count: int) -> None:
    """Create a dataset with this many episodes that contain only attributes."""
    dataset = Dataset.create(root, robot="so101")
    with dataset.lock():
        record(dataset)
    group = json.loads((root / "episode_000000.zarr" / "zarr.json").read_text())
    attributes = group["attributes"]
    draw = random.Random(0)
    for index in range(1, count):
        start = 1_700_000_000_000_000_000 + index * 60_000_000_000
        attributes["task"] = draw.choice(TASKS)
        attributes["outcome"] = draw.choice(("success", "success", "failure"))
        attributes["span_ns"] = [start, start + round(draw.uniform(5, 40) * 1e9)]
        attributes["max_winding_c"] = draw.uniform(30, 80)
        folder = root / f"episode_{index:06d}.zarr"
        folder.mkdir()
        (folder / "zarr.json").write_text(json.dumps(group))


def lerobot(root: Path, count: int) -> None:
    """Create the metadata of a LeRobot v3.0 dataset with this many episodes and the columns that LeRobot writes."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"action": {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]}}
    basic = ("timestamp", "float32"), ("frame_index", "int64"), ("episode_index", "int64"), ("index", "int64")
    features |= {
        name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in (*basic, ("task_index", "int64"))
    }
    info = {"codebase_version": "v3.0", "robot_type": "so101", "total_episodes": count, "total_frames": count * 600}
    info |= {"total_tasks": len(TASKS), "chunks_size": 1000, "fps": 30, "splits": {}, "features": features}
    info |= {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "video_path": None}
    info |= {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"}
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    pd.DataFrame({"task_index": range(len(TASKS))}, index=pd.Index(TASKS, name="task")).to_parquet(
        root / "meta" / "tasks.parquet"
    )
    (root / "meta" / "stats.json").write_text("{}")
    draw = random.Random(0)
    lengths = [round(draw.uniform(5, 40) * 30) for _ in range(count)]
    ends = np.cumsum(lengths)
    columns: dict[str, object] = {
        "episode_index": range(count),
        "tasks": [[draw.choice(TASKS)] for _ in range(count)],
        "length": lengths,
        "data/chunk_index": [0] * count,
        "data/file_index": [0] * count,
        "dataset_from_index": ends - lengths,
        "dataset_to_index": ends,
        "meta/episodes/chunk_index": [0] * count,
        "meta/episodes/file_index": [0] * count,
    }
    for feature, description in features.items():
        for name in ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"):
            columns[f"stats/{feature}/{name}"] = [[0.0] * int(np.prod(description["shape"]))] * count
    pq.write_table(pa.table(columns), root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")


def read(code: str, root: Path) -> list[float]:
    """Run a reader five times in new processes; return the medians of the numbers that it prints."""
    command = [sys.executable, "-c", code, str(root)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(5)]
    return [median(column) for column in zip(*(map(float, run.stdout.split()) for run in runs), strict=True)]


def timed(call: Callable[[], object]) -> float:
    """Return the duration of a call [s]."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def append_s(root: Path) -> float:
    """Return the time to record and finalize one more episode, the median of 15 in one session [s]."""
    dataset = Dataset.open(root)
    with dataset.lock():
        record(dataset)
        return median(timed(lambda: record(dataset)) for _ in range(15))


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    counts: list[int] = parser.parse_args().episodes
    print("| episodes | derive s | open + list s | filter s | LeRobot open s | LeRobot filter s | ratio | append ms |")
    print("|---|---|---|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Path(folder) / "waldo", Path(folder) / "lerobot"
            synthesize(ours, count)
            (ours / "catalog.jsonl").unlink()
            derived = timed(lambda root=ours: Dataset.open(root).catalog)
            listed, filtered, total, _ = read(READ_WALDO, ours)
            if total != count:
                raise SystemExit(f"{total} episodes were listed, expected {count}")
            lerobot(theirs, count)
            opened, chosen, *_ = read(READ_LEROBOT, theirs)
            ratio = (opened + chosen) / (listed + filtered)
            cells = f"{derived:.2f} | {listed:.3f} | {filtered:.3f} | {opened:.3f} | {chosen:.3f} | {ratio:.1f}x"
            print(f"| {count:,} | {cells} | {append_s(ours) * 1e3:.1f} |", flush=True)


if __name__ == "__main__":
    main()
