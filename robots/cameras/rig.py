"""Cameras beside a driver that has none: a driver with both."""

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
from waldo.robots.driver import Driver, Frame, MotorSensors, RobotState
from waldo.typing import Array


def make_source(where: str, camera: Camera) -> Source:
    """Return the source of "0", "/dev/video2", "rtsp://...", "realsense:123456", "realsense" or a video file."""
    if where.isdigit():
        return DeviceSource(int(where), camera)
    if where == "realsense" or where.startswith("realsense:"):
        return RealSenseSource(where.partition(":")[2], camera)
    if where.startswith("/dev/") or "://" in where:
        return DeviceSource(where, camera)
    path = Path(where)
    if not path.is_file():
        raise InvalidValueError(
            f"camera {camera.name}", where, "a number, /dev/video..., rtsp://..., realsense:SERIAL or a video file"
        )
    return FileSource(path, camera)


def parse_cameras(text: str, robot: Robot) -> dict[str, Source]:
    """Return camera -> source from "front=0, wrist=realsense:123456"; the cameras must be the robot's."""
    known = {camera.name: camera for camera in robot.cameras}
    found: dict[str, Source] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        name, equals, where = (word.strip() for word in part.partition("="))
        if not equals or name not in known:
            raise InvalidValueError(
                "cameras", part, f"camera=source with a camera of the robot ({', '.join(known) or 'none'})"
            )
        found[name] = make_source(where, known[name])
    return found


class WithCameras:
    """A Driver (waldo.robots.driver): another driver, and cameras that are devices of their own."""

    def __init__(self, driver: Driver, sources: Mapping[str, Source], cameras: Sequence[Camera]) -> None:
        """Take the driver, where pictures come from, and the cameras; those without a source are left out."""
        self.driver, self._cameras = driver, tuple(camera for camera in cameras if camera.name in sources)
        self.readers = [CameraReader(name, source) for name, source in sources.items()]
        self.robot = self._shown()

    def _shown(self) -> Robot:
        """Return the driver's robot with the cameras of this rig."""
        return dataclasses.replace(self.driver.robot, cameras=self._cameras)

    def connect(self) -> None:
        """Connect the robot, then open every camera."""
        self.driver.connect()
        self.robot = self._shown()
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
        """Return what the motors said."""
        return self.driver.motors()

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,); return what was really sent."""
        return self.driver.write(targets)

    def frames(self) -> Sequence[Frame]:
        """Return the pictures taken since the last call, camera by camera."""
        return [frame for reader in self.readers for frame in reader.frames()]

    def notes(self) -> tuple[str, ...]:
        """Return what is wrong with the cameras now, in words."""
        return tuple(reader.note for reader in self.readers if reader.note)

    def events(self) -> list[str]:
        """Return what has happened to the cameras since the last call: lost, back."""
        return [event for reader in self.readers for event in reader.events()]

    def disconnect(self) -> None:
        """Close the cameras, and leave the robot holding."""
        for reader in self.readers:
            reader.close()
        self.driver.disconnect()
