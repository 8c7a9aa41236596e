"""Colors of frames that other programs have encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BT601 = (2, 5, 6)
"""FFmpeg's color space numbers that mean BT.601, or unspecified, which the store treats as BT.601."""

FULL_RANGE = 2
"""FFmpeg's number of the full color range, 0 to 255."""


def is_stores(frames: Any) -> bool:
    """Return whether frames, or their decoder, have the color space and range of the store's own."""
    return frames.color_range != FULL_RANGE and frames.colorspace in BT601


def rgb_of(frame: Any) -> NDArray[np.uint8]:
    """Return a decoded frame as RGB, uint8 of shape (H, W, 3); an unspecified color space is taken for BT.601."""
    import cv2

    if frame.format.name == "yuv420p" and is_stores(frame) and frame.width % 2 == frame.height % 2 == 0:
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420), np.uint8)
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
