"""The keyboard as a teleoperation device; it works over SSH.

Each joint has a pair of keys: the upper row moves it forward, the lower row back. A key is its own dead-man switch: a
terminal reports repeats but no releases, therefore a key counts as released when its repeats stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from waldo.collect.devices import terminal_keys
from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.jog import Jog
from waldo.errors import HardwareError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

FORWARD, BACK = "qwertyui", "asdfghjk"
"""Keys of the joints of the selected group, first joint first."""

GROUP_KEYS: Mapping[str, int] = {"]": 1, "[": -1}
"""Keys that select the next or previous group of joints, for robots with more joints than keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyboardOptions(TypedOptions):
    """Options of the keyboard."""

    speed_ratio: float = 0.25
    """Speed while a key is held, as a fraction of the joint's speed limit."""


class Keyboard:
    """A Device that jogs joints by keys."""

    Options = KeyboardOptions

    usage = f"move: q/a w/s e/d r/f t/g y/h (joint 1-6 forward/back), [ ] other joints   {terminal_keys.HELP}"
    """The keys, for the operator."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize for a robot; `options` are those of `KeyboardOptions`."""
        self._jog = Jog(robot, build_options(KeyboardOptions, options).speed_ratio)
        self._joints = len(robot.joints)
        self._held: dict[str, tuple[int, float]] = {}
        self._group = 0
        self.keys = terminal_keys.TerminalKeys(self._press, self._release, usage=self.usage)
        """The reader of the terminal."""

    def open(self) -> None:
        """Start reading the terminal; raises HardwareError without one."""
        if not self.keys.available():
            raise HardwareError("the keyboard device requires a terminal; run it in one, or use: waldo teleop script")
        self.keys.open()

    def _press(self, key: str) -> bool:
        """Move the joint of a key, or select a group of joints; return whether the key has a function."""
        if key in GROUP_KEYS:
            groups = -(-self._joints // len(FORWARD))
            self._group = (self._group + GROUP_KEYS[key]) % groups
            self._held.clear()
            return True
        if key not in FORWARD and key not in BACK:
            return False
        row, sign = (FORWARD, 1.0) if key in FORWARD else (BACK, -1.0)
        joint = self._group * len(FORWARD) + row.index(key)
        if joint >= self._joints:
            return False
        self._held[key] = (joint, sign)
        return True

    def _release(self, key: str) -> None:
        self._held.pop(key, None)

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad or m] while a motion key is held, else None."""
        self.keys.pass_to(session)
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
        """Whether escape was pressed, or the terminal was closed."""
        return self.keys.finished

    def close(self) -> None:
        """Restore the terminal."""
        self.keys.close()
