"""Long-running processes: how they end, and `waldo` commands as children on a ROS graph of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from waldo.errors import WaldoError

STOP_S = 20.0
"""Time for a process to end before it is killed [s]."""

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
M_ARENA_MAX = -8
"""From malloc.h of glibc."""


def until_signaled() -> Callable[[], bool]:
    """Return a function that returns whether one of the signals was received; a second one kills the process."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return lambda: bool(received)


def stop_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Receive a signal when the parent process ends (Linux only; elsewhere this process then continues)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def limit_arenas() -> None:
    """Let all threads allocate from two arenas (glibc only); a MALLOC_ARENA_MAX of the environment takes precedence.

    By default each thread that encodes images has an arena of its own, which keeps the memory of its largest episode:
    after ten minutes of recording that was twice what is in use. Call it before there are other threads.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        import ctypes

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


class ProcessError(WaldoError):
    """A child process exited or made no progress."""

    exit_code = 3

    def __init__(self, name: str, code: int | None, log: Path) -> None:
        """Build the message from the process's name, its exit code (None if it hangs) and its log file."""
        lines = log.read_text(errors="replace").strip().splitlines()
        how = "makes no progress" if code is None else f"exited with code {code}"
        last = f"its last output is {lines[-1]!r}" if lines else "it printed nothing"
        super().__init__(f"the {name} {how}; {last} (log: {log})")


def own_graph() -> dict[str, str]:
    """Return the environment variables of a ROS graph of this process and its children."""
    return {
        # Visible on this machine only, so that robots on the network are not affected.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "OMP_NUM_THREADS": "1",
        "LP_NUM_THREADS": "0",
    }


@contextmanager
def waldo_processes(
    commands: Mapping[str, Sequence[str]], logs: Path, stop_order: Sequence[str]
) -> Generator[dict[str, subprocess.Popen[bytes]]]:
    """Run `waldo` commands on their own graph.

    Args:
        commands: Name -> arguments of the command.
        logs: Folder for their output, `NAME.log`.
        stop_order: Names in the order in which they are stopped at the end.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, words in commands.items():
            with (logs / f"{name}.log").open("ab") as log:
                # In its own session, so that Ctrl-C reaches only this process, which stops the others in order.
                running[name] = subprocess.Popen(
                    [sys.executable, "-m", "waldo", *words],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **own_graph()},
                    start_new_session=True,
                )
        yield running
    finally:
        for name in stop_order:
            if name in running:
                _stop(running[name])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it does not exit."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
