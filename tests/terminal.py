"""A program in a pseudo-terminal of 80x24, and the screen that its operator sees."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

COLUMNS, LINES = 80, 24

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Control sequences of a terminal."""


class Terminal:
    """A program whose standard streams are a terminal."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start a program."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._bytes = bytearray()
        self.process = subprocess.Popen(
            args,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **(env or {}), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO when the program has exited
            while data := os.read(self._master, 65536):
                with self._lock:
                    self._bytes += data
                    self._stream.feed(data)

    @property
    def screen(self) -> list[str]:
        """The visible lines."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def printed(self) -> str:
        """Everything that was printed, without control sequences, and with single spaces."""
        with self._lock:
            text = self._bytes.decode(errors="replace")
        return " ".join(ESCAPES.sub("", text).split())

    def background(self, line: int) -> str:
        """Return the background color of a visible line's first cell, as pyte names it."""
        with self._lock:
            return self._screen.buffer[line][0].bg

    @property
    def bells(self) -> int:
        """How often the bell was rung."""
        with self._lock:
            return self._bytes.count(b"\a")

    def shows(self, text: str) -> bool:
        """Return whether a text is visible; spaces are ignored, since a wrapped line ends anywhere."""
        return "".join(text.split()) in "".join("".join(self.screen).split())

    def wait_for(self, text: str, *, timeout_s: float = 120.0) -> float:
        """Wait until a text is visible; return how long it took [s]."""
        started = time.monotonic()
        while not self.shows(text):
            if time.monotonic() - started > timeout_s:
                raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.screen))
            time.sleep(0.01)
        return time.monotonic() - started

    def wait_for_printed(self, text: str, *, timeout_s: float = 120.0) -> None:
        """Wait until a text has been printed."""
        started = time.monotonic()
        while text not in self.printed:
            if time.monotonic() - started > timeout_s:
                raise AssertionError(f"{text!r} was not printed:\n" + "\n".join(self.screen))
            time.sleep(0.01)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def exit_code(self, timeout_s: float = 120.0) -> int:
        """Wait until the program exits, and return its exit code."""
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """End the program and release the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self._reader.join(10)
            os.close(self._master)

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the terminal."""
        self.close()
