"""Robot descriptions: joints, motors, cameras and limits. The presets are modules of constants in `presets/`."""

from __future__ import annotations

import dataclasses
import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.errors import InvalidValueError
from waldo.robots.motor import Motor


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """One actuated joint and its motor. Units are rad and N·m for a revolute joint, m and N for a prismatic one."""

    name: str
    """Name given by the manufacturer."""
    motor: Motor
    """Motor type."""
    lower: float
    """Lower position limit [rad or m]."""
    upper: float
    """Upper position limit [rad or m]."""
    velocity: float
    """Largest commanded speed [rad/s or m/s]."""
    acceleration: float
    """Largest commanded acceleration [rad/s² or m/s²]."""
    effort: float
    """Largest torque or force of the drive [N·m or N]."""
    home: float = 0.0
    """Home position [rad or m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera of a robot or its cell."""

    name: str
    width: int
    """Width [pixels]."""
    height: int
    """Height [pixels]."""
    fps: int
    """Frame rate [1/s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEffector:
    """A gripper, by the names of its parts in the robot's MJCF."""

    site: str
    """Site between the fingertips; its pose is the pose of the end effector."""
    pads: tuple[str, str]
    """Geoms of the two finger pads; the distance between them is the gripper width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of a robot's joints that are connected by themselves: an arm of a pair, or a hand."""

    name: str
    """Name within the robot, such as "left"."""
    robot: Robot
    """The part as a robot of its own."""
    prefix: str = ""
    """Precedes the names of the part's joints and cameras in the robot, such as "left_"."""
    driver: str = ""
    """Driver of the part's own interface; empty if it has the driver that is chosen for the robot."""

    @property
    def joints(self) -> tuple[Joint, ...]:
        """The part's joints, named as in the robot."""
        return tuple(dataclasses.replace(joint, name=self.prefix + joint.name) for joint in self.robot.joints)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The part's cameras, named as in the robot."""
        return tuple(dataclasses.replace(camera, name=self.prefix + camera.name) for camera in self.robot.cameras)


@dataclass(frozen=True, kw_only=True)
class Robot:
    """Description of a robot. Arrays are in the order of `joints`."""

    name: str
    """Name of the preset."""
    model: str
    """Manufacturer and type."""
    joints: tuple[Joint, ...]
    cameras: tuple[Camera, ...]
    mjcf: str
    """MJCF file: a path, or a file name in `robots/models`. Its joints have the names of `joints`."""
    end_effectors: tuple[EndEffector, ...] = ()
    """Grippers in the order of UMI's `robot0`, `robot1` ...; empty if the robot has none or they are unknown."""
    sources: tuple[str, ...] = ()
    """Sources of dimensions, inertias and limits."""
    parts: tuple[Part, ...] = ()
    """Parts that are connected by themselves, in the order of the joints; empty for a robot with one connection."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError unless the parts have the robot's joints."""
        found = tuple(joint.name for part in self.parts for joint in part.joints)
        if self.parts and found != self.joint_names:
            raise InvalidValueError(
                f"joints of the parts of {self.name}", found, f"those of the robot: {self.joint_names}"
            )

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """Lower position limits, shape (joints,) [rad or m]."""
        return np.array([joint.lower for joint in self.joints])

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """Upper position limits, shape (joints,) [rad or m]."""
        return np.array([joint.upper for joint in self.joints])

    @cached_property
    def home(self) -> NDArray[np.float64]:
        """Home position, shape (joints,) [rad or m]."""
        return np.array([joint.home for joint in self.joints])

    @property
    def mjcf_path(self) -> Path:
        """Path of the MJCF file."""
        path = Path(self.mjcf)
        return path if path.is_absolute() else Path(str(importlib.resources.files("waldo.robots") / "models" / path))


def presets() -> tuple[str, ...]:
    """Return the names of the registered robots (entry points `waldo.robots`)."""
    return registry.names("waldo.robots")


def load_robot(name: str) -> Robot:
    """Return a registered robot, or one of a model: "arm.xml" (MJCF), "arm.urdf", or "menagerie:unitree_g1".

    The latter is a folder of MuJoCo Menagerie.

    Raises:
        UnknownNameError: If no robot has this name; the message suggests the closest match.
    """
    if name.lower().endswith((".xml", ".urdf")) or name.startswith("menagerie:"):
        return registry.load("waldo.robot_models", "mjcf", "robot model format")(name)
    return registry.load("waldo.robots", name, "robot")
