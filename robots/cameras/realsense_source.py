"""Color images of Intel RealSense cameras, which are selected by serial number."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Image
from waldo.robots.description import Camera

TIMEOUT_MS = 1000
"""A camera that delivers no image within this time is disconnected [ms]."""


class RealSenseSource:
    """The color stream of one camera."""

    def __init__(self, serial: str, camera: Camera) -> None:
        """Start closed. `serial` is the camera's serial number; empty for the only camera."""
        self._serial, self._camera = serial, camera
        self.name = f"RealSense {serial}".strip()
        self._pipeline: Any = None

    def open(self) -> None:
        """Start the stream."""
        try:
            library: Any = importlib.import_module("pyrealsense2")
        except ImportError:
            raise HardwareError(
                f"camera {self.name} requires the package pyrealsense2; install it with: uv pip install pyrealsense2"
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
                f"camera {self.name} cannot be opened ({error}); check that it is connected by USB 3 and supports "
                f"{size.width}x{size.height} at {size.fps} fps (rs-enumerate-devices)"
            ) from error
        self._pipeline = pipeline

    def read(self) -> Image | None:
        """Return the next image; None if none arrives in time."""
        try:
            frame = self._pipeline.wait_for_frames(TIMEOUT_MS).get_color_frame()
        except RuntimeError:
            return None
        # The library reuses its memory.
        return np.array(frame.get_data(), dtype=np.uint8) if frame else None

    def close(self) -> None:
        """Stop the stream."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            try:
                pipeline.stop()
            except RuntimeError:
                return  # Already stopped, because the camera was unplugged.
