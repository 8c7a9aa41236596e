"""Export to LeRobot v3.0: copying recorded bytes with waldo compared with LeRobot's own writers, on the same episodes.

Usage: uv run python benchmarks/export.py [--episodes 4] [--seconds 20] [--kind camera] [--repeat 5]

The dataset is that of the recording benchmark (three cameras 640x480 at 30 Hz, 29 joints at 200 Hz, motors at 10 Hz)
with commands. LeRobot's writers receive the same rows and decoded frames; the decoding time is not counted. Afterwards
every frame of waldo's export is compared with the recording, and the recorded video is opened with several readers.
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
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.lerobot.layout import LEROBOT_VERSION, number_feature
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.schema import CAMERA_PREFIX, COMMAND, STATE, feature_key, joint_stream

START_NS = 1_700_000_000_000_000_000


def record(root: Path, episodes: int, seconds: float, kind: str) -> Dataset:
    """Record the dataset to export."""
    robot = Robot()
    work = Workload(robot, kind=kind, frames=150)
    command = joint_stream(COMMAND, 200.0, robot.joint_names)
    dataset = Dataset.create(root, robot="bench")
    with dataset.lock():
        for episode in range(episodes):
            streams = [*robot.streams(), command]
            writer = dataset.begin(streams, {"task": "lift the cube"}, back_pressure="wait")
            for _, stream, number in robot.schedule(seconds):
                at = robot.stamp_ns(START_NS + episode * 10**12, stream, number)
                kw: Any = {"header_ns": at, "receipt_ns": at, "sequence": number + 1}
                if stream.startswith(CAMERA_PREFIX):
                    writer.frame(stream, image=work.image(stream, number + 7 * episode), **kw)
                    continue
                writer.row(stream, values=work.row(stream, number), **kw)
                if stream == STATE:
                    writer.row(COMMAND, values={"position": work.row(stream, number + 2)["position"]}, **kw)
            writer.save("success")
    return dataset


def cpu_s() -> float:
    """Return the CPU time of this process and its finished children [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Timer:
    """Accumulate wall and CPU time of `with` blocks."""

    def __init__(self) -> None:
        """Start at zero."""
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        """Start a block."""
        self._start = time.perf_counter(), cpu_s()

    def __exit__(self, *_: object) -> None:
        """Add the time of the block."""
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += cpu_s() - self._start[1]


def write_with_waldo(dataset: Dataset, folder: Path, timer: Timer) -> None:
    """Export with waldo."""
    with timer:
        export_dataset(dataset, folder, LeRobotConfig())


def write_with_lerobot(dataset: Dataset, folder: Path, timer: Timer, **options: Any) -> None:
    """Write the same rows and frames through LeRobot's `add_frame` and `save_episode`."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    first = dataset.episodes[0]
    config = RowConfig()
    columns = make_rows(first, config).columns
    features: dict[str, Any] = {key: number_feature(one.names, one.values.dtype) for key, one in columns.items()}
    for name, stream in first.cameras.items():
        shape = (stream.height, stream.width, 3)
        features[feature_key(name)] = {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    with timer:
        target = LeRobotDataset.create("local/peer", fps=30, features=features, root=folder, use_videos=True, **options)
    for episode in dataset.episodes:
        rows = make_rows(episode, config)
        frames = {name: episode.frames(name, rows.frames[name]) for name in first.cameras}
        with timer:
            for i in range(len(rows)):
                row: dict[str, Any] = {key: column.values[i] for key, column in rows.columns.items()}
                row |= {feature_key(name): frames[name][i] for name in first.cameras}
                target.add_frame({**row, "task": episode.task})
            target.save_episode()
    with timer:
        target.finalize()


def compare(dataset: Dataset, folder: Path) -> int:
    """Compare every decoded frame of an export with the recording, exactly; return the number of frames."""
    import av

    same = 0
    for camera in dataset.episodes[0].cameras:
        files = sorted((folder / "videos" / feature_key(camera)).rglob("*.mp4"))
        shown = (frame for path in files for frame in av.open(str(path)).decode(video=0))
        for episode in dataset.episodes:
            with av.open(str(episode.video_path(camera))) as stored:
                for frame in stored.decode(video=0):
                    if not np.array_equal(frame.to_ndarray(), next(shown).to_ndarray()):
                        raise SystemExit(f"{camera}: a frame of the export differs from the recording")
                    same += 1
        if next(shown, None) is not None:
            raise SystemExit(f"{camera}: the export has more frames than the recording")
    return same


def open_everywhere(dataset: Dataset, folder: Path) -> str:
    """Open the recorded video with several readers; return their names."""
    import av
    import zarr
    from lerobot.datasets import LeRobotDataset
    from torchcodec.decoders import VideoDecoder

    episode = dataset.episodes[0]
    camera = next(iter(episode.cameras))
    path, count = episode.video_path(camera), episode.count(camera)
    probed = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)],
            check=True,
            capture_output=True,
        ).stdout
    )
    counts = {
        "zarr": _frames_in_zarr(zarr.open_group(str(episode.path), mode="r")[episode.frames_path(camera)]),
        "ffprobe": int(probed["streams"][0]["nb_read_frames"]),
        "PyAV": sum(1 for _ in av.open(str(path)).decode(video=0)),
        "torchcodec": len(VideoDecoder(str(path))),
        "LeRobotDataset": int(cast("Any", LeRobotDataset("local/x", root=folder).meta.episodes)["length"][0]),
    }
    if set(counts.values()) != {count}:
        raise SystemExit(f"the recording has {count} frames, the readers find {counts}")
    return ", ".join(counts)


def _frames_in_zarr(array: Any) -> int:
    """Return the number of frames that zarr finds; some are read through the codec's entry point."""
    if array[:5].shape[0] != 5:
        raise SystemExit("zarr does not return the requested frames")
    return int(array.shape[0])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4, help="number of episodes")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of an episode")
    parser.add_argument("--kind", default="camera", help="kind of images, see workload.py")
    parser.add_argument("--repeat", type=int, default=5, help="runs of waldo's export; the others run once")
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
        figures["waldo export as a command"] = time.perf_counter() - start[0], cpu_s() - start[1]
        peers: dict[str, Callable[[Path, Timer], None]] = {
            f"LeRobot {LEROBOT_VERSION} streaming writer": lambda path, timer: write_with_lerobot(
                dataset, path, timer, streaming_encoding=True, encoder_queue_maxsize=1000
            ),
            f"LeRobot {LEROBOT_VERSION} default writer": lambda path, timer: write_with_lerobot(dataset, path, timer),
        }
        for name, write in peers.items():
            timer = Timer()
            write(folder / name.replace(" ", "-"), timer)
            figures[name] = timer.wall, timer.cpu
        same = compare(dataset, folder / "waldo")
        readers = open_everywhere(dataset, folder / "waldo")
        ours = figures["waldo export"]
        out().print(f"{args.episodes} episodes of {args.seconds:g} s, {frames} frames, images: {args.kind}\n")
        out().print("| | wall s | CPU s | wall / waldo | CPU / waldo |\n|---|---|---|---|---|")
        for name, (wall, cpu) in figures.items():
            out().print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall / ours[0]:.0f} | {cpu / ours[1]:.0f} |")
        out().print(
            f"\n{same} exported frames equal the recorded ones in every pixel; the recorded video opens in {readers}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
