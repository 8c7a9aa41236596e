"""A 3Dconnexion SpaceMouse as a teleoperation device: it moves an end effector through space.

The left button is the dead-man switch, the right one opens or closes the gripper. The cap gives a velocity: forward,
left and up as the operator of the robot sees it, and rotations about the same axes through the end effector.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from waldo.collect.devices.device import Observation, Session
from waldo.errors import HardwareError, InvalidValueError, MissingExtraError
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, WARN
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.collect.devices.tracking import Side

DEAD_MAN, GRIPPER = 0, 1
"""Numbers of the left and the right button."""

DEAD_ZONE = 0.05
"""Deflections below this are ignored: a cap does not return to zero exactly."""

SILENCE_S = 0.25
"""Time without a report after which a deflected mouse counts as disconnected [s]; it reports 60 times a second."""

LEAD_M, LEAD_RAD = 0.03, 0.2
"""Largest lead of the target over the end effector [m, rad]: out of reach it does not run away."""

MAX_REPORTS = 64
"""Reports that are read in one cycle at most; more than a SpaceMouse sends in one."""


@dataclass(frozen=True, slots=True)
class MouseState:
    """The state of a SpaceMouse, with the axes of ROS: x forward, y left, z up."""

    linear: Array
    """Deflection along x, y, z, shape (3,), each -1 to 1."""
    angular: Array
    """Rotation about x, y, z, shape (3,), each -1 to 1."""
    buttons: tuple[bool, ...]
    """Whether each button is pressed."""
    report_s: float
    """Time of the last report by any clock [s]: it differs between two reports."""


class MouseReader(Protocol):
    """Reads a SpaceMouse."""

    def read(self) -> MouseState:
        """Return the newest state; raises HardwareError once it is disconnected."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceMouseOptions(TypedOptions):
    """Options of a SpaceMouse, beside those of the retargeting."""

    side: Literal["right", "left"] = "right"
    """The arm of a robot with two arms."""
    speed_m_s: float = 0.2
    """Speed of the end effector at full deflection [m/s]."""
    speed_rad_s: float = 0.8
    """Angular speed of the end effector at full deflection [rad/s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a speed that is not positive, or implausible."""
        TypedOptions.__post_init__(self)
        for name, limit in (("speed_m_s", 1.0), ("speed_rad_s", 3.0)):
            if not 0 < getattr(self, name) <= limit:
                raise InvalidValueError(name, getattr(self, name), f"a number above 0, up to {limit:g}")


class PySpaceMouse:
    """A MouseReader over the package pyspacemouse."""

    def __init__(self) -> None:
        """Open the first SpaceMouse; raises HardwareError if there is none."""
        try:
            module: Any = importlib.import_module("pyspacemouse")
        except ModuleNotFoundError as error:
            raise MissingExtraError("pyspacemouse", "spacemouse") from error
        except (OSError, AttributeError) as error:
            raise HardwareError("the library hidapi is not installed; apt-get install libhidapi-hidraw0") from error
        try:
            self._device: Any = module.open(axis_convention=module.AxisConvention.ROS)
        except Exception as error:  # its HID library raises bare exceptions of several kinds
            raise HardwareError(
                f"no SpaceMouse found ({' '.join(str(error).split())}); connect one, and allow access to it: "
                "docs/guide/retargeting.md"
            ) from error

    def read(self) -> MouseState:
        """Return the state after all reports that have arrived; raises HardwareError once it is disconnected."""
        try:
            # A call reads one report, and a SpaceMouse sends several in a cycle.
            state = self._device.read()
            for _ in range(MAX_REPORTS):
                before, state = state.t, self._device.read()
                if state.t == before:
                    break
        except Exception as error:  # as above
            raise HardwareError(f"the SpaceMouse was disconnected ({' '.join(str(error).split())})") from error
        return MouseState(
            np.array([state.x, state.y, state.z]),
            np.array([state.roll, state.pitch, state.yaw]),
            tuple(bool(button) for button in state.buttons),
            state.t,
        )

    def close(self) -> None:
        """Disconnect."""
        self._device.close()


