"""Keys of the terminal that call the services of the recorder and the robot; they work over SSH."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping

from waldo.collect.devices.device import Session
from waldo.robots.diagnostics import WARN

SERVICE_KEYS: Mapping[str, str] = {
    "enter": "start",
    "1": "save",
    "0": "fail",
    "backspace": "discard",
    "z": "undo",
    "space": "stop_motion",
    "v": "enable",
    "n": "reset",
}
"""Key -> service."""

HELP = (
    "enter: start   1: save as success   0: save as failure   backspace: discard   z: undo   n: new scene   "
    "space: STOP   v: enable   esc: quit"
)

FIRST_REPEAT_S, NEXT_REPEAT_S = 0.6, 0.12
"""Time without a repeat after which a key counts as released [s]; a terminal's first repeat is late."""


def _no_function(key: str) -> bool:
    del key
    return False


def _ignore(key: str) -> None:
    del key


class TerminalKeys:
    """Reads keys from the terminal on a thread of its own. Tests call `press` and `release` directly."""

    def __init__(
        self,
        on_press: Callable[[str], bool] = _no_function,
        on_release: Callable[[str], None] = _ignore,
        *,
        services: Mapping[str, str] = SERVICE_KEYS,
        usage: str = HELP,
    ) -> None:
        """Initialize.

        Args:
            on_press: Called with `lock` held for a key that calls no service; returns whether the key has a function.
            on_release: Called with `lock` held for each released key.
            services: Key -> the service that it calls.
            usage: The keys that have a function, for the operator who presses another one.
        """
        self._on_press, self._on_release = on_press, on_release
        self._services, self._usage = services, usage
        self._requested: list[str] = []
        self._notices: list[str] = []
        self._finished = False
        self.lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @staticmethod
    def available() -> bool:
        """Return whether standard input is a terminal whose keys this process receives."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        try:
            # A shell's background job that changes its terminal is suspended.
            return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        except OSError:  # a terminal without job control
            return True

    def open(self) -> None:
        """Start reading keys."""
        from sshkeyboard import listen_keyboard

        self._thread = threading.Thread(
            target=listen_keyboard,
            kwargs={
                "on_press": self.press,
                "on_release": self.release,
                "until": "esc",
                "delay_second_char": FIRST_REPEAT_S,
                "delay_other_chars": NEXT_REPEAT_S,
            },
            daemon=True,
        )
        self._thread.start()

    def press(self, key: str) -> None:
        """Handle a pressed key."""
        with self.lock:
            if key in self._services:
                self._requested.append(self._services[key])
            elif key == "esc":
                self._finished = True
            elif not self._on_press(key):
                self._notices.append(f"the key {key} has no function; keys: {self._usage}")

    def release(self, key: str) -> None:
        """Handle a released key."""
        with self.lock:
            self._on_release(key)

    def take_requests(self) -> list[str]:
        """Return the services that were requested since the last call."""
        with self.lock:
            requested, self._requested = self._requested, []
        return requested

    def take_notices(self) -> list[str]:
        """Return a notice for each key without a function that was pressed since the last call."""
        with self.lock:
            notices, self._notices = self._notices, []
        return notices

    def pass_to(self, session: Session) -> None:
        """Call the services that were requested, and show the notices."""
        for name in self.take_requests():
            session.request(name)
        for text in self.take_notices():
            session.notify(text, WARN)

    @property
    def finished(self) -> bool:
        """Whether escape was pressed, or the terminal was closed."""
        return self._finished or (self._thread is not None and not self._thread.is_alive())

    def close(self) -> None:
        """Stop reading keys and restore the terminal."""
        if self._thread is not None and self._thread.is_alive():
            from sshkeyboard import stop_listening

            stop_listening()
            self._thread.join(timeout=2)
