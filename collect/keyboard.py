"""The keyboard as a teleoperation device; it works over SSH.

A pair of keys a joint, in two rows: the upper row moves it forward, the lower one back. The key is its own dead-man:
a terminal tells repeats but no releases, so a key counts as let go when its repeats stop coming.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from waldo.collect.device import Observation, Session
from waldo.collect.jog import Jog
from waldo.errors import HardwareError
from waldo.robots.description import Robot

FORWARD, BACK = "qwertyui", "asdfghjk"
"""Keys of the joints in reach, first joint first."""

GROUP_KEYS: Mapping[str, int] = {"]": 1, "[": -1}
"""Keys that reach for the next or the previous joints of a robot with more joints than keys."""

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
    "move: q/a w/s e/d r/f t/g y/h (joint 1-6 forward/back), [ ] other joints   enter: start   1: save as success   "
    "0: save as failure   backspace: discard   z: undo   n: new scene   space: STOP   v: enable   esc: quit"
)

FIRST_REPEAT_S, NEXT_REPEAT_S = 0.6, 0.12
"""How long without a repeat until a key counts as let go [s]: a terminal's first repeat comes late."""


class Keyboard:
    """Joint jogging by key. `press` and `release` are what the terminal calls; a test may call them as well."""

    def __init__(self, robot: Robot, *, speed_share: float = 0.25) -> None:
        """Take the robot and the share of each joint's speed limit that a held key means."""
        self._jog = Jog(robot, speed_share)
        self._joints = len(robot.joints)
        self._held: dict[str, tuple[int, float]] = {}
        self._asked: list[str] = []
        self._group = 0
        self._finished = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Listen to the terminal."""
        import sys

        if not sys.stdin.isatty():
            raise HardwareError("the keyboard device needs a terminal; run it in one, or use --device script")
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
        with self._lock:
            if key in FORWARD or key in BACK:
                row, sign = (FORWARD, 1.0) if key in FORWARD else (BACK, -1.0)
                joint = self._group * len(FORWARD) + row.index(key)
                if joint < self._joints:
                    self._held[key] = (joint, sign)
            elif key in GROUP_KEYS:
                groups = -(-self._joints // len(FORWARD))
                self._group = (self._group + GROUP_KEYS[key]) % groups
                self._held.clear()
            elif key in SERVICE_KEYS:
                self._asked.append(SERVICE_KEYS[key])
            elif key == "esc":
                self._finished = True

    def release(self, key: str) -> None:
        """Take a key that was let go."""
        with self._lock:
            self._held.pop(key, None)

    def step(self, observation: Observation, session: Session, dt_s: float) -> NDArray[np.float64] | None:
        """Return the targets while a motion key is held, else None."""
        with self._lock:
            asked, self._asked = self._asked, []
            held = list(self._held.values())
        for name in asked:
            session.ask(name)
        if not held or self.finished:
            self._jog.release()
            return None
        deflection = np.zeros(self._joints)
        for joint, sign in held:
            deflection[joint] = sign
        return self._jog.step(observation.position, deflection, dt_s)

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
