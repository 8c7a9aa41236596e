"""One driver for a robot of several parts, each with a connection of its own: two arms, or a body and its hands.

A driver of one connection (a serial port, a CAN bus, a vendor's DDS topics) is created once for each part, and an
option of one part is preceded by the part's name: `left.port=/dev/ttyACM0`. All parts are read and commanded at the
same time, each in its own thread, so a cycle takes as long as the slowest part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, MissingOptionError, UnknownNameError
from waldo.robots.description import Robot
from waldo.robots.driver import CameraMonitor, Driver, Frame, MotorSensors, RobotState, load_driver
from waldo.robots.drivers.options import TypedOptions, options_class
from waldo.robots.event import Event
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOptions(TypedOptions):
    """Options of a part beside those of its driver."""

    driver: str = ""
    """Driver of the part, if it is another one than that of the robot."""


def make_driver(name: str, robot: Robot, options: Mapping[str, object]) -> Driver:
    """Return a registered driver for a robot; for a robot of several parts, one driver for each of them.

    Args:
        name: Name of the driver.
        robot: The robot.
        options: The driver's options. An option of one part is named `part.option`; others apply to every part whose
            driver has them.

    Raises:
        UnknownNameError: If there is no such driver, part or option.
        InvalidValueError: If an option has a wrong value.
        MissingOptionError: If two parts have the same port.
    """
    dotted = [option for option in options if "." in option]
    if not robot.parts:
        if dotted:
            raise UnknownNameError("part of the robot", dotted[0].partition(".")[0], ())
        return load_driver(name)(robot, **options)
    if not (dotted or is_per_part(name)):
        return load_driver(name)(robot, **options)
    return _make_parts(name, robot, options)


def is_per_part(name: str) -> bool:
    """Whether a driver is for one connection, so that each part of a robot needs its own."""
    return bool(getattr(load_driver(name), "per_part", False))


def option_classes(name: str, robot: Robot, options: Mapping[str, object]) -> tuple[type | None, ...]:
    """Return the classes of the options of a driver for a robot, given those that are set."""
    if not robot.parts:
        return (options_class(name),)
    drivers = {name, *(part.driver for part in robot.parts if part.driver)}
    drivers |= {str(value) for option, value in options.items() if option.endswith(".driver")}
    return (*map(options_class, sorted(drivers)), PartOptions)


def _make_parts(name: str, robot: Robot, options: Mapping[str, object]) -> PartsDriver:
    names = [part.name for part in robot.parts]
    given: dict[str, dict[str, object]] = {part: {} for part in names}
    for option, value in options.items():
        part, dot, field = option.partition(".")
        if dot and part not in given:
            raise UnknownNameError(f"part of {robot.name}", part, names)
        if dot:
            given[part][field] = value
    chosen = {part.name: str(given[part.name].pop("driver", "") or part.driver or name) for part in robot.parts}
    for option, value in options.items():
        if "." not in option:
            _give_all(option, value, chosen, given)
    _refuse_shared_ports(chosen, given)
    robots = robots_of_parts(robot)
    drivers: dict[str, Driver] = {}
    for part in robot.parts:
        # LeRobot's devices have the names of the part alone.
        if "joint_names" in _fields(chosen[part.name]):
            given[part.name].setdefault("joint_names", part.robot.joint_names)
        drivers[part.name] = load_driver(chosen[part.name])(robots[part.name], **given[part.name])
    return PartsDriver(robot, drivers)


def robots_of_parts(robot: Robot) -> dict[str, Robot]:
    """Return part -> its robot, whose joints have the names and motors that they have in the whole robot."""
    found: dict[str, Robot] = {}
    start = 0
    for part in robot.parts:
        end = start + len(part.robot.joints)
        found[part.name] = dataclasses.replace(part.robot, joints=robot.joints[start:end])
        start = end
    return found


def _fields(driver: str) -> set[str]:
    kind: Any = options_class(driver)
    return set() if kind is None else {field.name for field in dataclasses.fields(kind)}


def _give_all(option: str, value: object, chosen: Mapping[str, str], given: Mapping[str, dict[str, object]]) -> None:
    """Give an option to all parts whose driver has it, unless it is set for the part."""
    having = [part for part, driver in chosen.items() if option in _fields(driver)]
    if not having:
        raise UnknownNameError("option", option, sorted({f for driver in chosen.values() for f in _fields(driver)}))
    for part in having:
        given[part].setdefault(option, value)


def _refuse_shared_ports(chosen: Mapping[str, str], given: Mapping[str, Mapping[str, object]]) -> None:
    """Raise MissingOptionError if two parts have the same serial port."""
    seen: dict[object, str] = {}
    for part, driver in chosen.items():
        if "port" not in _fields(driver):
            continue
        kind: Any = options_class(driver)
        port = given[part].get("port", next(f.default for f in dataclasses.fields(kind) if f.name == "port"))
        if port and port in seen:
            raise MissingOptionError(
                f"--driver {driver}",
                f"a port for each part, but {seen[port]} and {part} both have {port}",
                f"pass --option {seen[port]}.port=... --option {part}.port=...",
            )
        seen[port] = part


class PartsDriver:
    """A `Driver` of a robot of several parts, over the drivers of the parts in the order of the joints."""

    def __init__(self, robot: Robot, drivers: Mapping[str, Driver]) -> None:
        """Combine the drivers; nothing is connected yet.

        Args:
            robot: The whole robot.
            drivers: Part -> its driver, in the order of the robot's joints.
        """
        self._robot, self.drivers = robot, dict(drivers)
        self._prefixes = {part.name: part.prefix for part in robot.parts}
        self._pool: ThreadPoolExecutor | None = None
        counts = [len(driver.robot.joints) for driver in self.drivers.values()]
        self._ends = np.cumsum(counts)[:-1]
        self.robot = self._combined()

    def _combined(self) -> Robot:
        """Return the whole robot, with the motors and cameras that the drivers of its parts have."""
        joints = tuple(joint for driver in self.drivers.values() for joint in driver.robot.joints)
        cameras = tuple(
            dataclasses.replace(camera, name=self._prefixes[part] + camera.name)
            for part, driver in self.drivers.items()
            for camera in driver.robot.cameras
        )
        return dataclasses.replace(self._robot, joints=joints, cameras=cameras)

    def connect(self) -> None:
        """Connect the parts one after another; on an error, disconnect those that are connected.

        Raises:
            HardwareError: If a part cannot be connected; the message names the part.
        """
        with contextlib.ExitStack() as connected:
            for part, driver in self.drivers.items():
                _named(part, driver.connect)
                connected.callback(driver.disconnect)
            connected.pop_all()
        self.robot = self._combined()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(self.drivers), thread_name_prefix="part")

    def _each[T](self, *calls: Callable[[], T]) -> list[T]:
        """Make one call for each part at the same time; return the results, or raise the first error."""
        if self._pool is None:
            raise HardwareError("the robot is not connected; call connect() first")
        futures = [self._pool.submit(_named, part, call) for part, call in zip(self.drivers, calls, strict=True)]
        # All calls end before an error is raised: a driver is never used by two threads.
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]

    def read(self) -> RobotState:
        """Return the present state; its stamp is that of the part with the oldest one."""
        states = self._each(*(driver.read for driver in self.drivers.values()))
        return RobotState(
            stamp_ns=min(state.stamp_ns for state in states),
            position=np.concatenate([state.position for state in states]),
            velocity=np.concatenate([state.velocity for state in states]),
            effort=np.concatenate([state.effort for state in states]),
        )

    def motors(self) -> MotorSensors:
        """Return the motor readings of all parts."""
        found = self._each(*(driver.motors for driver in self.drivers.values()))
        columns = {
            field.name: np.concatenate([getattr(sensors, field.name) for sensors in found])
            for field in dataclasses.fields(MotorSensors)
            if field.name != "faults"
        }
        return MotorSensors(**columns, faults=tuple(fault for sensors in found for fault in sensors.faults))

    def write(self, targets: Array) -> Array:
        """Command position targets and return the applied ones, both of shape (joints,) [rad or m].

        Raises:
            InvalidValueError: If a target is not finite; no part is commanded.
        """
        targets = np.asarray(targets, dtype=float)
        if not np.all(np.isfinite(targets)):
            raise InvalidValueError("targets", targets, "finite numbers")
        parts = np.split(targets, self._ends)
        calls = [functools.partial(d.write, t) for d, t in zip(self.drivers.values(), parts, strict=True)]
        return np.concatenate(self._each(*calls))

    def frames(self) -> Sequence[Frame]:
        """Return the camera images taken since the last call, part by part."""
        return [
            dataclasses.replace(frame, camera=self._prefixes[part] + frame.camera)
            for part, driver in self.drivers.items()
            for frame in driver.frames()
        ]

    def camera_faults(self) -> Mapping[str, str]:
        """Return the present fault of each camera, as text; empty for a camera that works."""
        return {
            self._prefixes[part] + camera: fault
            for part, driver in self._monitors().items()
            for camera, fault in driver.camera_faults().items()
        }

    def events(self) -> Sequence[Event]:
        """Return the events of the parts since the last call."""
        return [event for driver in self._monitors().values() for event in driver.events()]

    def _monitors(self) -> dict[str, CameraMonitor]:
        return {part: driver for part, driver in self.drivers.items() if isinstance(driver, CameraMonitor)}

    def disconnect(self) -> None:
        """Disconnect every part, also after an error of another one."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        with contextlib.ExitStack() as stack:
            for driver in reversed(self.drivers.values()):
                stack.callback(driver.disconnect)


def _named[T](part: str, call: Callable[[], T]) -> T:
    """Return the result of a call; an error of the hardware names the part."""
    try:
        return call()
    except HardwareError as error:
        raise HardwareError(f"{part}: {error}") from error
