"""A gamepad as a teleoperation device, through SDL. The left shoulder button is the dead-man: hold it to move."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.jog import Jog
from waldo.errors import HardwareError
from waldo.robots.description import Robot

DEAD_MAN, NEXT_GROUP = 4, 5
"""Buttons of the left and the right shoulder in SDL's numbering of an Xbox pad."""

SERVICE_BUTTONS: Mapping[int, str] = {0: "start", 1: "stop_motion", 2: "fail", 3: "save", 6: "discard", 7: "enable"}
"""Button -> service: A start, B stop, X fail, Y save, back discard, start enable."""

DEAD_ZONE = 0.12
"""Deflections below this are a worn stick, not a wish."""


@dataclass(frozen=True, slots=True)
class Pad:
    """One reading of a gamepad."""

    axes: Sequence[float]
    """Left x, left y, left trigger, right x, right y, right trigger: sticks -1..1, triggers -1 (free) .. 1."""
    hat: tuple[int, int]
    """The cross: right and up are 1."""
    buttons: frozenset[int]
    """Buttons that are down."""


def deflections(pad: Pad) -> NDArray[np.float64]:
    """Return six deflections, shape (6,), each -1..1: left stick, right stick, cross up/down, triggers (last joint)."""

    def past_dead_zone(value: float) -> float:
        return 0.0 if abs(value) < DEAD_ZONE else value

    sticks = [past_dead_zone(value) for value in (-pad.axes[0], -pad.axes[1], -pad.axes[4], pad.hat[1], pad.axes[3])]
    return np.array([*sticks, (pad.axes[5] - pad.axes[2]) / 2])


class Gamepad:
    """Joint jogging with sticks, cross and triggers, six joints at a time."""

    def __init__(self, robot: Robot, *, speed_share: float = 0.5) -> None:
        """Take the robot and the share of each joint's speed limit that full deflection means."""
        self._jog = Jog(robot, speed_share)
        self._joints = len(robot.joints)
        self._group = 0
        self._down: frozenset[int] = frozenset()
        self._joystick: Any = None
        self._lost = False

    def open(self) -> None:
        """Open the first gamepad."""
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        pygame.init()
        if pygame.joystick.get_count() == 0:
            raise HardwareError("no gamepad found; plug one in (ls /dev/input/js*), or use --device keyboard")
        self._joystick = pygame.joystick.Joystick(0)

    def read(self) -> Pad | None:
        """Return the present reading, or None once the gamepad is unplugged."""
        import pygame

        for event in pygame.event.get():
            if event.type == pygame.JOYDEVICEREMOVED:
                self._lost = True
        if self._lost:
            return None
        stick = self._joystick
        axes = [stick.get_axis(i) for i in range(stick.get_numaxes())]
        hat = stick.get_hat(0) if stick.get_numhats() else (0, 0)
        return Pad(
            [*axes, *[0.0] * (6 - len(axes))],
            hat,
            frozenset(i for i in range(stick.get_numbuttons()) if stick.get_button(i)),
        )

    def step(self, observation: Observation, session: Session, dt_s: float) -> NDArray[np.float64] | None:
        """Return the targets while the dead-man is held, else None; unplugged counts as let go."""
        pad = self.read()
        if pad is None:
            return None
        return self.drive(pad, observation, session, dt_s)

    def drive(self, pad: Pad, observation: Observation, session: Session, dt_s: float) -> NDArray[np.float64] | None:
        """Do what `step` does, for a given reading."""
        pressed, self._down = pad.buttons - self._down, pad.buttons
        for button in sorted(pressed):
            if button in SERVICE_BUTTONS:
                session.ask(SERVICE_BUTTONS[button])
            elif button == NEXT_GROUP:
                self._group = (self._group + 1) % -(-self._joints // 6)
        if DEAD_MAN not in pad.buttons:
            self._jog.release()
            return None
        deflection = np.zeros(self._joints)
        first = self._group * 6
        reach = min(6, self._joints - first)
        deflection[first : first + reach] = deflections(pad)[:reach]
        return self._jog.step(observation.position, deflection, dt_s)

    @property
    def finished(self) -> bool:
        """Whether the gamepad is gone."""
        return self._lost

    def close(self) -> None:
        """Let SDL go."""
        import pygame

        pygame.quit()
