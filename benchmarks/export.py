"""Exporting to LeRobot v3.0: waldo's copying of bytes against LeRobot's own writers, on the same episodes.

Usage: uv run python benchmarks/export.py [--episodes 4] [--seconds 20] [--kind camera] [--repeat 5]

The dataset is that of the recording benchmark (three cameras 640x480 at 30 Hz, 29 joints at 200 Hz, motors at 10 Hz)
with commands. LeRobot's writers are handed the same rows and decoded frames; the time to decode them is not counted.
Every frame of waldo's export is then compared with the store's, and the video is opened with each reader.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from workload import Robot, Workload

from waldo.console import out
from waldo.datasets.dataset import Dataset
from waldo.datasets.lerobot.export import ExportConfig, export, feature_key
from waldo.datasets.lerobot.layout import number_feature
from waldo.datasets.reading.rows import RowConfig, make_rows
from waldo.datasets.streams import Field, ScalarStream

START_NS = 1_700_000_000_000_000_000
CONFIG = ExportConfig()


def record(root: Path, episodes: int, seconds: float, kind: str) -> Dataset:
    """Record the dataset that is exported."""
    robot = Robot()
    work = Workload(robot, kind=kind, frames=150)
    command = ScalarStream(name="joints/command", rate_hz=200.0, fields=(Field("position", "rad", robot.joint_names),))
    dataset = Dataset.create(root, robot="bench")
    with dataset.lock():
        for episode in range(episodes):
            streams = [*robot.streams(), command]
            writer = dataset.begin(streams, {"task": "lift the cube"}, back_pressure="wait")
            for _, stream, number in robot.schedule(seconds):
                at = robot.stamp_ns(START_NS + episode * 10**12, stream, number)
                kw: Any = {"header_ns": at, "receipt_ns": at, "sequence": number + 1}
                if stream.startswith("cameras/"):
                    writer.frame(stream, image=work.image(stream, number + 7 * episode), **kw)
                    continue
                writer.row(stream, values=work.row(stream, number), **kw)
                if stream == "joints/state":
                    writer.row("joints/command", values={"position": work.row(stream, number + 2)["position"]}, **kw)
            writer.save("success")
    return dataset


def cpu_s() -> float:
    """Return the CPU time of this process and the children it has waited for [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Timer:
    """Adds up wall and CPU time of the blocks that it is used for."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        """Begin a block."""
        self._start = time.perf_counter(), cpu_s()

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += cpu_s() - self._start[1]


def write_with_waldo(dataset: Dataset, folder: Path, timer: Timer) -> None:
    """Export."""
    with timer:
        export(dataset, folder, CONFIG)


def write_with_lerobot(dataset: Dataset, folder: Path, timer: Timer, **options: Any) -> None:
    """Write the same rows and frames through LeRobot's `add_frame` and `save_episode`."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    first = dataset.episodes[0]
    config = RowConfig(cameras=tuple(first.cameras))
    columns = make_rows(first, config).columns
    features: dict[str, Any] = {key: number_feature(column.names) for key, column in columns.items()}
    for name, stream in first.cameras.items():
        shape = (stream.height, stream.width, 3)
        features[feature_key(name)] = {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    with timer:
        target = LeRobotDataset.create("local/peer", fps=30, features=features, root=folder, use_videos=True, **options)
    for episode in dataset.episodes:
        rows = make_rows(episode, config)
        frames = {name: episode.frames(name, rows.frames[name]) for name in config.cameras}
        with timer:
            for i in range(len(rows.instants_ns)):
                row: dict[str, Any] = {key: column.values[i] for key, column in rows.columns.items()}
                row |= {feature_key(name): frames[name][i] for name in config.cameras}
                target.add_frame({**row, "task": episode.task})
            target.save_episode()
    with timer:
        target.finalize()


def compare(dataset: Dataset, folder: Path) -> int:
    """Return how many frames of an export were decoded and found to be the store's, in every plane of every pixel."""
    import av

    same = 0
    for camera in dataset.episodes[0].cameras:
        files = sorted((folder / "videos" / feature_key(camera)).rglob("*.mp4"))
        shown = (frame for path in files for frame in av.open(str(path)).decode(video=0))
        for episode in dataset.episodes:
            with av.open(str(episode.video_path(camera))) as stored:
                for frame in stored.decode(video=0):
                    if not np.array_equal(frame.to_ndarray(), next(shown).to_ndarray()):
                        raise SystemExit(f"{camera}: a frame of the export is not the store's")
                    same += 1
        if next(shown, None) is not None:
            raise SystemExit(f"{camera}: the export has more frames than the store")
    return same


def open_everywhere(dataset: Dataset, folder: Path) -> str:
    """Open the store's video with every reader; return who they are."""
    import av
    import zarr
    from lerobot.datasets import LeRobotDataset
    from torchcodec.decoders import VideoDecoder

    episode = dataset.episodes[0]
    camera = next(iter(episode.cameras))
    path, count = episode.video_path(camera), episode.count(camera)
    told = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", path],
            check=True,
            capture_output=True,
        ).stdout
    )
    counts = {
        "zarr": _frames_in_zarr(zarr.open_group(str(episode.path), mode="r")[f"{camera}/frames"]),
        "ffprobe": int(told["streams"][0]["nb_read_frames"]),
        "PyAV": sum(1 for _ in av.open(str(path)).decode(video=0)),
        "torchcodec": len(VideoDecoder(str(path))),
        "LeRobotDataset": int(cast("Any", LeRobotDataset("local/x", root=folder).meta.episodes)["length"][0]),
    }
    if set(counts.values()) != {count}:
        raise SystemExit(f"the store has {count} frames, the readers see {counts}")
    return ", ".join(counts)


