"""The disk under the dataset folder: how fast data is safe on it, and how many minutes of recording it holds."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from waldo.checks.finding import Finding, fail, ok, warn

RECORDING_BYTES_PER_S = 1.5e6
"""What a recording session writes: three 640x480 cameras at 30 fps in H.264, and the joints [bytes/s]."""

WRITE_BYTES = 8 << 20
"""What the check writes [bytes]."""

WRITES = 16
"""In how many pieces, each made safe before the next, as the recorder does."""


def judge_speed(bytes_per_s: float, slowest_s: float, folder: str) -> Finding:
    """Judge how fast data was safe on the disk, and the slowest piece of half a megabyte."""
    found = f"{folder}: {bytes_per_s / 1e6:.0f} MB/s made safe, slowest write {slowest_s * 1e3:.0f} ms"
    mend = "record onto an SSD of this machine, not a network share, an SD card or a USB stick"
    if bytes_per_s < 2 * RECORDING_BYTES_PER_S:
        return fail("disk speed", f"{found}; recording needs {RECORDING_BYTES_PER_S / 1e6:.1f} MB/s and room", mend)
    if bytes_per_s < 10 * RECORDING_BYTES_PER_S or slowest_s > 1.0:
        return warn("disk speed", f"{found}; a burst can fill the recorder's queue", mend)
    return ok("disk speed", found)


def judge_space(free: int, folder: str) -> Finding:
    """Judge the free space [bytes] in minutes of recording."""
    minutes = free / RECORDING_BYTES_PER_S / 60
    found = f"{folder}: {free / 1e9:.1f} GB free, about {minutes:.0f} minutes of three cameras"
    if minutes < 10:
        return fail("disk space", found, "free some space, or record into another folder")
    if minutes < 120:
        return warn("disk space", found, "free some space, or record into another folder")
    return ok("disk space", found)


def judge_folder(folder: Path) -> Finding | None:
    """Judge whether the folder can be written to; None if so."""
    if not folder.is_dir():
        return fail("disk", f"{folder} is no folder", f"mkdir -p {folder}, or name another with --folder")
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder} may not be written by this user", "name another folder with --folder")
    return None


def measure(folder: Path) -> tuple[float, float]:
    """Return how fast data is made safe in a folder [bytes/s] and the slowest piece [s]."""
    piece = os.urandom(WRITE_BYTES // WRITES)
    slowest = 0.0
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".waldo-doctor-") as file:
        start = time.perf_counter()
        for _ in range(WRITES):
            before = time.perf_counter()
            file.write(piece)
            file.flush()
            os.fdatasync(file.fileno())
            slowest = max(slowest, time.perf_counter() - before)
        return WRITE_BYTES / (time.perf_counter() - start), slowest


def check_disk(folder: Path) -> list[Finding]:
    """Write a few megabytes into the folder and look at what is free."""
    folder = folder.expanduser().resolve()
    trouble = judge_folder(folder)
    if trouble:
        return [trouble]
    free = judge_space(shutil.disk_usage(folder).free, str(folder))
    try:
        speed, slowest = measure(folder)
    except OSError as error:
        return [fail("disk speed", f"{folder}: a write failed ({error.strerror})", "name another --folder"), free]
    return [judge_speed(speed, slowest, str(folder)), free]
