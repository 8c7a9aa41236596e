"""The seam between the robot node and a robot: what every driver offers, real or simulated.

A driver speaks SI units in the order of `robot.joints`; raw register counts and degrees stay inside it. The robot node
is its only caller: it reads, filters the command through the safety chain, and writes, once a control period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.robots.description import Robot
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorSensors:
    """What a robot's motors say of themselves; every array has shape (joints,), NaN where one does not tell."""

    current_a: Array
    """Current through the winding [A]; signed like the torque."""
    torque_nm: Array
    """Torque at the joint [N·m]."""
    pwm_ratio: Array
    """Share of the supply voltage that is at the winding, -1..1."""
    voltage_v: Array
    """Supply voltage [V]."""
    winding_c: Array
    """A sensor in the winding [°C]."""
    housing_c: Array
    """A sensor on the housing [°C]."""
    driver_c: Array
    """A sensor on the driver's board [°C]."""
    faults: tuple[str, ...]
    """What each motor complains of, in words; empty where nothing."""
    disabled: NDArray[np.bool_]
    """Which motors have switched themselves off: they give no torque, or little, whatever they are told."""

    @classmethod
    def unknown(cls, joints: int) -> MotorSensors:
        """Return the readings of motors that tell nothing."""
        columns = [f.name for f in fields(cls) if f.name not in ("faults", "disabled")]
        nothing = {name: np.full(joints, np.nan) for name in columns}
        return cls(**nothing, faults=("",) * joints, disabled=np.zeros(joints, dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotState:
    """One reading of a robot."""

    stamp_ns: int
    """When it was true [ns since the epoch, or since the start of simulated time]."""
    position: Array
    """Joint positions, shape (joints,) [rad or m]."""
    velocity: Array
    """Joint velocities, shape (joints,) [rad/s or m/s]."""
    effort: Array
    """Joint torques or forces, shape (joints,) [N·m or N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One camera image."""

    camera: str
    stamp_ns: int
    """When it was exposed [ns]."""
    rgb: NDArray[np.uint8]
    """Shape (height, width, 3)."""


@runtime_checkable
class Driver(Protocol):
    """A robot that can be read and commanded."""

    robot: Robot

    def connect(self) -> None:
        """Open the device and hold the present position; raises HardwareError with what to do."""
        ...

    def read(self) -> RobotState:
        """Return the present state."""
        ...

    def motors(self) -> MotorSensors:
        """Return what the motors said at the last `read`, or now."""
        ...

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,); return what was really sent."""
        ...

    def frames(self) -> Sequence[Frame]:
        """Return the camera images taken since the last call."""
        ...

    def disconnect(self) -> None:
        """Leave the robot holding its position and close the device."""
        ...


@runtime_checkable
class SimulatedDriver(Driver, Protocol):
    """A driver whose time the robot node advances, and whose world can be started again."""

    def advance(self) -> None:
        """Let one control period pass."""
        ...

    def reset(self, seed: int) -> None:
        """Lay the world out anew from `seed`; time goes on."""
        ...

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return the names and values of the simulation's ground truth: object poses and the goal."""
        ...

    def task(self) -> Mapping[str, object]:
        """Return what is to be done: {"task": text, "name": task name, "seed": seed}."""
        ...

    def success(self) -> bool:
        """Say whether the task is done."""
        ...


def load_driver(name: str) -> Callable[..., Driver]:
    """Return the driver class registered as `name` (entry points `waldo.drivers`).

    Its first argument is the robot's description, the others are the driver's options.
    """
    return registry.load("waldo.drivers", name, "driver")
