"""Cameras that are separate devices, added to the driver of a robot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from waldo.errors import InvalidValueError
from waldo.robots.cameras.capture import DeviceSource, FileSource
from waldo.robots.cameras.reader import CameraReader
from waldo.robots.cameras.realsense_source import RealSenseSource
from waldo.robots.cameras.source import Source
from waldo.robots.description import Camera, Robot
from waldo.robots.driver import CameraMonitor, Driver, Frame, MotorSensors, RobotState
from waldo.robots.event import Event
from waldo.typing import Array


def make_source(address: str, camera: Camera) -> Source:
    """Return the source of an address: "0", "/dev/video2", "rtsp://...", "realsense:SERIAL" or a video file."""
    if address.isdigit():
        return DeviceSource(int(address), camera)
    if address == "realsense" or address.startswith("realsense:"):
        return RealSenseSource(address.partition(":")[2], camera)
    if address.startswith("/dev/") or "://" in address:
        return DeviceSource(address, camera)
    path = Path(address)
    if not path.is_file():
        raise InvalidValueError(
            f"camera {camera.name}", address, "a number, /dev/video..., rtsp://..., realsense:SERIAL or a video file"
        )
    return FileSource(path, camera)


def parse_cameras(options: Sequence[str], robot: Robot) -> dict[str, Source]:
    """Return camera -> source of options such as "front=0" and "wrist=realsense:123456".

    Raises:
        InvalidValueError: If an option is malformed or names a camera that the robot does not have.
    """
    known = {camera.name: camera for camera in robot.cameras}
    found: dict[str, Source] = {}
    for option in options:
        name, equals, address = (word.strip() for word in option.partition("="))
        if not equals or name not in known:
            expected = f"NAME=SOURCE with a camera of the robot ({', '.join(known) or 'none'})"
            raise InvalidValueError("--camera", option, expected)
        found[name] = make_source(address, known[name])
    return found


class WithCameras:
    """A driver (`waldo.robots.driver.Driver`) that adds cameras to another driver."""

    def __init__(self, driver: Driver, sources: Mapping[str, Source], cameras: Sequence[Camera]) -> None:
        """Combine a driver with cameras; cameras without a source are left out."""
        self.driver, self._cameras = driver, tuple(camera for camera in cameras if camera.name in sources)
        self.readers = [CameraReader(name, source) for name, source in sources.items()]
        self.robot = self._with_cameras()

    def _with_cameras(self) -> Robot:
        """Return the driver's robot with the cameras of this rig."""
        return dataclasses.replace(self.driver.robot, cameras=self._cameras)

    def connect(self) -> None:
        """Connect the robot, then open every camera."""
        self.driver.connect()
        self.robot = self._with_cameras()
        opened: list[CameraReader] = []
        try:
            for reader in self.readers:
                reader.open()
                opened.append(reader)
        except BaseException:
            for reader in opened:
                reader.close()
            self.driver.disconnect()
            raise

    def read(self) -> RobotState:
        """Return the present state."""
        return self.driver.read()

    def motors(self) -> MotorSensors:
        """Return the motor readings."""
        return self.driver.motors()

    def write(self, targets: Array) -> Array:
        """Command position targets and return the applied ones, both of shape (joints,) [rad or m]."""
        return self.driver.write(targets)

    def frames(self) -> Sequence[Frame]:
        """Return the images taken since the last call, camera by camera."""
        return [frame for reader in self.readers for frame in reader.frames()]

    def camera_faults(self) -> Mapping[str, str]:
        """Return the present fault of each camera, as text; empty for a camera that works."""
        inner = self.driver.camera_faults() if isinstance(self.driver, CameraMonitor) else {}
        return {**inner, **{reader.camera: reader.fault for reader in self.readers}}

    def events(self) -> Sequence[Event]:
        """Return the cameras' events since the last call: disconnected, reconnected."""
        inner = self.driver.events() if isinstance(self.driver, CameraMonitor) else []
        return [*inner, *(event for reader in self.readers for event in reader.events())]

    def disconnect(self) -> None:
        """Close the cameras and disconnect the robot, which keeps holding its position."""
        for reader in self.readers:
            reader.close()
        self.driver.disconnect()
