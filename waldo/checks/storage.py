"""The disk of the dataset folder: the rate of synced writes, and the free space in minutes of recording."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from waldo.checks.finding import Finding, fail, ok, warn

RECORDING_BYTES_PER_S = 1.5e6
"""Data rate of a recording with three 640x480 cameras at 30 fps in H.264 [bytes/s]."""

WRITE_BYTES = 8 << 20
"""Amount of data that the check writes [bytes]."""

WRITES = 16
"""Number of writes; each is synced before the next, as in the recorder."""


def judge_speed(bytes_per_s: float, slowest_s: float, folder: str) -> Finding:
    """Judge the rate of synced writes and the slowest write of half a megabyte."""
    found = f"{folder}: {bytes_per_s / 1e6:.0f} MB/s synced, slowest write {slowest_s * 1e3:.0f} ms"
    fix = "record to a local SSD, not to a network share, SD card or USB stick"
    if bytes_per_s < 2 * RECORDING_BYTES_PER_S:
        return fail("disk speed", f"{found}; recording needs {RECORDING_BYTES_PER_S / 1e6:.1f} MB/s and a margin", fix)
    if bytes_per_s < 10 * RECORDING_BYTES_PER_S or slowest_s > 1.0:
        return warn("disk speed", f"{found}; bursts can fill the recorder's queue", fix)
    return ok("disk speed", found)


def judge_space(free: int, folder: str) -> Finding:
    """Judge the free space [bytes] in minutes of recording."""
    minutes = free / RECORDING_BYTES_PER_S / 60
    found = f"{folder}: {free / 1e9:.1f} GB free, about {minutes:.0f} minutes of recording with three cameras"
    if minutes < 10:
        return fail("disk space", found, "free some space or record to another folder")
    if minutes < 120:
        return warn("disk space", found, "free some space or record to another folder")
    return ok("disk space", found)


def judge_folder(folder: Path) -> Finding | None:
    """Return a finding if the folder cannot be written to, else None."""
    if not folder.is_dir():
        return fail("disk", f"{folder} is not a folder", f"mkdir -p {folder}, or choose another with --folder")
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder} is not writable by this user", "choose another folder with --folder")
    return None


def measure(folder: Path) -> tuple[float, float]:
    """Return the rate of synced writes to a folder [bytes/s] and the duration of the slowest write [s]."""
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
    """Write a few megabytes to the folder and check its free space."""
    folder = folder.expanduser().resolve()
    trouble = judge_folder(folder)
    if trouble:
        return [trouble]
    free = judge_space(shutil.disk_usage(folder).free, str(folder))
    try:
        speed, slowest = measure(folder)
    except OSError as error:
        return [
            fail("disk speed", f"{folder}: a write failed ({error.strerror})", "choose another folder with --folder"),
            free,
        ]
    return [judge_speed(speed, slowest, str(folder)), free]
