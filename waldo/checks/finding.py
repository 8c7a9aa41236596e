"""The findings of `waldo doctor`, and probes that run Python code in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["OK", "WARN", "FAIL", "absent"]
"""FAIL: a part of waldo cannot work. WARN: it works, but not well. absent: not installed or connected, not an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's table."""

    check: str
    """The subject of the check."""
    state: State
    found: str
    """The result, in one line."""
    fix: str = ""
    """The suggested fix, in one line; empty if there is nothing to fix."""


Check = Callable[[], list[Finding]]
"""A check returns its findings within the doctor's time limit."""


def ok(check: str, found: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check=check, state="OK", found=found)


def warn(check: str, found: str, fix: str) -> Finding:
    """Return a warning."""
    return Finding(check=check, state="WARN", found=found, fix=fix)


def fail(check: str, found: str, fix: str) -> Finding:
    """Return an error."""
    return Finding(check=check, state="FAIL", found=found, fix=fix)


def absent(check: str, found: str) -> Finding:
    """Return that something is not installed or connected."""
    return Finding(check=check, state="absent", found=found)


def slow(check: str, trouble: str) -> Finding:
    """Return the warning for a probe that timed out, which a busy machine causes more often than a defect."""
    return warn(check, f"{trouble}: the machine is busy, or this part hangs", "run waldo doctor again when it is idle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of Python code run in a separate process, which may crash or hang."""

    returncode: int | None
    """None if the process timed out."""
    output: str
    trouble: str
    """Last line of standard error, such as an exception's message."""


def python_command(code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` in this Python."""
    return [sys.executable, "-c", code, *arguments]


def run_probe(code: str, *arguments: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> Probe:
    """Run Python `code` in a separate process for at most `timeout_s` [s]; `environment` extends the current one."""
    try:
        done = subprocess.run(
            python_command(code, *arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            env=os.environ | dict(environment or {}),
        )
    except subprocess.TimeoutExpired:
        return Probe(returncode=None, output="", trouble=f"no result after {timeout_s:.0f} s")
    return Probe(returncode=done.returncode, output=done.stdout.strip(), trouble=last_line(done.stderr))


def last_line(text: str) -> str:
    """Return the last line that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
