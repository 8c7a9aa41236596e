"""Cost of recording: the same rows and frames, in real time, through waldo's store and through other recorders.

uv run python benchmarks/recording.py --minutes 10 --systems waldo
uv run python benchmarks/recording.py --minutes 0.5

Images are generated beforehand, and each recorder runs in its own process, so the CPU time is that of the recorder. The
cost of feeding it is measured with a recorder that discards everything, and subtracted. A recorder that is late loses
the messages that a subscription with its queue depth would lose. Frames are read back and identified by the number
drawn into them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from sinks import make
from stored_frames import stored
from workload import KINDS, Image, Robot, Workload, free_folder, print_table, psnr_db, read_number, wait_until

from waldo import console

SAMPLES = 60
"""Frames per camera that are measured for quality."""

JPEG_QUALITIES = range(30, 100, 5)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Record in real time and compare CPU, bytes, quality and loss."""

    minutes: float = 0.5
    """Duration of each recording [min]."""
    systems: tuple[str, ...] = ("waldo", "lerobot", "lerobot-stream", "mcap:95", "mcap:75", "hdf5-jpeg:95", "hdf5-raw")
    """Recorders: waldo:CRF, lerobot, lerobot-stream, mcap:QUALITY, hdf5-jpeg:QUALITY, hdf5-raw. The first is 1.0."""
    kind: str = "camera"
    """Kind of images: render, camera, dim or photo."""
    frames: int = 150
    """Distinct images per camera, shown forward and backward."""
    cores: int = 2
    """Cores available to a recorder."""
    folder: Path | None = None
    """Folder for the recordings, deleted afterwards; a temporary folder by default."""
    robot: Robot = field(default_factory=Robot)
    """The recorded robot."""


def record(system: str, root: Path, config: Config) -> dict[str, Any]:
    """Feed one recorder in real time and return its costs. Runs in its own process."""
    work = Workload(config.robot, kind=config.kind, frames=config.frames)
    touched = max(int(images.max()) for images in work.images.values())  # maps every page before the clock starts
    sink = make(system, root, work)
    sink.begin()
    lost = dict.fromkeys(config.robot.rates, 0)
    queue, held_s, before = 0, 0.0, cpu_s()
    start, start_ns = time.monotonic() + 0.05, time.time_ns()
    for due_s, stream, number in config.robot.schedule(config.minutes * 60):
        wait_until(start + due_s)
        called = time.monotonic()
        if called - start - due_s > sink.depth / config.robot.rates[stream]:
            lost[stream] += 1
            continue
        stamp_ns = config.robot.stamp_ns(start_ns, stream, number)
        if stream in config.robot.camera_names:
            sink.frame(stream, number, stamp_ns)
            queue = max(queue, sink.waiting())
        else:
            sink.row(stream, number, stamp_ns)
        held_s = max(held_s, time.monotonic() - called)
    recorded, middle = time.monotonic(), cpu_s()
    sink.save()
    sink.finish()
    return {
        "cpu_s": cpu_s() - before,
        "live_cpu_s": middle - before,
        "save_s": time.monotonic() - recorded,
        "queue": queue,
        "held_ms": held_s * 1e3,
        "lost": lost,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "touched": touched,
    }


