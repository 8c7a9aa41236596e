"""Cameras: a real video file through OpenCV, and devices that get lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.errors import ConfigError, HardwareError
from waldo.robots.cameras.capture import DeviceSource, FileSource
from waldo.robots.cameras.reader import CameraReader
from waldo.robots.cameras.realsense_source import RealSenseSource
from waldo.robots.cameras.rig import WithCameras, make_source, parse_cameras
from waldo.robots.description import Camera, Robot
from waldo.robots.driver import Driver, Frame, SimulatedDriver

CAMERA = Camera(name="front", width=64, height=48, fps=200)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five pictures: red grows, green and blue stay."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (128, 96))
    for i in range(5):
        writer.write(np.full((96, 128, 3), (20, 100, 40 * i), np.uint8))
    writer.release()
    return path


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Webcam:
    """A VideoCapture that gives `good` pictures and is then unplugged."""

    def __init__(self, good: int, there: bool = True) -> None:
        self.good, self.there = good, there
        self.settings: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.there

    def set(self, what: int, value: float) -> bool:
        self.settings[what] = value
        return True

    def read(self) -> tuple[bool, Any]:
        self.good -= 1
        return (True, np.full((48, 64, 3), (1, 2, 3), np.uint8)) if self.good >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_video_file_plays_for_ever_in_rgb_and_the_cameras_size(video: Path) -> None:
    reader = CameraReader("front", FileSource(video, CAMERA))
    reader.open()
    frames: list[Frame] = []
    until(lambda: bool(frames.extend(reader.frames()) or len(frames) > 7))
    reader.close()
    assert frames[0].rgb.shape == (48, 64, 3)
    reds = [int(frame.rgb[24, 32, 0]) for frame in frames]
    np.testing.assert_allclose(reds[:6], [0, 40, 80, 120, 160, 0], atol=12)
    np.testing.assert_allclose(frames[2].rgb[24, 32, 1:], [100, 20], atol=12)
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    assert (reader.note, reader.events()) == ("", [])


def test_a_lost_camera_leaves_a_gap_and_comes_back() -> None:
    tries: list[float] = []
    devices = [Webcam(3), Webcam(0, there=False), Webcam(0, there=False), Webcam(10**9)]
    made: list[Webcam] = []

    def factory(where: int | str) -> Webcam:
        made.append(devices[len(made)])
        return made[-1]

    gate = threading.Event()

    def wait(ended: threading.Event, seconds: float) -> None:
        tries.append(seconds)
        gate.wait(60)

    reader = CameraReader("front", DeviceSource(0, CAMERA, factory), wait)
    reader.open()
    until(lambda: bool(tries))
    assert len(reader.frames()) == 3
    assert reader.frames() == []
    assert reader.note == "camera front (/dev/video0) is lost; no pictures until it is back"
    gate.set()
    until(lambda: reader.note == "")
    until(lambda: bool(reader.frames()))
    lost, back = reader.events()
    assert "is lost" in lost
    assert back.startswith("camera front (/dev/video0) is back after ")
    assert tries == [0.5, 1.0, 2.0]
    reader.close()
    assert [device.released for device in made] == [True] * 4
    assert made[3].settings[cv2.CAP_PROP_FRAME_WIDTH] == 64


def test_a_camera_that_is_not_there_at_the_start_is_an_error() -> None:
    reader = CameraReader("front", DeviceSource(7, CAMERA, lambda where: Webcam(0, there=False)))
    with pytest.raises(HardwareError, match="camera /dev/video7 cannot be opened; is it plugged in"):
        reader.open()


def test_realsense_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(HardwareError, match="camera RealSense 123 needs the package pyrealsense2"):
        RealSenseSource("123", CAMERA).open()


def test_sources_by_name(video: Path, toy_robot: Robot) -> None:
    assert make_source("2", CAMERA).name == "/dev/video2"
    assert make_source("rtsp://cam/1", CAMERA).name == "rtsp://cam/1"
    assert make_source("realsense:99", CAMERA).name == "RealSense 99"
    assert make_source(str(video), CAMERA).name == str(video)
    with pytest.raises(ConfigError, match=r"camera front is 'nowhere\.mp4', expected a number, /dev/video"):
        make_source("nowhere.mp4", CAMERA)
    assert set(parse_cameras("front=0", toy_robot)) == {"front"}
    with pytest.raises(ConfigError, match=r"cameras is 'rear=0', expected camera=source with a camera"):
        parse_cameras("rear=0", toy_robot)
    bad = video.with_name("bad.avi")
    bad.write_bytes(b"no video")
    with pytest.raises(HardwareError, match="is no video that OpenCV reads"):
        FileSource(bad, CAMERA).open()


def test_a_driver_with_cameras_is_a_driver(video: Path, make_toy_driver: Callable[[], Any]) -> None:
    toy = make_toy_driver()
    both = WithCameras(toy, {"front": FileSource(video, CAMERA)}, toy.robot.cameras)
    assert isinstance(both, Driver)
    # Its pictures are of the real world: its time cannot be advanced.
    assert not isinstance(both, SimulatedDriver)
    both.connect()
    until(lambda: bool(both.frames()))
    both.write(np.array([0.1, 0.2]))
    toy.advance()
    assert both.read().position.tolist() == [0.1, 0.2]
    assert both.motors().winding_c.tolist() == [30.0, 30.0]
    assert (both.notes(), both.events()) == ((), [])
    assert [camera.name for camera in both.robot.cameras] == ["front"]
    both.disconnect()
    missing = WithCameras(
        toy, {"front": DeviceSource(9, CAMERA, lambda where: Webcam(0, there=False))}, toy.robot.cameras
    )
    with pytest.raises(HardwareError, match="cannot be opened"):
        missing.connect()
