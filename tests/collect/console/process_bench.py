"""Programs of waldo, started for a test and ended after it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WALDO = (sys.executable, "-m", "waldo")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a program with a log of its output; all are ended after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: str, log: Path | None = None) -> subprocess.Popen[bytes]:
            output = stack.enter_context((log or tmp_path / f"{args[0]}.log").open("ab"))
            process = subprocess.Popen([*WALDO, *args], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            stack.callback(end, process)
            return process

        yield start


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(120)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def address(log: Path) -> str:
    found: list[re.Match[str]] = []
    until(lambda: log.exists() and found.extend(re.finditer(r"http://\S+", log.read_text())) is None and found)
    return found[0].group()
