"""The protocol of teleoperation devices, and what a device receives in each cycle.

A package adds a device with an entry point in the group `waldo.devices`: a callable that takes the robot's description
and the device's options as keyword arguments, and returns a `Device`. Its attribute `Options` is the dataclass of these
options, to which the command line converts its texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from waldo import registry
from waldo.robots.diagnostics import OK
from waldo.robots.drivers.options import convert_options, split_options
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.robots.description import Robot


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The state of the robot in one cycle."""

    stamp_ns: int
    """Time of the state [ns]."""
    position: Array
    """Joint positions, shape (joints,) [rad or m]."""
    environment: Mapping[str, float]
    """Ground truth of a simulation by name; empty on a real robot."""
    applied: Array | None = None
    """The command that the robot holds or follows, shape (joints,) [rad or m]; None if it is not known."""
    heat_margins: Mapping[str, float] = field(default_factory=dict[str, float])
    """Joint -> heat margin of its motor, from 1 (cool) to 0 (at its limit); empty if heat is not known."""


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """The response of a service."""

    success: bool
    message: str


class Session(Protocol):
    """The services and the display that a device can use.

    Services of the recorder: start, stop, save, fail, discard, undo. Services of the robot: enable, stop_motion, reset,
    task_done.
    """

    def call(self, name: str) -> ServiceResponse:
        """Call a service and wait for its response; for scripted operators, which have no motion meanwhile."""
        ...

    def request(self, name: str) -> None:
        """Call a service without waiting; the response is shown to the operator when it arrives."""
        ...

    def notify(self, text: str, level: int = OK) -> None:
        """Show a line of text to the operator, in the color of its diagnostic level."""
        ...


class Device(Protocol):
    """A teleoperation device. It commands the robot only while the operator is engaged (dead-man principle)."""

    def open(self) -> None:
        """Connect to the device; raises HardwareError if it is absent."""
        ...

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the joint targets after a cycle of `dt_s` [s], or None while the operator is not engaged.

        Returns:
            Shape (joints,) [rad or m], within the limits of the robot's joints.
        """
        ...

    @property
    def finished(self) -> bool:
        """Whether the operator has quit, or the device has been disconnected."""
        ...

    def close(self) -> None:
        """Disconnect from the device; may be called more than once, and without `open`."""
        ...


def make_device(name: str, robot: Robot, **options: object) -> Device:
    """Return a registered device for a robot.

    Args:
        name: Name of the device in the entry-point group `waldo.devices`.
        robot: Description of the robot that the device commands.
        options: The device's options.

    Raises:
        UnknownNameError: If there is no device of this name; the message lists the registered names.
    """
    return cast("Device", registry.load("waldo.devices", name, "device")(robot, **options))


def parse_device_options(name: str, texts: Sequence[str]) -> dict[str, object]:
    """Return the options of a registered device from "name=value" texts of the command line.

    Raises:
        UnknownNameError: If there is no such device, or it has no such option.
    """
    kind: Any = registry.load("waldo.devices", name, "device")
    values = split_options(texts)
    classes = kind.option_classes(values) if hasattr(kind, "option_classes") else (getattr(kind, "Options", None),)
    return convert_options(values, *classes)
