"""The interface between the robot node and a robot, real or simulated.

A driver uses SI units in the order of `robot.joints`; register values and degrees stay inside it. The control cycle is
its only caller: once per control period it reads, passes the command through the safety chain, and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.robots.description import Robot
from waldo.robots.event import Event
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorSensors:
    """Readings of a robot's motors; every array has shape (joints,), NaN where a motor does not report a value."""

    current_a: Array
    """Winding current [A]; its sign is that of the torque."""
    torque_nm: Array
    """Torque at the joint [N·m]."""
    pwm_ratio: Array
    """Fraction of the supply voltage that is applied to the winding, -1 to 1."""
    voltage_v: Array
    """Supply voltage [V]."""
    winding_c: Array
    """Reading of a temperature sensor in the winding [°C]."""
    housing_c: Array
    """Reading of a temperature sensor on the housing [°C]."""
    driver_c: Array
    """Reading of a temperature sensor on the motor controller [°C]."""
    faults: tuple[str, ...]
    """Fault of each motor, as text; empty if there is none."""
    disabled: NDArray[np.bool_]
    """True for motors whose drive has disabled or reduced its torque because of a fault or protection."""

    @classmethod
    def unknown(cls, joints: int) -> MotorSensors:
        """Return the readings of motors that report nothing."""
        columns = [f.name for f in fields(cls) if f.name not in ("faults", "disabled")]
        unknown = {name: np.full(joints, np.nan) for name in columns}
        return cls(**unknown, faults=("",) * joints, disabled=np.zeros(joints, dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotState:
    """One reading of a robot."""

    stamp_ns: int
    """Time of measurement [ns since the epoch, or since the start of simulated time]."""
    position: Array
    """Joint positions, shape (joints,) [rad or m]."""
    velocity: Array
    """Joint velocities, shape (joints,) [rad/s or m/s]."""
    effort: Array
    """Joint torques or forces, shape (joints,) [N·m or N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One camera image: decoded pixels, or the JPEG that the camera delivered."""

    camera: str
    stamp_ns: int
    """Exposure time [ns]."""
    rgb: NDArray[np.uint8] | None = None
    """Shape (height, width, 3); None for a JPEG."""
    jpeg: bytes | None = None
    """The camera's own JPEG, published without decoding; None for decoded pixels."""

    def __post_init__(self) -> None:
        if (self.rgb is None) == (self.jpeg is None):
            raise ValueError(f"frame of camera {self.camera} needs either rgb or jpeg")

    def to_rgb(self) -> NDArray[np.uint8]:
        """Return the pixels, shape (height, width, 3); decodes a JPEG.

        Raises:
            ValueError: If the JPEG is damaged.
        """
        if self.rgb is not None:
            return self.rgb
        import cv2

        try:
            bgr = cv2.imdecode(np.frombuffer(self.jpeg or b"", np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # no data, or a header that claims too large an image
            bgr = None
        if bgr is None:
            raise ValueError(f"frame of camera {self.camera} is not a valid JPEG")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


@runtime_checkable
class Driver(Protocol):
    """A robot that can be read and commanded."""

    robot: Robot

    def connect(self) -> None:
        """Open the device and hold the present position.

        Raises:
            HardwareError: If the robot cannot be reached; the message states what to do.
        """
        ...

    def read(self) -> RobotState:
        """Return the present state."""
        ...

    def motors(self) -> MotorSensors:
        """Return the motor readings of the last `read`, or new ones."""
        ...

    def write(self, targets: Array) -> Array:
        """Command position targets and return the applied ones, both of shape (joints,) [rad or m]."""
        ...

    def frames(self) -> Sequence[Frame]:
        """Return the camera images taken since the last call."""
        ...

    def disconnect(self) -> None:
        """Close the device; the robot keeps holding its position."""
        ...


@runtime_checkable
class SimulatedDriver(Driver, Protocol):
    """A driver whose time the robot node advances, and whose world can be reset."""

    def advance(self) -> None:
        """Advance the simulation by one control period."""
        ...

    def reset(self, seed: int) -> bool:
        """Build a new scene from `seed`; time continues.

        Returns:
            Whether the robot was moved; False if it continues from where it is, with another goal.
        """
        ...

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return the names and values of the simulation's ground truth: object poses and the goal."""
        ...

    def task(self) -> Mapping[str, object]:
        """Return the task: {"task": instruction, "name": task name, "seed": seed}."""
        ...

    def success(self) -> bool:
        """Return whether the task is done."""
        ...


@runtime_checkable
class CameraMonitor(Protocol):
    """An object that monitors cameras; a driver may be one."""

    def camera_faults(self) -> Mapping[str, str]:
        """Return the present fault of each camera, as text; empty for a camera that works."""
        ...

    def events(self) -> Sequence[Event]:
        """Return the events since the last call, such as a camera that disconnected or reconnected."""
        ...


def load_driver(name: str) -> Callable[..., Driver]:
    """Return the driver class that is registered as `name` (entry points `waldo.drivers`).

    Its first argument is the robot's description; the others are the driver's options.
    """
    return registry.load("waldo.drivers", name, "driver")
