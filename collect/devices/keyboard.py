"""The keyboard as a teleoperation device; it works over SSH.

A pair of keys a joint, in two rows: the upper row moves it forward, the lower one back. The key is its own dead-man:
a terminal tells repeats but no releases, so a key counts as let go when its repeats stop coming.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from waldo.collect.devices import terminal_keys
from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.jog import Jog
from waldo.errors import HardwareError
from waldo.robots.description import Robot

FORWARD, BACK = "qwertyui", "asdfghjk"
"""Keys of the joints in reach, first joint first."""

GROUP_KEYS: Mapping[str, int] = {"]": 1, "[": -1}
"""Keys that reach for the next or the previous joints of a robot with more joints than keys."""

HELP = f"move: q/a w/s e/d r/f t/g y/h (joint 1-6 forward/back), [ ] other joints   {terminal_keys.HELP}"


class Keyboard:
    """Joint jogging by key."""

    def __init__(self, robot: Robot, *, speed_share: float = 0.25) -> None:
        """Take the robot and the share of each joint's speed limit that a held key means."""
        self._jog = Jog(robot, speed_share)
        self._joints = len(robot.joints)
        self._held: dict[str, tuple[int, float]] = {}
        self._group = 0
        self.keys = terminal_keys.Keys(self._press, self._release)
        """What listens to the terminal."""

    def open(self) -> None:
        """Listen to the terminal."""
        if not self.keys.can_listen():
            raise HardwareError("the keyboard device needs a terminal; run it in one, or use --device script")
        self.keys.open()

    def _press(self, key: str) -> None:
        if key in FORWARD or key in BACK:
            row, sign = (FORWARD, 1.0) if key in FORWARD else (BACK, -1.0)
            joint = self._group * len(FORWARD) + row.index(key)
            if joint < self._joints:
                self._held[key] = (joint, sign)
        elif key in GROUP_KEYS:
            groups = -(-self._joints // len(FORWARD))
            self._group = (self._group + GROUP_KEYS[key]) % groups
            self._held.clear()

    def _release(self, key: str) -> None:
        self._held.pop(key, None)

    def step(self, observation: Observation, session: Session, dt_s: float) -> NDArray[np.float64] | None:
        """Return the targets while a motion key is held, else None."""
        for name in self.keys.asked():
            session.ask(name)
        with self.keys.lock:
            held = list(self._held.values())
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
        return self.keys.finished

    def close(self) -> None:
        """Give the terminal back."""
        self.keys.close()
