"""Data loss after a power cut: recording to a disk that loses, at a random time, all data that was not flushed.

sudo uv run python benchmarks/power_cut.py --instants 20

The disk is an ext4 file system in a file, mounted through a loop device. The power cut is EXT4_IOC_SHUTDOWN with
EXT4_GOING_FLAGS_NOLOGFLUSH (linux/fs/ext4/ext4.h): from then on nothing reaches the disk, not even the file system's
journal. Then the recorder is killed, the disk mounted again, and the dataset recovered and judged in a new process
as in benchmarks/kill.py. Mounting requires root.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import statistics
import struct
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from crash import Phase, Run, Session, Verdict, hashes, instant, judge, processes
from workload import Robot, Workload, free_folder, print_table

from waldo import console

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""

NO_LOG_FLUSH = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Cut the power at random times of recording sessions and report the losses."""

    instants: int = 20
    """Sessions of waldo's recorder."""
    peer_instants: int = 0
    """Sessions per peer."""
    peers: tuple[str, ...] = ("lerobot", "lerobot-stream")
    """Peers: lerobot, lerobot-stream."""
    saved: int = 5
    """Episodes that each session saves before the live one."""
    saved_s: float = 0.5
    """Duration of each [s]; recorded as fast as the recorder accepts data."""
    disk_mb: int = 1024
    """Size of the disk [MB]."""
    seed: int = 0
    """Seed of the times."""
    folder: Path | None = None
    """Folder for the disk image, deleted afterwards; a temporary folder by default."""
    robot: Robot = field(default_factory=Robot)
    """The recorded robot."""


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Create the file system."""
        self.image, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(megabytes * 2**20)
        _run("mkfs.ext4", "-q", "-F", str(self.image))

    @contextmanager
    def mounted(self) -> Generator[Path]:
        """Mount the file system for the duration of the block; mounting replays its journal, as after a power cut."""
        _run("mount", "-o", "loop", str(self.image), str(self.path))
        try:
            yield self.path
        finally:
            _unmount(self.path)

    def cut(self) -> None:
        """Cut the power: from here on nothing reaches the disk."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


def _unmount(path: Path) -> None:
    """Unmount, waiting until a killed process has released its files."""
    for _ in range(50):
        if subprocess.run(["umount", str(path)], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    _run("umount", "--lazy", str(path))


def once(context: Any, system: str, number: int, folder: Path, config: Config) -> tuple[str, Verdict]:
    """Run a session, cut the power and judge the result."""
    rng = random.Random(f"{config.seed} {number}")
    where, live_s, phase, episode, delay_s = instant(rng, number, config.saved)
    session = Session(system=system, saved=config.saved, saved_s=config.saved_s, live_s=live_s, robot=config.robot)
    disk = Disk(folder, config.disk_mb)
    root = disk.path / "dataset"
    with disk.mounted():
        run = Run(context, session, root, folder / "session.log")
        try:
            run.wait_for(Phase.RECORDING, config.saved)
            before = hashes(root, config.saved) if system == "waldo" else {}
            run.wait_for(phase, episode)
            time.sleep(delay_s)
            if run.ended:
                raise SystemExit(f"{system}: the recorder exited early with code {run.process.exitcode}")
            known = run.log.freeze()
            disk.cut()
        finally:
            run.kill()
    with disk.mounted():
        return where, judge(context, root, known, session, before)


def row(system: str, verdicts: list[tuple[str, Verdict]]) -> list[str]:
    """Return the table row of a system."""
    losses = [verdict.worst_s for _, verdict in verdicts]
    saved = sum(verdict.saved for _, verdict in verdicts)
    harmed = sum(min(verdict.saved, len(verdict.harmed)) for _, verdict in verdicts)
    wrong = sum(bool(verdict.problems) for _, verdict in verdicts)
    out = [system, str(len(verdicts)), f"{harmed} of {saved}", f"{max(losses):.2f}"]
    return [*out, f"{statistics.median(losses):.2f}", f"{statistics.mean(losses):.2f}", str(wrong)]


def main() -> None:
    """Cut the power of every session and print the table."""
    config = tyro.cli(Config, description=__doc__)
    if os.geteuid() != 0:
        raise SystemExit("power_cut.py mounts a disk image, which needs root: run it with sudo")
    systems = {"waldo": config.instants} | dict.fromkeys(config.peers, config.peer_instants)
    systems = {system: count for system, count in systems.items() if count}
    context = processes(["lerobot.datasets.lerobot_dataset"] if len(systems) > 1 else [])
    folder = free_folder("waldo-power-", config.folder)
    results: dict[str, list[tuple[str, Verdict]]] = {}
    try:
        with console.progress() as progress:
            bar = progress.add_task("cutting", total=sum(systems.values()), note="generating images")
            made = Workload(config.robot, frames=Session(robot=config.robot).frames).images
            for system, count in systems.items():
                for number in range(count):
                    progress.update(bar, note=f"{system}, {len(made)} cameras")
                    session_folder = folder / f"{system}-{number}"
                    session_folder.mkdir()
                    results.setdefault(system, []).append(once(context, system, number, session_folder, config))
                    shutil.rmtree(session_folder)
                    progress.advance(bar)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    columns = ["recorder", "power cuts", "saved episodes harmed", "worst loss s", "median s", "mean s", "wrong"]
    notes = [
        f"{system} ({where}): {text}"
        for system, found in results.items()
        for where, verdict in found
        for text in (*verdict.problems, *verdict.harmed)
    ]
    title = f"Power cuts at random instants of a session with {config.saved} saved episodes"
    print_table(title, columns, [row(system, found) for system, found in results.items()], notes[:20])
    if any(verdict.harmed or verdict.problems for _, verdict in results.get("waldo", [])):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
