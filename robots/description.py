"""What a robot is: joints, motors, cameras, limits. Presets are modules of constants beside this one (so101, g1)."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo import registry
from waldo.robots.motor import Motor


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """One actuated joint and the motor that drives it. Revolute: rad, N·m; prismatic: m, N."""

    name: str
    """The vendor's own name."""
    motor: Motor
    """The motor type that drives it."""
    lower: float
    """Lower position limit [rad or m]."""
    upper: float
    """Upper position limit [rad or m]."""
    velocity: float
    """Largest speed that is ever commanded [rad/s or m/s]."""
    acceleration: float
    """Largest acceleration that is ever commanded [rad/s² or m/s²]."""
    effort: float
    """Largest torque or force that the drive gives [N·m or N]."""
    home: float = 0.0
    """Position at rest [rad or m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera of a robot or of its cell."""

    name: str
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    fps: int
    """Frames a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEffector:
    """A gripper, by the names of its parts in the robot's MJCF."""

    site: str
    """Site between the fingertips; its pose is the pose of the end effector."""
    pads: tuple[str, str]
    """Geoms of the two finger pads; the distance between them is the gripper width."""


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot's description. Arrays are in the order of `joints`."""

    name: str
    """Name of the preset."""
    model: str
    """Vendor and type, for people."""
    joints: tuple[Joint, ...]
    cameras: tuple[Camera, ...]
    mjcf: str
    """MJCF file: a file name inside waldo.robots/models, or a path. Its joints and actuators bear the joints' names."""
    end_effectors: tuple[EndEffector, ...] = ()
    """Grippers in the order of UMI's `robot0`, `robot1` ...; empty if the robot has none or they are unknown."""
    sources: tuple[str, ...] = ()
    """Where dimensions, inertias and limits come from."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The joints' names, in the order of every array."""
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
        """Positions at rest, shape (joints,) [rad or m]."""
        return np.array([joint.home for joint in self.joints])

    @property
    def mjcf_path(self) -> Path:
        """Where the MJCF file lies."""
        path = Path(self.mjcf)
        return path if path.is_absolute() else Path(str(importlib.resources.files("waldo.robots") / "models" / path))


def presets() -> tuple[str, ...]:
    """Return the names of the registered robots (entry points `waldo.robots`)."""
    return registry.names("waldo.robots")


def load_robot(name: str) -> Robot:
    """Return a registered robot, or one read from MJCF: "arm.xml", or "menagerie:unitree_g1" of MuJoCo Menagerie.

    Raises:
        UnknownNameError: If no robot has this name; the message suggests the closest match.
    """
    if name.endswith(".xml") or name.startswith("menagerie:"):
        return registry.load("waldo.robot_models", "mjcf", "robot model format")(name)
    return registry.load("waldo.robots", name, "robot")
