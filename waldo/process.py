"""Signals that ask a long-running process to exit: SIGINT, SIGTERM and SIGHUP set a flag that its loop reads."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def until_signaled() -> Callable[[], bool]:
    """Return a function that returns whether one of the signals was received; a second one kills the process."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return lambda: bool(received)
