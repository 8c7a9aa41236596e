"""The machine: clock, processors, memory and GPU."""

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
"""Status flag of adjtimex(2): the clock is not synchronized."""

CLOCK_FIX = "sudo timedatectl set-ntp true  (or install chrony), on every machine of the robot's network"


def judge_clock(synchronized: bool | None, jump_s: float) -> Finding:
    """Judge whether the clock is synchronized (None: unknown) and the step seen while it was watched [s]."""
    if abs(jump_s) > 0.005:
        return warn(
            "clock",
            f"the clock jumped by {jump_s * 1e3:.0f} ms during the check: timestamps would jump too",
            "wait until the time service has set the clock; " + CLOCK_FIX,
        )
    if synchronized is None:
        return absent("clock", "unknown whether the clock is synchronized; it did not jump")
    if not synchronized:
        return warn("clock", "the clock is not synchronized: timestamps of two machines will not agree", CLOCK_FIX)
    return ok("clock", "the clock is synchronized and did not jump")


def kernel_synchronized() -> bool | None:
    """Return whether the kernel considers its clock synchronized; None if it cannot be queried."""
    if sys.platform != "linux":
        return None
    timex = ctypes.create_string_buffer(512)  # larger than struct timex on any architecture; modes = 0 only reads
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return None
    # modes (int, padded to a long), then offset, freq, maxerror, esterror (longs), then status (int)
    status = ctypes.c_int.from_buffer(timex, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & STA_UNSYNC


def clock_jump_s(watch_s: float = 1.0) -> float:
    """Return by how much the system clock moved relative to the monotonic clock within `watch_s` [s]."""

    def difference() -> float:
        return (time.time_ns() - time.monotonic_ns()) / 1e9

    before = difference()
    time.sleep(watch_s)
    return difference() - before


def judge_processors(count: int, governor: str, driver: str) -> Finding:
    """Judge the number of usable processors and their frequency governor (empty if unknown)."""
    found = f"{count} processors" + (f", governor {governor} ({driver})" if governor else "")
    if count < 2:
        return warn(
            "processors",
            found,
            "record on a machine with at least two processors: video is encoded in parallel with control",
        )
    # With the *_pstate drivers "powersave" is adaptive; with all others it is the lowest frequency.
    if governor == "powersave" and "pstate" not in driver:
        return warn(
            "processors", f"{found}: fixed at the lowest frequency", "sudo cpupower frequency-set -g performance"
        )
    return ok("processors", found)


def judge_memory(available: int) -> Finding:
    """Judge the available memory [bytes]."""
    found = f"{available / 1e9:.1f} GB available"
    if available < 1e9:
        return fail("memory", found, "close other programs; recording needs 1 GB, training much more")
    if available < 4e9:
        return warn("memory", found, "close other programs before training; it is enough for recording")
    return ok("memory", found)


def judge_gpu(names: str | None, torch_installed: bool, torch_sees: str | None, trouble: str = "") -> Finding:
    """Judge the GPUs that nvidia-smi lists (None: none) and the device that torch finds (None: none)."""
    if names is None:
        return absent("GPU", "no NVIDIA driver; training and planning run on the CPU")
    if not torch_installed:
        return ok("GPU", f"{names} (torch is not installed; install the extra `train`)")
    if torch_sees is None:
        return warn(
            "GPU",
            f"{names}, but torch does not find it{f' ({trouble})' if trouble else ''}",
            "reinstall torch for this driver version: https://pytorch.org/get-started/locally",
        )
    return ok("GPU", f"{names}; torch uses {torch_sees}")


def check_clock() -> list[Finding]:
    """Watch the clock for one second."""
    return [judge_clock(kernel_synchronized(), clock_jump_s())]


def check_machine() -> list[Finding]:
    """Check the processors and the memory."""
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    governor, driver = _read(folder / "scaling_governor"), _read(folder / "scaling_driver")
    findings = [judge_processors(len(os.sched_getaffinity(0)), governor, driver)]
    cgroup = Path("/sys/fs/cgroup")
    available = available_memory(
        _read(Path("/proc/meminfo")), _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    )
    return [
        *findings,
        absent("memory", "available memory is unknown") if available is None else judge_memory(available),
    ]


def available_memory(meminfo: str, cgroup_limit: str, cgroup_used: str) -> int | None:
    """Return the available memory within the container's limit [bytes]."""
    lines = [line.split() for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    if not lines:
        return None
    available = int(lines[0][1]) * 1024
    if not (cgroup_limit.isdigit() and cgroup_used.isdigit()):
        return available
    return min(available, max(0, int(cgroup_limit) - int(cgroup_used)))


def check_gpu() -> list[Finding]:
    """List NVIDIA GPUs and check whether torch can use them."""
    names = list_gpus()
    has_torch = installed("torch")
    if names is None or not has_torch:
        return [judge_gpu(names, has_torch, None)]
    code = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"
    probe = run_probe(code, timeout_s=13)
    return [judge_gpu(names, True, probe.output or None, probe.trouble)]


def list_gpus() -> str | None:
    """Return the names of the NVIDIA GPUs, or None."""
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
