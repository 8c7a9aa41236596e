"""How a long-running process is asked to end: SIGINT and SIGTERM become a flag that its loop reads."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def until_signalled() -> Callable[[], bool]:
    """Return a function that says whether SIGINT or SIGTERM has come; a second signal ends the process at once."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return lambda: bool(came)
