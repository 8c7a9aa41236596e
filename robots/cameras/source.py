"""The interface between a camera and the thread that reads it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

type Image = NDArray[np.uint8] | bytes
"""RGB pixels, shape (height, width, 3), or the JPEG that the camera delivered."""


class Source(Protocol):
    """A camera that blocks until it has an image. Used by one thread."""

    name: str
    """Device, address or file: "/dev/video0"."""

    def open(self) -> None:
        """Open the device.

        Raises:
            HardwareError: If it cannot be opened; the message states what to do.
        """
        ...

    def read(self) -> Image | None:
        """Return the next image; None if the camera has disconnected."""
        ...

    def close(self) -> None:
        """Close the device in any state."""
        ...