def _frames_in_zarr(array: Any) -> int:
    """Return how many frames plain zarr sees; some are read, through the codec's entry point."""
    if array[:5].shape[0] != 5:
        raise SystemExit("zarr reads other frames than were asked for")
    return int(array.shape[0])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4, help="episodes")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of an episode")
    parser.add_argument("--kind", default="camera", help="kind of pictures, see workload.py")
    parser.add_argument("--repeat", type=int, default=5, help="runs of waldo's export; the peers run once")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        dataset = record(folder / "dataset", args.episodes, args.seconds, args.kind)
        frames = sum(entry.count(name) for entry in dataset.episodes for name in entry.cameras)
        times = []
        for run in range(args.repeat + 1):
            timer = Timer()
            shutil.rmtree(folder / "waldo", ignore_errors=True)
            write_with_waldo(dataset, folder / "waldo", timer)
            times += [(timer.wall, timer.cpu)] if run else []
        figures = {"waldo export": tuple(median(column) for column in zip(*times, strict=True))}
        start = time.perf_counter(), cpu_s()
        command = [sys.executable, "-m", "waldo", "export", folder / "dataset", folder / "command"]
        subprocess.run(command, check=True, capture_output=True)
        figures["the same as a command"] = time.perf_counter() - start[0], cpu_s() - start[1]
        peers: dict[str, Callable[[Path, Timer], None]] = {
            "LeRobot streaming writer": lambda path, timer: write_with_lerobot(
                dataset, path, timer, streaming_encoding=True, encoder_queue_maxsize=1000
            ),
            "LeRobot default writer": lambda path, timer: write_with_lerobot(dataset, path, timer),
        }
        for name, write in peers.items():
            timer = Timer()
            write(folder / name.replace(" ", "-"), timer)
            figures[name] = timer.wall, timer.cpu
        same = compare(dataset, folder / "waldo")
        readers = open_everywhere(dataset, folder / "waldo")
        ours = figures["waldo export"]
        out().print(f"{args.episodes} episodes of {args.seconds:g} s, {frames} frames, pictures: {args.kind}\n")
        out().print("| | wall s | CPU s | wall, times waldo's | CPU, times waldo's |\n|---|---|---|---|---|")
        for name, (wall, cpu) in figures.items():
            out().print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall / ours[0]:.0f} | {cpu / ours[1]:.0f} |")
        out().print(f"\n{same} exported frames are the store's in every pixel; the store's video opens in {readers}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
