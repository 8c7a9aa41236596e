"""What a check of `waldo doctor` finds, and how a check tries something in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["OK", "WARN", "FAIL", "absent"]
"""FAIL: something of waldo cannot work here. WARN: it works worse than it could. absent: not here, and that is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's table."""

    check: str
    """What was looked at."""
    state: State
    found: str
    """What was found, in one line."""
    mend: str = ""
    """What to do about it, in one line; empty where nothing needs doing."""


Check = Callable[[], list[Finding]]
"""A check looks and returns what it found; it takes no longer than the doctor's time limit."""


def ok(check: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, state="OK", found=found)


def warn(check: str, found: str, mend: str) -> Finding:
    """Return that something works worse than it could."""
    return Finding(check=check, state="WARN", found=found, mend=mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """Return that something cannot work."""
    return Finding(check=check, state="FAIL", found=found, mend=mend)


def absent(check: str, found: str) -> Finding:
    """Return that something is not here, which is no fault."""
    return Finding(check=check, state="absent", found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How a piece of Python ended in a process of its own, where it may crash or hang without harm."""

    returncode: int | None
    """None for one that did not end in time."""
    output: str
    trouble: str
    """Last line of its standard error; what an exception says."""


def python_command(code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` in this Python."""
    return [sys.executable, "-c", code, *arguments]


def run_probe(code: str, *arguments: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> Probe:
    """Run Python `code` in a process of its own for at most `timeout_s` [s]; `environment` is added to this one's."""
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
        return Probe(returncode=None, output="", trouble=f"no answer in {timeout_s:.0f} s")
    return Probe(returncode=done.returncode, output=done.stdout.strip(), trouble=last_line(done.stderr))


def last_line(text: str) -> str:
    """Return the last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
