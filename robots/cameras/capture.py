"""Cameras and video files through OpenCV: V4L2 devices, network streams, and files in a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Image
from waldo.robots.description import Camera

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
"""Markers of the start and end of a JPEG (ITU-T T.81)."""

MAX_DAMAGED = 10
"""Consecutive damaged images after which a device counts as disconnected."""


def _capture(address: int | str) -> Any:
    import cv2

    return cv2.VideoCapture(address)


def _to_rgb(bgr: Any, camera: Camera) -> NDArray[np.uint8]:
    """Return an image in the camera's size; a device may ignore the size that was requested."""
    import cv2

    if bgr.shape[:2] != (camera.height, camera.width):
        bgr = cv2.resize(bgr, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    # NumPy takes thirty times as long, and keeps the interpreter from the control loop meanwhile.
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def jpeg_of(buffer: Any) -> bytes | None:
    """Return the JPEG in a buffer of an unconverted stream, without padding; None if it contains no JPEG."""
    data = np.asarray(buffer)
    if data.dtype != np.uint8 or data.size != max(data.shape):
        return None
    content = data.tobytes()
    end = content.rfind(JPEG_END)
    return content[: end + 2] if content.startswith(JPEG_START) and end > 0 else None


class DeviceSource:
    """A V4L2 device or a network stream.

    A V4L2 device that delivers JPEG in the requested size is read without decoding. Other devices are decoded.
    """

    def __init__(self, address: int | str, camera: Camera, factory: Callable[[int | str], Any] = _capture) -> None:
        """Start closed.

        Args:
            address: Number or path of a device, or the address of a stream.
            camera: Size and rate to request.
            factory: Function that opens an address; `cv2.VideoCapture` by default.
        """
        self._address, self._camera, self._factory = address, camera, factory
        self.name = f"/dev/video{address}" if isinstance(address, int) else address
        self._device: Any = None
        self._passthrough = False

    def open(self) -> None:
        """Open the device and request the camera's format, size and rate."""
        import cv2

        device = self._factory(self._address)
        if not device.isOpened():
            device.release()
            raise HardwareError(
                f"camera {self.name} cannot be opened; check the plug, and that no other program uses it "
                f"(fuser {self.name})"
            )
        local = isinstance(self._address, int) or self._address.startswith("/dev/")
        if local:
            # The format comes first: the sizes that a device offers depend on it.
            device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, self._camera.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._camera.height),
            (cv2.CAP_PROP_FPS, self._camera.fps),
            # One image in the queue: an old one is useless.
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            device.set(key, value)
        self._passthrough = local and self._delivers_jpeg(device)
        if local and not self._passthrough:
            device.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        self._device = device

    def _delivers_jpeg(self, device: Any) -> bool:
        """Switch off the conversion and return whether the device delivers JPEG in the requested size."""
        import cv2

        if not device.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            return False
        good, buffer = device.read()
        jpeg = jpeg_of(buffer) if good else None
        if jpeg is None:
            return False
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        return image is not None and image.shape[:2] == (self._camera.height, self._camera.width)

    def read(self) -> Image | None:
        """Return the next image; None if the device delivers none, or only damaged ones."""
        for _ in range(MAX_DAMAGED):
            good, buffer = self._device.read()
            if not good:
                return None
            if not self._passthrough:
                return _to_rgb(buffer, self._camera)
            if (jpeg := jpeg_of(buffer)) is not None:
                return jpeg
        return None

    def close(self) -> None:
        """Release the device."""
        device, self._device = self._device, None
        if device is not None:
            device.release()


class FileSource:
    """A video file, played in a loop at the camera's rate."""

    def __init__(self, path: Path, camera: Camera) -> None:
        self._path, self._camera = path, camera
        self.name = str(path)
        self._video: Any = None
        self._due_s = 0.0

    def open(self) -> None:
        """Open the file."""
        video = _capture(str(self._path))
        if not video.isOpened():
            raise HardwareError(f"{self._path} is not a video that OpenCV can read; use an MP4, AVI or MKV file")
        self._video, self._due_s = video, time.monotonic()

    def read(self) -> Image | None:
        """Return the next image when it is due; the first one follows the last one."""
        import cv2

        good, bgr = self._video.read()
        if not good:
            self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            good, bgr = self._video.read()
        self._due_s = max(self._due_s + 1 / self._camera.fps, time.monotonic() - 1 / self._camera.fps)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        return _to_rgb(bgr, self._camera) if good else None

    def close(self) -> None:
        """Close the file."""
        video, self._video = self._video, None
        if video is not None:
            video.release()
