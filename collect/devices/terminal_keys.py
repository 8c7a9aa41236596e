"""Keys of the terminal that call the services of the recorder and the robot; they work over SSH."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

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


def _ignore(key: str) -> None:
    del key


class TerminalKeys:
    """Reads keys from the terminal on a thread of its own. Tests call `press` and `release` directly."""

    def __init__(self, on_press: Callable[[str], None] = _ignore, on_release: Callable[[str], None] = _ignore) -> None:
        """Initialize with callbacks for keys that call no service; they are called with `lock` held."""
        self._on_press, self._on_release = on_press, on_release
        self._requested: list[str] = []
        self._finished = False
        self.lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @staticmethod
    def available() -> bool:
        """Return whether standard input is a terminal."""
        return sys.stdin is not None and sys.stdin.isatty()

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
            if key in SERVICE_KEYS:
                self._requested.append(SERVICE_KEYS[key])
            elif key == "esc":
                self._finished = True
            else:
                self._on_press(key)

    def release(self, key: str) -> None:
        """Handle a released key."""
        with self.lock:
            self._on_release(key)

    def take_requests(self) -> list[str]:
        """Return the services that were requested since the last call."""
        with self.lock:
            requested, self._requested = self._requested, []
        return requested

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
