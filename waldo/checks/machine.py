"""The machine itself: clock, processors, memory, graphics card."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from waldo.checks.finding import Finding, absent, fail, ok, run_probe, warn
from waldo.checks.software import installed

STA_UNSYNC = 0x40
"""Flag of the kernel's clock, adjtimex(2): nobody keeps it right."""

CLOCK_MEND = "sudo timedatectl set-ntp true  (or install chrony), on every machine of the robot's network"


def judge_clock(synchronised: bool | None, jump_s: float) -> Finding:
    """Judge whether the clock is kept right (None: the system does not say) and how it jumped while it was watched."""
    if abs(jump_s) > 0.005:
        return warn(
            "clock",
            f"time of day jumped by {jump_s * 1e3:.0f} ms while it was watched: stamps will jump too",
            "let the time service finish setting the clock before recording; " + CLOCK_MEND,
        )
    if synchronised is None:
        return absent("clock", "the system does not say whether time of day is synchronised; it did not jump")
    if not synchronised:
        return warn("clock", "time of day is not synchronised: stamps of two machines will not agree", CLOCK_MEND)
    return ok("clock", "time of day is synchronised and did not jump")


def kernel_synchronised() -> bool | None:
    """Return whether the kernel holds its clock to be kept right; None where it cannot be asked."""
    if sys.platform != "linux":
        return None
    timex = ctypes.create_string_buffer(512)  # struct timex, larger than on any architecture; modes = 0 only reads
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return None
    # modes (int, padded to a long), then offset, freq, maxerror, esterror (longs), then status (int)
    status = ctypes.c_int.from_buffer(timex, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & STA_UNSYNC


def clock_jump_s(watch_s: float = 1.0) -> float:
    """Return by how much time of day moved against the monotonic clock within `watch_s` [s]."""

    def difference() -> float:
        return (time.time_ns() - time.monotonic_ns()) / 1e9

    before = difference()
    time.sleep(watch_s)
    return difference() - before


def judge_processors(count: int, governor: str, driver: str) -> Finding:
    """Judge the processors this process may use and how their clock is governed (empty where that is not told)."""
    found = f"{count} processors" + (f", governor {governor} ({driver})" if governor else "")
    if count < 2:
        return warn(
            "processors", found, "record on a machine with two processors or more: video is encoded beside control"
        )
    # The *_pstate drivers name their adaptive mode "powersave" too; with the others it pins the lowest frequency.
    if governor == "powersave" and "pstate" not in driver:
        return warn(
            "processors", f"{found}: held at their lowest frequency", "sudo cpupower frequency-set -g performance"
        )
    return ok("processors", found)


def judge_memory(available: int) -> Finding:
    """Judge the memory that can still be had [bytes]."""
    found = f"{available / 1e9:.1f} GB available"
    if available < 1e9:
        return fail("memory", found, "close other programs; recording needs 1 GB, training far more")
    if available < 4e9:
        return warn("memory", found, "close other programs before training; recording has enough")
    return ok("memory", found)


def judge_gpu(names: str | None, torch_installed: bool, torch_sees: str | None, trouble: str = "") -> Finding:
    """Judge the graphics card: what nvidia-smi lists (None: nothing) and the device that torch sees (None: none)."""
    if names is None:
        return absent("GPU", "no NVIDIA driver here; training and planning run on the processor")
    if not torch_installed:
        return ok("GPU", f"{names} (torch is not installed; it comes with the extra `train`)")
    if torch_sees is None:
        return warn(
            "GPU",
            f"{names}, but torch does not see it{f' ({trouble})' if trouble else ''}",
            "uv pip install --reinstall torch from the index for your driver: https://pytorch.org/get-started/locally",
        )
    return ok("GPU", f"{names}; torch uses {torch_sees}")


def check_clock() -> list[Finding]:
    """Watch the clock for a second."""
    return [judge_clock(kernel_synchronised(), clock_jump_s())]


def check_machine() -> list[Finding]:
    """Look at the processors and the memory."""
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    governor, driver = _read(folder / "scaling_governor"), _read(folder / "scaling_driver")
    findings = [judge_processors(len(os.sched_getaffinity(0)), governor, driver)]
    cgroup = Path("/sys/fs/cgroup")
    available = available_memory(
        _read(Path("/proc/meminfo")), _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    )
    return [*findings, absent("memory", "the system does not say") if available is None else judge_memory(available)]


def available_memory(meminfo: str, cgroup_limit: str, cgroup_used: str) -> int | None:
    """Return the memory that can still be had [bytes], no more than the container's limit leaves."""
    lines = [line.split() for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    if not lines:
        return None
    available = int(lines[0][1]) * 1024
    if not (cgroup_limit.isdigit() and cgroup_used.isdigit()):
        return available
    return min(available, max(0, int(cgroup_limit) - int(cgroup_used)))


def check_gpu() -> list[Finding]:
    """Look for an NVIDIA card, and whether torch can use it."""
    names = list_gpus()
    has_torch = installed("torch")
    if names is None or not has_torch:
        return [judge_gpu(names, has_torch, None)]
    code = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"
    probe = run_probe(code, timeout_s=13)
    return [judge_gpu(names, True, probe.output or None, probe.trouble)]


def list_gpus() -> str | None:
    """Return the names of the NVIDIA cards; None for none."""
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=8,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return "; ".join(names) if done.returncode == 0 and names else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
