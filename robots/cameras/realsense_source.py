"""Intel RealSense cameras by serial number: their colour pictures."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Picture
from waldo.robots.description import Camera

TIMEOUT_MS = 1000
"""A camera that gives no picture for so long is lost [ms]."""


class RealSenseSource:
    """One camera's colour stream."""

    def __init__(self, serial: str, camera: Camera) -> None:
        """Take the serial number, "" for the only one, and the camera's size and rate."""
        self._serial, self._camera = serial, camera
        self.name = f"RealSense {serial}".strip()
        self._pipeline: Any = None

    def open(self) -> None:
        """Start the stream."""
        try:
            library: Any = importlib.import_module("pyrealsense2")
        except ImportError:
            raise HardwareError(
                f"camera {self.name} needs the package pyrealsense2: uv pip install pyrealsense2"
            ) from None
        config, pipeline = library.config(), library.pipeline()
        if self._serial:
            config.enable_device(self._serial)
        size = self._camera
        config.enable_stream(library.stream.color, size.width, size.height, library.format.rgb8, size.fps)
        try:
            pipeline.start(config)
        except RuntimeError as error:
            raise HardwareError(
                f"camera {self.name} cannot be opened ({error}); is it plugged into USB 3, and does it have "
                f"{size.width}x{size.height} at {size.fps} Hz (rs-enumerate-devices)?"
            ) from error
        self._pipeline = pipeline

    def read(self) -> Picture | None:
        """Return the next picture, or None when none comes."""
        try:
            frame = self._pipeline.wait_for_frames(TIMEOUT_MS).get_color_frame()
        except RuntimeError:
            return None
        # The library takes its memory back: copy.
        return np.array(frame.get_data(), dtype=np.uint8) if frame else None

    def close(self) -> None:
        """Stop the stream."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            try:
                pipeline.stop()
            except RuntimeError:
                return  # Unplugged: there is nothing to stop.
