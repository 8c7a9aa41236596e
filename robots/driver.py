"""The seam between the robot node and a robot: what every driver offers, real or simulated.

A driver speaks SI units in the order of `robot.joints`; raw register counts and degrees stay inside it. The robot node
is its only caller: it reads, filters the command through the safety chain, and writes, once a control period.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo.errors import UnknownNameError
from waldo.robots.description import Robot

Array = NDArray[np.float64]


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
    limp: NDArray[np.bool_]
    """Which motors have switched themselves off: they give no torque, or little, whatever they are told."""

    @classmethod
    def unknown(cls, joints: int) -> MotorSensors:
        """Return the readings of motors that tell nothing."""
        columns = [f.name for f in fields(cls) if f.name not in ("faults", "limp")]
        nothing = {name: np.full(joints, np.nan) for name in columns}
        return cls(**nothing, faults=("",) * joints, limp=np.zeros(joints, dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorReadings:
    """What is known of each motor; every array has shape (joints,), NaN where nobody knows."""

    winding_c: Array
    """Winding temperature, measured and estimated [°C]."""
    winding_std_k: Array
    """Standard deviation of the winding temperature [K]."""
    housing_c: Array
    """Housing temperature [°C]."""
    housing_std_k: Array
    """Standard deviation of the housing temperature [K]."""
    current_a: Array
    """Motor current [A]."""
    voltage_v: Array
    """Supply voltage [V]."""
    torque_nm: Array
    """Torque at the joint [N·m]."""
    duty_ratio: Array
    """Share of the last ten minutes under load, 0..1 (IEC 60034-1, ED%)."""
    utilization_ratio: Array
    """Thermal-equivalent torque over rated."""
    time_to_limit_s: Array
    """Time until the winding's limit if the recent load goes on [s], infinity for never; the median."""
    time_to_limit_p10_s: Array
    """The same, which is shorter with a probability of 10 %."""
    time_to_limit_p90_s: Array
    """The same, which is shorter with a probability of 90 %."""
    time_to_limit_planned_s: Array
    """Time until the limit under the mean load of the last episodes [s]; NaN before one has ended."""
    episodes_left: Array
    """How many more episodes like the last ones fit, infinity for no end; NaN before one has ended."""
    cooldown_s: Array
    """Time that the winding must rest until it has cooled down [s]; 0 where it is cool."""
    derate_ratio: Array
    """Share of full speed that the governor leaves, 0..1."""
    limit_c: Array
    """The winding's limit [°C]."""
    winding_sensor_c: Array
    """What a sensor in the winding reads [°C]."""
    housing_sensor_c: Array
    """What a sensor on the housing reads [°C]."""
    driver_sensor_c: Array
    """What a sensor on the driver's board reads [°C]."""
    notes: tuple[str, ...]
    """What is wrong with each motor or its sensors, in words; empty where nothing."""


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


DRIVERS = {
    "twin": "waldo.sim.twin:TwinDriver",
    "model": "waldo.sim.model_robot:ModelDriver",
    "feetech": "waldo.robots.drivers.feetech:FeetechDriver",
    "dynamixel": "waldo.robots.drivers.dynamixel:DynamixelDriver",
    "damiao": "waldo.robots.drivers.damiao:DamiaoDriver",
    "robstride": "waldo.robots.drivers.robstride:RobStrideDriver",
    "unitree": "waldo.robots.drivers.unitree:UnitreeDriver",
    "lerobot": "waldo.robots.drivers.lerobot_robot:LeRobotDriver",
    "topics": "waldo.robots.drivers.topic_map:TopicMapDriver",
}
"""Driver name -> where its class lives; imported when it is named, so that a robot's computer needs no simulator."""


def load_driver(name: str) -> Callable[..., Driver]:
    """Return the class of the driver `name`; its first argument is the robot's description."""
    if name not in DRIVERS:
        raise UnknownNameError("driver", name, DRIVERS)
    module, _, attribute = DRIVERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
