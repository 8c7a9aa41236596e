"""Cameras beside a driver: a video file through OpenCV, devices that disconnect, and devices that deliver JPEG."""

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
from waldo.robots.cameras.capture import DeviceSource, FileSource, jpeg_of
from waldo.robots.cameras.reader import CameraReader
from waldo.robots.cameras.realsense_source import RealSenseSource
from waldo.robots.cameras.rig import WithCameras, make_source, parse_cameras
from waldo.robots.control.cycle import ControlCycle
from waldo.robots.description import Camera, Robot
from waldo.robots.diagnostics import ERROR, OK
from waldo.robots.driver import CameraMonitor, Driver, Frame, SimulatedDriver
from waldo.robots.event import Event

CAMERA = Camera(name="front", width=64, height=48, fps=200)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Return a video of five images whose red grows."""
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
    """A VideoCapture that delivers `good` images and is then unplugged."""

    def __init__(self, good: int, there: bool = True) -> None:
        self.good, self.there = good, there
        self.settings: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.there

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return key != cv2.CAP_PROP_CONVERT_RGB or value == 1

    def read(self) -> tuple[bool, Any]:
        self.good -= 1
        return (True, np.full((48, 64, 3), (1, 2, 3), np.uint8)) if self.good >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_video_file_is_played_in_a_loop_in_rgb_and_the_cameras_size(video: Path) -> None:
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
    assert (reader.fault, reader.events()) == ("", [])


def test_a_camera_that_disconnects_leaves_a_gap_and_reconnects() -> None:
    tries: list[float] = []
    devices = [Webcam(3), Webcam(0, there=False), Webcam(0, there=False), Webcam(10**9)]
    made: list[Webcam] = []

    def factory(address: int | str) -> Webcam:
        made.append(devices[len(made)])
        return made[-1]

    gate = threading.Event()

    def wait(closed: threading.Event, seconds: float) -> None:
        tries.append(seconds)
        gate.wait(60)

    reader = CameraReader("front", DeviceSource(0, CAMERA, factory), wait)
    reader.open()
    until(lambda: bool(tries))
    assert len(reader.frames()) == 3
    assert reader.frames() == []
    assert reader.fault == "/dev/video0 disconnected"
    gate.set()
    until(lambda: reader.fault == "")
    until(lambda: bool(reader.frames()))
    disconnected, reconnected = reader.events()
    assert disconnected == Event("camera front: /dev/video0 disconnected; no images until it reconnects", ERROR)
    assert reconnected.text.startswith("camera front: /dev/video0 reconnected after ")
    assert reconnected.level == OK
    assert tries == [0.5, 1.0, 2.0]
    reader.close()
    assert [device.released for device in made] == [True] * 4
    assert made[3].settings[cv2.CAP_PROP_FRAME_WIDTH] == 64


def test_a_camera_that_is_absent_at_the_start_is_an_error() -> None:
    reader = CameraReader("front", DeviceSource(7, CAMERA, lambda _: Webcam(0, there=False)))
    with pytest.raises(HardwareError, match="camera /dev/video7 cannot be opened; check the plug"):
        reader.open()


def test_realsense_requires_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(HardwareError, match="camera RealSense 123 requires the package pyrealsense2; install it with"):
        RealSenseSource("123", CAMERA).open()


def test_sources_by_address(video: Path, toy_robot: Robot) -> None:
    assert make_source("2", CAMERA).name == "/dev/video2"
    assert make_source("rtsp://cam/1", CAMERA).name == "rtsp://cam/1"
    assert make_source("realsense:99", CAMERA).name == "RealSense 99"
    assert make_source(str(video), CAMERA).name == str(video)
    with pytest.raises(ConfigError, match=r"camera front is 'nowhere\.mp4', expected a number, /dev/video"):
        make_source("nowhere.mp4", CAMERA)
    assert set(parse_cameras(["front=0"], toy_robot)) == {"front"}
    with pytest.raises(
        ConfigError, match=r"^--camera is 'rear=0', expected NAME=SOURCE with a camera of the robot \(front\)$"
    ):
        parse_cameras(["rear=0"], toy_robot)
    bad = video.with_name("bad.avi")
    bad.write_bytes(b"no video")
    with pytest.raises(HardwareError, match="is not a video that OpenCV can read"):
        FileSource(bad, CAMERA).open()


def test_a_driver_with_cameras_is_a_driver(video: Path, make_toy_driver: Callable[[], Any]) -> None:
    toy = make_toy_driver()
    both = WithCameras(toy, {"front": FileSource(video, CAMERA)}, toy.robot.cameras)
    assert isinstance(both, Driver)
    assert isinstance(both, CameraMonitor)
    # A real camera cannot be advanced.
    assert not isinstance(both, SimulatedDriver)
    both.connect()
    until(lambda: bool(both.frames()))
    both.write(np.array([0.1, 0.2]))
    toy.advance()
    assert both.read().position.tolist() == [0.1, 0.2]
    assert both.motors().winding_c.tolist() == [30.0, 30.0]
    assert (both.camera_faults(), both.events()) == ({"front": ""}, [])
    assert [camera.name for camera in both.robot.cameras] == ["front"]
    both.disconnect()
    missing = WithCameras(toy, {"front": DeviceSource(9, CAMERA, lambda _: Webcam(0, there=False))}, toy.robot.cameras)
    with pytest.raises(HardwareError, match="cannot be opened"):
        missing.connect()


def jpeg_image(number: int, width: int = 64, height: int = 48) -> bytes:
    _, data = cv2.imencode(".jpg", np.full((height, width, 3), number, np.uint8))
    return data.tobytes()


class JpegWebcam(Webcam):
    """A V4L2 device that delivers JPEG as OpenCV returns it: one row, padded; decoded while conversion is on."""

    def __init__(self, images: list[bytes]) -> None:
        super().__init__(len(images))
        self.images = images

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def read(self) -> tuple[bool, Any]:
        if not self.images:
            return False, None
        data = np.frombuffer(self.images.pop(0), np.uint8)
        if self.settings.get(cv2.CAP_PROP_CONVERT_RGB, 1) == 1:
            return True, cv2.imdecode(data, cv2.IMREAD_COLOR)
        return True, np.concatenate([data, np.zeros(100, np.uint8)])[None]


def test_the_jpeg_of_a_device_is_passed_through_byte_for_byte() -> None:
    images = [jpeg_image(10 * i) for i in range(4)]
    device = JpegWebcam(list(images))
    source = DeviceSource(0, CAMERA, lambda _: device)
    source.open()
    assert [source.read() for _ in range(3)] == images[1:]
    assert source.read() is None
    assert device.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")


def test_a_damaged_jpeg_is_skipped() -> None:
    good = jpeg_image(90)
    device = JpegWebcam([good, b"no image", good])
    source = DeviceSource("/dev/video3", CAMERA, lambda _: device)
    source.open()
    assert source.read() == good


def test_a_device_with_another_size_is_decoded_and_resized() -> None:
    device = JpegWebcam([jpeg_image(50, width=128, height=96) for _ in range(2)])
    source = DeviceSource(0, CAMERA, lambda _: device)
    source.open()
    image = source.read()
    assert isinstance(image, np.ndarray)
    assert image.shape == (48, 64, 3)
    assert device.settings[cv2.CAP_PROP_CONVERT_RGB] == 1


def test_a_network_stream_is_decoded() -> None:
    device = JpegWebcam([jpeg_image(50)])
    source = DeviceSource("rtsp://cam/1", CAMERA, lambda _: device)
    source.open()
    assert isinstance(source.read(), np.ndarray)
    assert cv2.CAP_PROP_CONVERT_RGB not in device.settings


def test_only_a_row_of_bytes_with_both_markers_is_a_jpeg() -> None:
    data = jpeg_image(3)
    row = np.frombuffer(data, np.uint8)
    assert jpeg_of(row) == jpeg_of(row[None]) == jpeg_of(row[:, None]) == data
    assert jpeg_of(row[:-2]) is None
    assert jpeg_of(row[2:]) is None
    assert jpeg_of(np.zeros((48, 64, 2), np.uint8)) is None


def test_a_reader_delivers_the_jpeg_of_its_source() -> None:
    images = [jpeg_image(10 * i) for i in range(3)]
    reader = CameraReader("front", DeviceSource(0, CAMERA, lambda _: JpegWebcam(list(images))))
    reader.open()
    frames: list[Frame] = []
    until(lambda: bool(frames.extend(reader.frames()) or len(frames) >= 2))
    reader.close()
    assert [frame.jpeg for frame in frames[:2]] == images[1:]


def test_a_camera_that_disconnects_and_reconnects_reaches_the_log_and_the_status(
    make_toy_driver: Callable[[], Any],
) -> None:
    gate, waiting = threading.Event(), threading.Event()
    devices = iter([Webcam(1), Webcam(10**9)])

    def wait(closed: threading.Event, seconds: float) -> None:
        waiting.set()
        gate.wait(60)

    toy = make_toy_driver()
    rig = WithCameras(toy, {"front": DeviceSource(0, CAMERA, lambda _: next(devices))}, toy.robot.cameras)
    rig.readers[0]._wait = wait
    rig.connect()
    assert waiting.wait(60)
    cycle = ControlCycle(rig)
    first = cycle.act(10**18, 0.0)
    assert Event("camera front: /dev/video0 disconnected; no images until it reconnects", ERROR) in first.events
    assert [(one.level, one.message) for one in first.statuses if one.component == "camera front"] == [
        (ERROR, "/dev/video0 disconnected")
    ]
    gate.set()
    until(lambda: rig.readers[0].fault == "")
    second = cycle.act(10**18 + 1, 0.1)
    assert [event.text[:40] for event in second.events] == ["camera front: /dev/video0 reconnected af"]
    assert [(one.level, one.message) for one in second.statuses if one.component == "camera front"] == [
        (OK, "no fault")
    ]
    rig.disconnect()
