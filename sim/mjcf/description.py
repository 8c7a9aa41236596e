"""The description of a robot that its model file gives: joints with limits, home position and cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from waldo.robots.description import Camera, Joint, Robot
from waldo.robots.motor import Motor
from waldo.sim.engine import Model
from waldo.sim.mjcf.drives import Drive
from waldo.sim.mjcf.home import home_data
from waldo.sim.mjcf.names import topic_name
from waldo.sim.mjcf.readings import Readings
from waldo.sim.mjcf.robot_model import load_robot_model

SPEED, ACCELERATION = 3.0, 20.0
"""Velocity and acceleration limits of a hinge, of which a model has none [rad/s, rad/s²]."""
LINEAR_SPEED, LINEAR_ACCELERATION = 0.5, 5.0
"""Velocity and acceleration limits of a slide [m/s, m/s²]."""
UNLIMITED_RAD, UNLIMITED_M = 2 * np.pi, 10.0
"""Distance from home that a joint without limits may move [rad, m]."""
IMAGE_SIZE = (320, 240)
"""Width and height of the images of cameras that have no resolution [px]."""
PIXELS = (16, 4096)
"""Smallest and largest width and height of an image [px]."""


def describe(path: Path) -> Robot:
    """Return the robot of a model file; it has the name of the file.

    Raises:
        FileError: If the file is not a model of a robot.
    """
    loaded = load_robot_model(path)
    home = Readings(loaded).position(home_data(loaded.model)).tolist()
    return Robot(
        name=topic_name(path.stem, "robot"),
        model=path.stem,
        joints=tuple(_joint(*one) for one in zip(loaded.drives, loaded.names, home, strict=True)),
        cameras=tuple(_camera(loaded.model, i) for i in range(loaded.model.ncam)),
        mjcf=str(path.absolute()),
    )


def _joint(drive: Drive, name: str, home: float) -> Joint:
    is_slide = drive.transmission.is_slide
    far = UNLIMITED_M if is_slide else UNLIMITED_RAD
    lower = drive.lower if np.isfinite(drive.lower) else min(home, drive.upper) - far
    upper = drive.upper if np.isfinite(drive.upper) else max(home, drive.lower) + far
    return Joint(
        name=name,
        motor=Motor(name="unknown"),
        lower=lower,
        upper=upper,
        velocity=min(LINEAR_SPEED if is_slide else SPEED, drive.velocity),
        acceleration=LINEAR_ACCELERATION if is_slide else ACCELERATION,
        effort=float(np.abs(drive.efforts).max()),
        home=float(np.clip(home, lower, upper)),
    )


def _camera(model: Model, index: int) -> Camera:
    """Return a camera with its resolution, as a codec supports it: even, and neither tiny nor huge."""
    resolution = model.cam_resolution[index]
    # MuJoCo's default is one pixel.
    width, height = resolution if resolution.min() > 1 else IMAGE_SIZE
    width, height = (int(np.clip(size - size % 2, *PIXELS)) for size in (width, height))
    return Camera(name=model.camera(index).name, width=width, height=height, fps=30)
