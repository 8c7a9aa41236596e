"""Keys that call the recorder's and the robot's services, whatever the operator steers with; they work over SSH."""

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
"""Key -> the service it calls."""

HELP = (
    "enter: start   1: save as success   0: save as failure   backspace: discard   z: undo   n: new scene   "
    "space: STOP   v: enable   esc: quit"
)

FIRST_REPEAT_S, NEXT_REPEAT_S = 0.6, 0.12
"""How long without a repeat until a key counts as let go [s]: a terminal's first repeat comes late."""


def _nothing(key: str) -> None:
    del key


class Keys:
    """Listens to the terminal. `press` and `release` are what it calls; a test may call them as well."""

    def __init__(
        self, on_press: Callable[[str], None] = _nothing, on_release: Callable[[str], None] = _nothing
    ) -> None:
        """Take what is to be told of the other keys; it is called under `lock`."""
        self._on_press, self._on_release = on_press, on_release
        self._asked: list[str] = []
        self._finished = False
        self.lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @staticmethod
    def can_listen() -> bool:
        """Say whether there is a terminal."""
        return sys.stdin is not None and sys.stdin.isatty()

    def open(self) -> None:
        """Listen."""
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
        """Take a key that went down."""
        with self.lock:
            if key in SERVICE_KEYS:
                self._asked.append(SERVICE_KEYS[key])
            elif key == "esc":
                self._finished = True
            else:
                self._on_press(key)

    def release(self, key: str) -> None:
        """Take a key that was let go."""
        with self.lock:
            self._on_release(key)

    def asked(self) -> list[str]:
        """Return the services that were asked for since the last call."""
        with self.lock:
            asked, self._asked = self._asked, []
        return asked

    @property
    def finished(self) -> bool:
        """Whether escape was pressed, or the terminal is gone."""
        return self._finished or (self._thread is not None and not self._thread.is_alive())

    def close(self) -> None:
        """Give the terminal back."""
        if self._thread is not None and self._thread.is_alive():
            from sshkeyboard import stop_listening

            stop_listening()
            self._thread.join(timeout=2)
