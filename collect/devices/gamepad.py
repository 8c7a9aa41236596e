"""A gamepad as a teleoperation device, through SDL. The left shoulder button is the dead-man switch.

It vibrates while the operator pushes a joint against its limit, and at intervals while a motor is near its heat limit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.jog import Jog
from waldo.errors import HardwareError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

DEAD_MAN, NEXT_GROUP = 4, 5
"""Buttons of the left and the right shoulder in SDL's numbering of an Xbox pad."""

SERVICE_BUTTONS: Mapping[int, str] = {0: "start", 1: "stop_motion", 2: "fail", 3: "save", 6: "discard", 7: "enable"}
"""Button -> service: A start, B stop, X fail, Y save, back discard, start enable."""

DEAD_ZONE = 0.12
"""Deflections below this are ignored: worn sticks do not return to zero."""

HOT_MARGIN = 0.15
"""Heat margin below which the gamepad warns, 1 (cool) to 0 (at the limit)."""

HEAT_S, LIMIT_S = 3.0, 0.3
"""Interval between two warnings of heat, and of a joint's limit [s]."""

GROUP_SIZE = 6
"""Number of joints that the sticks, the cross and the triggers control at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GamepadOptions(TypedOptions):
    """Options of the gamepad."""

    speed_ratio: float = 0.5
    """Speed at full deflection, as a fraction of the joint's speed limit."""


@dataclass(frozen=True, slots=True)
class PadState:
    """The state of a gamepad."""

    axes: Sequence[float]
    """Left x, left y, left trigger, right x, right y, right trigger; sticks -1 to 1, triggers -1 (released) to 1."""
    hat: tuple[int, int]
    """The cross; right and up are 1."""
    buttons: frozenset[int]
    """Pressed buttons."""


def deflections(pad: PadState) -> Array:
    """Return deflections, shape (6,), each -1 to 1: left stick, right stick y, cross, right stick x, triggers."""

    def past_dead_zone(value: float) -> float:
        return 0.0 if abs(value) < DEAD_ZONE else value

    sticks = [past_dead_zone(value) for value in (-pad.axes[0], -pad.axes[1], -pad.axes[4], pad.hat[1], pad.axes[3])]
    return np.array([*sticks, (pad.axes[5] - pad.axes[2]) / 2])


class Gamepad:
    """A Device that jogs joints with sticks, cross and triggers, six joints at a time."""

    Options = GamepadOptions

    uses_feedback = True
    """Observations contain heat margins, outside of simulated time."""

    usage = "hold the left shoulder button to move   right shoulder: other joints   A start, Y save, X fail, B STOP"
    """The buttons, for the operator."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize for a robot; `options` are those of `GamepadOptions`."""
        self._jog = Jog(robot, build_options(GamepadOptions, options).speed_ratio)
        self._joints = len(robot.joints)
        self._lower, self._upper = robot.lower, robot.upper
        self._quiet_s = 0.0
        self._group = 0
        self._pressed: frozenset[int] = frozenset()
        self._joystick: Any = None
        self._disconnected = False

    def open(self) -> None:
        """Open the first gamepad; raises HardwareError if there is none."""
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        pygame.init()
        if pygame.joystick.get_count() == 0:
            raise HardwareError("no gamepad found; connect one (ls /dev/input/js*), or use: waldo teleop keyboard")
        self._joystick = pygame.joystick.Joystick(0)

    def read(self) -> PadState | None:
        """Return the current state; None after the gamepad was disconnected."""
        import pygame

        for event in pygame.event.get():
            if event.type == pygame.JOYDEVICEREMOVED:
                self._disconnected = True
        if self._disconnected:
            return None
        stick = self._joystick
        axes = [stick.get_axis(i) for i in range(stick.get_numaxes())]
        hat = stick.get_hat(0) if stick.get_numhats() else (0, 0)
        buttons = frozenset(i for i in range(stick.get_numbuttons()) if stick.get_button(i))
        return PadState([*axes, *[0.0] * (6 - len(axes))], hat, buttons)

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad or m] while the dead-man switch is held on a connected pad, else None."""
        pad = self.read()
        if pad is None:
            return None
        return self.drive(pad, observation, session, dt_s)

    def drive(self, pad: PadState, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return what `step` returns, for a given state of the pad."""
        newly_pressed, self._pressed = pad.buttons - self._pressed, pad.buttons
        for button in sorted(newly_pressed):
            if button in SERVICE_BUTTONS:
                session.request(SERVICE_BUTTONS[button])
            elif button == NEXT_GROUP:
                self._group = (self._group + 1) % -(-self._joints // GROUP_SIZE)
        if DEAD_MAN not in pad.buttons:
            self._jog.release()
            return None
        deflection = np.zeros(self._joints)
        first = self._group * GROUP_SIZE
        size = min(GROUP_SIZE, self._joints - first)
        deflection[first : first + size] = deflections(pad)[:size]
        target = self._jog.step(observation.position, deflection, dt_s)
        if target is not None:
            self._warn(observation, target, deflection, dt_s)
        return target

    def _warn(self, observation: Observation, target: Array, deflection: Array, dt_s: float) -> None:
        """Vibrate at a limit that is pushed against, and near a heat limit."""
        self._quiet_s -= dt_s
        if self._quiet_s > 0:
            return
        pushed = ((target >= self._upper) & (deflection > 0)) | ((target <= self._lower) & (deflection < 0))
        if pushed.any():
            self._quiet_s = LIMIT_S
            self.vibrate(0.0, 0.6, 0.15)
        elif any(margin < HOT_MARGIN for margin in observation.heat_margins.values()):
            self._quiet_s = HEAT_S
            self.vibrate(0.8, 0.0, 0.4)

    def vibrate(self, low: float, high: float, seconds: float) -> None:
        """Vibrate with the strengths of both motors, 0 to 1, for a time [s]; a pad without motors does nothing."""
        if self._joystick is not None:
            self._joystick.rumble(low, high, round(seconds * 1000))

    @property
    def finished(self) -> bool:
        """Whether the gamepad was disconnected."""
        return self._disconnected

    def close(self) -> None:
        """Shut SDL down."""
        import pygame

        pygame.quit()
