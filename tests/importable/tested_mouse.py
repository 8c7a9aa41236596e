"""A SpaceMouse that tests control."""

from __future__ import annotations

import numpy as np

from waldo.collect.devices.spacemouse import MouseState
from waldo.errors import HardwareError


class TestedMouse:
    """A MouseReader whose state tests set."""

    __test__ = False

    def __init__(self) -> None:
        self.linear, self.angular = np.zeros(3), np.zeros(3)
        self.buttons = [False, False]
        self.connected = self.reporting = True
        self.closed = 0
        self._report_s = 0.0

    def press(self, pressed: bool, button: int = 0) -> None:
        """Press or release a button."""
        self.buttons[button] = pressed

    def read(self) -> MouseState:
        if not self.connected:
            raise HardwareError("the SpaceMouse was disconnected (no answer)")
        self._report_s += 0.01 * self.reporting
        return MouseState(self.linear.copy(), self.angular.copy(), tuple(self.buttons), self._report_s)

    def close(self) -> None:
        self.closed += 1