def cpu_s() -> float:
    """Return the CPU time of this process and its finished children [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def quality(system: str, root: Path, config: Config) -> tuple[float, float, int]:
    """Return the mean and the lowest PSNR of the sampled frames [dB] and the number of missing frames."""
    work = Workload(config.robot, kind=config.kind, frames=config.frames)
    expected = round(config.minutes * 60 * config.robot.fps)
    step = max(1, expected // SAMPLES)
    errors: list[float] = []
    missing = 0
    for camera in config.robot.camera_names:
        count = 0
        for image in stored(system, root, camera):
            if count % step == 0 and (number := read_number(image)) >= 0:
                errors.append(10 ** (-psnr_db(image, work.images[camera][number]) / 10))
            count += 1
        missing += expected - count
    return float(-10 * np.log10(np.mean(errors))), float(-10 * np.log10(max(errors))), missing


def jpeg_curve(images: dict[str, Image]) -> tuple[list[float], list[float]]:
    """Return the PSNR [dB] and bytes per frame of JPEG (4:2:0) at JPEG_QUALITIES, for some images of every camera."""
    sample = [image for stack in images.values() for image in stack[:: max(1, len(stack) // SAMPLES)]]
    levels: list[float] = []
    sizes: list[float] = []
    for quality in JPEG_QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        files = [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1] for image in sample]
        shown = (np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB), np.uint8) for file in files)
        errors = [10 ** (-psnr_db(image, again) / 10) for image, again in zip(sample, shown, strict=True)]
        levels.append(float(-10 * np.log10(np.mean(errors))))
        sizes.append(sum(map(len, files)) / len(files))
    return levels, sizes


def measure(system: str, folder: Path, config: Config) -> dict[str, Any]:
    """Run one recorder in its own process and read its recording back."""
    root = folder / system.replace(":", "-")
    words = [sys.executable, __file__, "--one", system, str(root), json.dumps(asdict(config), default=str)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system} failed:\n{done.stderr[-3000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    if root.exists():
        result["nbytes"] = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        result["psnr"], result["worst_psnr"], result["lost_frames"] = quality(system, root, config)
        shutil.rmtree(root)
    return result


def one(words: list[str]) -> None:
    """Record with one system and print the result as JSON; the child process of `measure`."""
    system, root, text = words
    data: dict[str, Any] = json.loads(text)
    data |= {"robot": Robot(**data["robot"]), "folder": None, "systems": ()}
    config = Config(**data)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.cores])
    print(json.dumps(record(system, Path(root), config)))


def table(
    results: dict[str, dict[str, Any]], idle_cpu_s: float, config: Config, jpeg: tuple[list[float], list[float]]
) -> list[list[str]]:
    """Return the table rows."""
    seconds = config.minutes * 60
    frames = round(seconds * config.robot.fps) * config.robot.cameras
    rows: list[list[str]] = []
    unit = (1.0, 1.0)
    for system, result in results.items():
        rows_lost = sum(result["lost"][name] for name in ("joints/state", "motors"))
        kept = max(1, frames - result["lost_frames"])
        cpu = result["cpu_s"] - idle_cpu_s
        if not rows:
            unit = cpu / kept, result["nbytes"] / kept
        row = [system, f"{cpu / seconds:.3f}", f"{cpu / kept * 1e3:.2f}", f"{cpu / kept / unit[0]:.1f}"]
        row += [f"{result['nbytes'] / seconds / 1e6:.2f}", f"{result['nbytes'] / kept / 1e3:.1f}"]
        row += [f"{result['nbytes'] / kept / unit[1]:.2f}", _decibels(result)]
        inside = jpeg[0][0] <= result["psnr"] <= jpeg[0][-1]
        same = float(np.exp(np.interp(result["psnr"], jpeg[0], np.log(jpeg[1]))))
        row += [f"{result['nbytes'] / kept / same:.2f}" if inside else "-", str(result["lost_frames"])]
        row += [str(rows_lost), str(result["queue"]), f"{result['held_ms']:.0f}", f"{result['save_s']:.2f}"]
        rows.append([*row, f"{result['memory_mb']:.0f}"])
    return rows


def _decibels(result: dict[str, Any]) -> str:
    """Return the mean and the lowest PSNR as text."""
    return "lossless" if result["worst_psnr"] > 100 else f"{result['psnr']:.1f} ({result['worst_psnr']:.1f})"


def main() -> None:
    """Run the recorders one after another and print the table."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
        return
    config = tyro.cli(Config, description=__doc__)
    if config.kind not in KINDS:
        raise SystemExit(f"unknown kind {config.kind!r} (known: {', '.join(KINDS)})")
    folder = free_folder("waldo-recording-", config.folder)
    results: dict[str, dict[str, Any]] = {}
    try:
        with console.progress() as progress:
            bar = progress.add_task("recording", total=1 + len(config.systems), note="generating images")
            made = Workload(config.robot, kind=config.kind, frames=config.frames).images
            for system in ("none", *config.systems):
                progress.update(bar, note=system)
                results[system] = measure(system, folder, config)
                progress.advance(bar)
    finally:
        shutil.rmtree(folder)
    idle = results.pop("none")["cpu_s"]
    robot = config.robot
    columns = ["recorder", "CPU s/s", "ms/frame", "x", "MB/s", "kB/frame", "x", "PSNR dB (worst)"]
    columns += ["/ JPEG", "frames lost", "rows lost"]
    columns += ["queue", "held ms", "save s", "memory MB"]
    title = (
        f"{len(made)} cameras {robot.width}x{robot.height}@{robot.fps} + {robot.joints} joints@{robot.joint_hz} Hz + "
        f"motors@{robot.motor_hz} Hz, {config.minutes:g} min, {config.cores} cores"
    )
    notes = [
        f"CPU: all processes of the recorder, including saving, per recorded second, without the "
        f"{idle / config.minutes / 60:.3f} s/s for feeding. ms/frame and kB/frame are per stored frame. queue: longest "
        "queue of frames; held: longest call for one row or frame; memory includes the images, which are shared.",
        "/ JPEG: bytes relative to JPEG (4:2:0) at the same PSNR for these images.",
        f"LeRobot stores {robot.fps} rows per second, joints only; the others {robot.joint_hz} rows and the motors.",
    ]
    print_table(title, columns, table(results, idle, config, jpeg_curve(made)), notes)


if __name__ == "__main__":
    main()
