"""Cameras and video files through OpenCV: V4L2 devices, network streams by address, files in a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Picture
from waldo.robots.description import Camera


def _capture(where: int | str) -> Any:
    import cv2

    return cv2.VideoCapture(where)


def _to_rgb(bgr: Any, camera: Camera) -> Picture:
    """Return a picture in the camera's size; a device may ignore the size that it was asked for."""
    import cv2

    if bgr.shape[:2] != (camera.height, camera.width):
        bgr = cv2.resize(bgr, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[..., ::-1])


class DeviceSource:
    """A V4L2 device or a network stream."""

    def __init__(self, where: int | str, camera: Camera, factory: Callable[[int | str], Any] = _capture) -> None:
        """Take the device's number, path or address, the camera's size and rate, and what opens it."""
        self._where, self._camera, self._factory = where, camera, factory
        self.name = f"/dev/video{where}" if isinstance(where, int) else where
        self._device: Any = None

    def open(self) -> None:
        """Open the device and ask for the camera's size and rate."""
        import cv2

        device = self._factory(self._where)
        if not device.isOpened():
            device.release()
            raise HardwareError(f"camera {self.name} cannot be opened; is it plugged in, and free (fuser {self.name})?")
        for what, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, self._camera.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._camera.height),
            (cv2.CAP_PROP_FPS, self._camera.fps),
            # One picture in the driver's queue: an old one is worth nothing.
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            device.set(what, value)
        self._device = device

    def read(self) -> Picture | None:
        """Return the next picture, or None when the device gives none any more."""
        good, bgr = self._device.read()
        return _to_rgb(bgr, self._camera) if good else None

    def close(self) -> None:
        """Release the device."""
        device, self._device = self._device, None
        if device is not None:
            device.release()


class FileSource:
    """A video file, played at the camera's rate for ever."""

    def __init__(self, path: Path, camera: Camera) -> None:
        """Take the file and the camera's size and rate."""
        self._path, self._camera = path, camera
        self.name = str(path)
        self._video: Any = None
        self._due_s = 0.0

    def open(self) -> None:
        """Open the file."""
        video = _capture(str(self._path))
        if not video.isOpened():
            raise HardwareError(f"{self._path} is no video that OpenCV reads; name an MP4, AVI or MKV file")
        self._video, self._due_s = video, time.monotonic()

    def read(self) -> Picture | None:
        """Return the next picture when it is due; after the last one comes the first again."""
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
