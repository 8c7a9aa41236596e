"""The end of long-running processes: SIGINT, SIGTERM and SIGHUP set a flag; a child ends with its parent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def until_signaled() -> Callable[[], bool]:
    """Return a function that returns whether one of the signals was received; a second one kills the process."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return lambda: bool(received)


def stop_with_parent() -> None:
    """Receive SIGTERM when the parent process ends (Linux only; elsewhere this process then continues)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
