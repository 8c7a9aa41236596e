"""Access units as a camera with an H.264 encoder publishes them, and images whose content is their number."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.video.h264 import NAL_PPS, NAL_SPS, START_CODE, nal_units

WIDTH, HEIGHT = 64, 48


def gray(value: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Return a gray image (height, width, 3)."""
    return np.full((height, width, 3), value, np.uint8)


def encode(
    images: Iterable[NDArray[np.uint8]], *, gop: int = 10, repeat: bool = True, b_frames: int = 0
) -> list[bytes]:
    """Return one access unit in Annex B for each image.

    Args:
        images: uint8 (H, W, 3) each.
        gop: Interval of key frames.
        repeat: Whether each key frame contains the parameter sets; otherwise only the first one does.
        b_frames: Number of B-frames between others.
    """
    context: Any = av.CodecContext.create("libx264", "w")
    options = {
        "preset": "veryfast",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:crf=4",
    }
    if not b_frames:
        options["tune"] = "zerolatency"
    found: list[bytes] = []
    for number, image in enumerate(images):
        if not context.is_open:
            context.width, context.height, context.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
            context.options, context.framerate, context.time_base = options, 30, Fraction(1, 30)
            context.max_b_frames = b_frames
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        found += [bytes(packet) for packet in context.encode(frame)]
    found += [bytes(packet) for packet in context.encode(None)]
    return found if repeat else [found[0], *(_without_sets(unit) for unit in found[1:])]


def _without_sets(unit: bytes) -> bytes:
    """Return an access unit without its parameter sets."""
    return b"".join(START_CODE + one for one in nal_units(unit) if one[0] & 31 not in (NAL_SPS, NAL_PPS))