class SpaceMouse:
    """A Device that moves one end effector by velocities."""

    Options = SpaceMouseOptions

    uses_feedback = True
    """Observations contain applied commands and heat margins, outside of simulated time."""

    usage = "hold the left button and move the cap   right button: open or close the gripper"
    """The controls, for the operator."""

    @staticmethod
    def option_classes(values: Mapping[str, str]) -> tuple[type | None, ...]:
        """Return the classes of the options: its own, and those of the retargeting."""
        del values
        from waldo.collect.retargeting.retargeter import RetargetOptions

        return SpaceMouseOptions, RetargetOptions

    def __init__(
        self, robot: Robot, *, make_reader: Callable[[], MouseReader] = PySpaceMouse, **options: object
    ) -> None:
        """Load the robot's model.

        Args:
            robot: Description of the robot; it needs an end effector.
            make_reader: Opens the SpaceMouse.
            options: Those of `SpaceMouseOptions` and `RetargetOptions`.

        Raises:
            InvalidValueError: If the robot has no arm of the side.
        """
        from waldo.collect.retargeting.retargeter import Retargeter, RetargetOptions

        own = {name: options.pop(name) for name in ("side", "speed_m_s", "speed_rad_s") if name in options}
        self.options = build_options(SpaceMouseOptions, own)
        self._retargeter = Retargeter(robot, build_options(RetargetOptions, options), single=self.options.side)
        self._side: Side = self.options.side
        if self._side not in self._retargeter.arms.arms:
            raise InvalidValueError("side", self._side, f"one of {', '.join(self._retargeter.arms.arms)}")
        self._make_reader = make_reader
        self._reader: MouseReader | None = None
        self._target: Array | None = None
        self._closing: float | None = None
        # A button that is held at the start, or after a fault, has to be released first.
        self._blocked = True
        self._pressed = False
        self._report_s, self._silent_s = -1.0, 0.0
        self._disconnected = False

    def open(self) -> None:
        """Connect to the SpaceMouse; raises HardwareError if there is none."""
        self._reader = self._make_reader()

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad or m] while the left button is held, else None."""
        state = self._read(session, dt_s)
        if state is None:
            return self._release()
        pressed = len(state.buttons) > GRIPPER and state.buttons[GRIPPER]
        if pressed and not self._pressed:
            self._closing = 0.0 if self._closing == 1.0 else 1.0
        self._pressed = pressed
        if not (state.buttons and state.buttons[DEAD_MAN]):
            self._blocked = False
            return self._release()
        if self._blocked:
            return self._release()
        return self._drive(state, observation, session, dt_s)

    def _read(self, session: Session, dt_s: float) -> MouseState | None:
        """Return the state; None if it is disconnected or not finite, which has to be released and pressed again."""
        if self._reader is None or self._disconnected:
            return None
        try:
            state = self._reader.read()
        except HardwareError as error:
            self._disconnected = True
            session.notify(f"{error}; the robot holds", ERROR)
            return None
        deflection = np.concatenate([state.linear, state.angular])
        self._silent_s = 0.0 if state.report_s != self._report_s else self._silent_s + dt_s
        self._report_s = state.report_s
        fault = ""
        if not np.isfinite(deflection).all():
            fault = "the SpaceMouse reports a number that is not finite"
        elif np.abs(deflection).max() > DEAD_ZONE and self._silent_s > SILENCE_S:
            fault = "the SpaceMouse has stopped reporting while its cap is deflected"
        if not fault:
            return state
        if not self._blocked:
            session.notify(f"{fault}: the robot holds; release the left button and press it again", WARN)
        self._blocked = True
        return None

    def _release(self) -> None:
        self._target = None

    def _drive(self, state: MouseState, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets with which the end effector moves at the velocity of the cap."""
        from waldo.collect.retargeting.retargeter import HandTarget

        if self._target is None:
            self._retargeter.reset(observation.position, observation.applied)
            self._target = self._retargeter.pose(self._side)
        self._target = self._moved(self._target, state, dt_s)
        target = {self._side: HandTarget(pose=self._target, closing=self._closing)}
        result = self._retargeter.step(target, observation.position, dt_s, observation.heat_margins)
        if result.fault:
            session.notify(f"{result.fault}: the robot holds; release the left button and press it again", WARN)
            self._blocked = True
            return self._release()
        return result.command

    def _moved(self, target: Array, state: MouseState, dt_s: float) -> Array:
        """Return the pose (4, 4) [m] of the target after a cycle, close to that of the end effector."""
        from waldo.collect.retargeting.frames import rotation_matrix, rotation_vector, yaw_rotation

        turn = yaw_rotation(self._retargeter.arms.operator_yaw_rad)
        linear = turn @ past_dead_zone(state.linear) * self.options.speed_m_s * dt_s
        angular = turn @ past_dead_zone(state.angular) * self.options.speed_rad_s * dt_s
        here = self._retargeter.pose(self._side)
        lead = bounded(target[:3, 3] + linear - here[:3, 3], LEAD_M)
        turned = bounded(rotation_vector(rotation_matrix(angular) @ target[:3, :3] @ here[:3, :3].T), LEAD_RAD)
        found = np.eye(4)
        found[:3, 3] = here[:3, 3] + lead
        found[:3, :3] = rotation_matrix(turned) @ here[:3, :3]
        return found

    @property
    def finished(self) -> bool:
        """Whether the SpaceMouse was disconnected."""
        return self._disconnected

    def close(self) -> None:
        """Disconnect from the SpaceMouse."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def past_dead_zone(deflection: Array) -> Array:
    """Return deflections, each -1 to 1, with 0 in the dead zone and no step at its edge."""
    size = np.clip((np.abs(deflection) - DEAD_ZONE) / (1 - DEAD_ZONE), 0.0, 1.0)
    return np.sign(deflection) * size


def bounded(vector: Array, limit: float) -> Array:
    """Return a vector, shortened to a limit."""
    length = float(np.linalg.norm(vector))
    return vector * min(1.0, limit / length) if length > 0 else vector
