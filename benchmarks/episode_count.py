"""CPU time and memory of a check and of an export to LeRobot, and the time of opening and appending.

Usage: uv run python benchmarks/episode_count.py [--episodes 100 500 2000] [--seconds 5] [--open-only --folder FOLDER]

The episodes are hard links to one recorded episode: 7 streams, 2 cameras of 64 x 48 pixels. Each measurement runs in a
new process; its memory is the largest resident set. `--open-only` is for 100,000 episodes: 9 million files and folders,
which take half an hour to delete; put them on a file system of their own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import Field, ScalarStream, Stream, VideoStream

JOINTS = ("pan", "lift", "elbow", "flex", "roll", "claw")
START_NS = 1_700_000_000_000_000_000

CHECK = """
import resource, sys
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import check_dataset
checked = sum(1 for report in check_dataset(Dataset.open(sys.argv[1])))
"""

EXPORT = """
import resource, sys
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
export_dataset(Dataset.open(sys.argv[1]), sys.argv[2], LeRobotConfig())
"""

OPEN = """
import resource, sys, time
from waldo.datasets.dataset import Dataset
start = time.perf_counter()
count = len(list(Dataset.open(sys.argv[1]).catalog))
print(time.perf_counter() - start)
"""

APPEND = """
import resource, sys, time
sys.path.insert(0, sys.argv[2])
from episode_count import record
from waldo.datasets.dataset import Dataset
start = time.perf_counter()
dataset = Dataset.open(sys.argv[1])
with dataset.lock():
    record(dataset, 1.0)
dataset.wait()
print(time.perf_counter() - start)
"""

LINKS = 60_000
"""Links to one file; ext4 allows 65,000."""

REPORT = """
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def streams() -> list[Stream]:
    """Return the streams of an episode."""
    return [
        schema.joint_stream(schema.STATE, 100.0, JOINTS),
        schema.joint_stream(schema.COMMAND, 60.0, JOINTS),
        schema.joint_stream(schema.APPLIED, 100.0, JOINTS),
        schema.motors_stream(10.0, JOINTS),
        ScalarStream(name=schema.ENVIRONMENT, rate_hz=60.0, fields=(Field("value", "m", ("cube.x", "cube.y")),)),
        VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0),
        VideoStream(name="cameras/wrist", width=64, height=48, rate_hz=30.0),
    ]


def record(dataset: Dataset, seconds: float) -> None:
    """Record one episode."""
    random = np.random.default_rng(0)
    writer = dataset.begin(streams(), {"task": "lift the cube"}, back_pressure="wait")
    events = [(k / one.rate_hz, k, one) for one in streams() for k in range(round(seconds * one.rate_hz))]
    for at_s, number, stream in sorted(events, key=lambda event: event[:1]):
        stamp = START_NS + round(at_s * 1e9)
        kw = {"header_ns": stamp, "receipt_ns": stamp + 1_000_000, "sequence": number + 1}
        if isinstance(stream, ScalarStream):
            phase = np.sin(at_s + np.arange(len(JOINTS)))
            values = {field.name: phase[: len(field.labels)] for field in stream.fields}
            writer.row(stream.name, values=values, **kw)
        else:
            writer.frame(stream.name, image=random.integers(0, 255, (48, 64, 3), np.uint8), **kw)
    writer.save("success")


def multiply(root: Path, count: int) -> None:
    """Link the first episode of a dataset until it has this many."""
    source = root / "episode_000000.zarr"
    folders = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_dir()]
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for index in range(1, count):
        target = root / f"episode_{index:06d}.zarr"
        if target.exists():
            continue
        if index % LINKS == 0:
            source = Path(shutil.copytree(source, target))
            continue
        for folder in (Path(), *folders):
            (target / folder).mkdir()
        for file in files:
            (target / file).hardlink_to(source / file)


def measure(code: str, *paths: Path) -> tuple[float, float]:
    """Run code in a new process; return its CPU time [s] and its largest resident set [MiB]."""
    command = [sys.executable, "-c", code + REPORT, *map(str, paths)]
    cpu_s, rss = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(cpu_s), float(rss)


def elapsed_s(code: str, *paths: Path) -> float:
    """Run code that prints its own duration in a new process; return the duration [s]."""
    command = [sys.executable, "-c", code, *map(str, paths)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_open(root: Path, counts: Sequence[int]) -> None:
    """Print how long it takes to list and to append."""
    print("| episodes | first list [s] | next lists, median [s] | append 1 s [s] |")
    print("|---|---|---|---|")
    for count in counts:
        multiply(root, count)
        first = elapsed_s(OPEN, root)
        later = sorted(elapsed_s(OPEN, root) for _ in range(3))[1]
        append = elapsed_s(APPEND, root, Path(__file__).parent)
        print(f"| {count:,} | {first:.2f} | {later:.2f} | {append:.2f} |", flush=True)


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, help="where the datasets are written; temporary by default")
    parser.add_argument("--open-only", action="store_true", help="measure listing and appending only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder) / "dataset"
        dataset = Dataset.create(root, robot="so101")
        with dataset.lock():
            record(dataset, given.seconds)
        if given.open_only:
            measure_open(root, sorted(given.episodes))
            return
        print("| episodes | check: CPU s | RSS MiB | export: CPU s | RSS MiB |")
        print("|---|---|---|---|---|")
        for count in sorted(given.episodes):
            multiply(root, count)
            out = Path(folder) / f"export-{count}"
            cells = [*measure(CHECK, root), *measure(EXPORT, root, out)]
            print(f"| {count:,} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
