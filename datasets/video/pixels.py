"""Decoded pixels as RGB images, with NumPy and PyAV; OpenCV, which is faster, is used where it is installed.

This module is part of the distribution waldo-zarr, which reads frames without waldo.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

JPEG_CODEC_NAME = "waldo.jpeg"
"""Name of the JPEG codec in array metadata."""

MAX_PIXELS = 1 << 26
"""Largest image that is decoded [pixels]: 8192 x 8192."""

SHIFT = 20
"""Fractional bits of the coefficients below."""

LUMA, RED_V, GREEN_V, GREEN_U, BLUE_U = 1220542, 1673527, -852492, -409993, 2116026
"""BT.601, video range, as fixed-point numbers: the coefficients of OpenCV, so both give the same pixels."""

cv2: Any = importlib.import_module("cv2") if importlib.util.find_spec("cv2") else None


def i420_to_rgb(planes: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return an image in I420 as RGB, uint8 (H, W, 3), written to `out` if given.

    Args:
        planes: The planes Y, U and V stacked vertically, uint8 (H * 3 / 2, W).
        out: Where to write the image.
    """
    if cv2 is not None:
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420, dst=out), np.uint8)
    rgb = _i420_to_rgb(planes)
    if out is None:
        return rgb
    out[...] = rgb
    return out


def _i420_to_rgb(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    width = planes.shape[1]
    height = planes.shape[0] * 2 // 3
    luma = np.maximum(planes[:height].astype(np.int32) - 16, 0) * LUMA + (1 << (SHIFT - 1))
    chroma = planes[height:].reshape(2, height // 2, width // 2).astype(np.int32) - 128
    u, v = chroma.repeat(2, axis=1).repeat(2, axis=2)
    channels = (luma + RED_V * v, luma + GREEN_V * v + GREEN_U * u, luma + BLUE_U * u)
    return np.stack([np.clip(channel >> SHIFT, 0, 255) for channel in channels], axis=-1).astype(np.uint8)


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """Return height and width from a JPEG's frame header (ITU-T T.81, B.2.2), without decoding it.

    Raises:
        ValueError: If the data is not a JPEG.
    """
    view = memoryview(data).cast("B")
    at = 2
    while at + 9 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        # SOF0 to SOF15, except DHT, JPG and DAC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(view[at + 5 : at + 7], "big"), int.from_bytes(view[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(view[at + 2 : at + 4], "big")
    raise ValueError(f"{len(view)} bytes are not a JPEG")


def check_pixels(height: int, width: int) -> None:
    """Raise ValueError for an image of more than MAX_PIXELS."""
    if height * width > MAX_PIXELS:
        raise ValueError(f"an image of {width}x{height}, expected at most {MAX_PIXELS} pixels")


def decode_jpeg(data: bytes | memoryview, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Return the image of a JPEG, uint8 (H, W, 3). Without OpenCV, values may differ by a few units.

    Raises:
        ValueError: If the JPEG is damaged, or its image does not have the given shape.
    """
    # Before decoding: a header may claim gigabytes.
    height, width = jpeg_size(data)
    if shape is not None and (height, width) != tuple(shape[:2]):
        raise ValueError(f"an image of {width}x{height}, expected {shape[1]}x{shape[0]}")
    check_pixels(height, width)
    rgb = _jpeg_by_av(data) if cv2 is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if rgb is None:
        raise ValueError(f"a JPEG of {len(data)} bytes cannot be decoded")
    return np.asarray(rgb, np.uint8)


def _jpeg_by_av(data: bytes | memoryview) -> NDArray[np.uint8] | None:
    """Decode a JPEG with FFmpeg; None if it is damaged."""
    context: Any = av.CodecContext.create("mjpeg", "r")
    try:
        frames = [*context.decode(av.Packet(bytes(data))), *context.decode(None)]
    except av.FFmpegError:
        return None
    return frames[0].to_ndarray(format="rgb24") if frames else None
