"""Where pictures come from: the seam between a camera's reader thread and the camera."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""


class Source(Protocol):
    """A camera that blocks until it has a picture. Used by one thread."""

    name: str
    """What it is, for people: "/dev/video0"."""

    def open(self) -> None:
        """Open the device; raises HardwareError with what to do."""
        ...

    def read(self) -> Picture | None:
        """Return the next picture, or None when the camera is lost."""
        ...

    def close(self) -> None:
        """Close the device, however it is."""
        ...
