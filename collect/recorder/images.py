"""Pictures as ROS carries them: raw `Image`, `CompressedImage` with JPEG or PNG, and `compressedDepth`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import WaldoError

Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""Colour, uint8 (H, W, 3), or depth in millimetres, uint16 (H, W) with 0 where nothing was measured."""

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
"""Encodings of colour pictures (sensor_msgs/image_encodings.hpp) -> bytes a pixel."""

DEPTH_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""Encodings of depth pictures -> dtype; REP-118: u2 counts millimetres, f4 metres."""

JPEG_START = b"\xff\xd8\xff"
"""How a JPEG begins."""

DEPTH_HEADER_BYTES = 12
"""compressed_depth_image_transport's ConfigHeader: format (int32), depth parameters A and B (float32)."""


class PictureError(WaldoError):
    """A picture that cannot be read."""


def _pixels(message: Any, dtype: str, channels: int) -> NDArray[Any]:
    """Return a raw message's pixels (H, W, channels) without the padding at the end of its rows."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    width = message.width * channels * kind.itemsize
    if message.step < width or len(message.data) < message.height * message.step:
        found = f"{len(message.data)} bytes in rows of {message.step}"
        raise PictureError(f"an image of {message.width}x{message.height} {message.encoding} has only {found}")
    rows = np.frombuffer(message.data, np.uint8, message.height * message.step).reshape(message.height, message.step)
    return np.ascontiguousarray(rows[:, :width]).view(kind).reshape(message.height, message.width, channels)


def to_millimetres(metres: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return depth as the store keeps it; what is not finite, not positive or beyond 65.535 m is unknown, 0."""
    millimetres = np.where(np.isfinite(metres), np.rint(metres * 1000.0), 0.0)
    return np.where((millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max), millimetres, 0).astype(np.uint16)


def from_raw(message: Any) -> Picture:
    """Return the picture of a sensor_msgs/Image; an encoding that is neither colour nor depth is a PictureError."""
    if message.encoding in DEPTH_ENCODINGS:
        pixels = _pixels(message, DEPTH_ENCODINGS[message.encoding], 1)[..., 0]
        return to_millimetres(pixels) if pixels.dtype.kind == "f" else pixels.astype(np.uint16)
    if message.encoding not in CHANNELS:
        known = ", ".join([*CHANNELS, *DEPTH_ENCODINGS])
        raise PictureError(f"images are encoded as {message.encoding!r}; waldo reads {known}")
    pixels = _pixels(message, "u1", CHANNELS[message.encoding])
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    colour = pixels[..., :3]
    swapped = message.encoding.startswith("bgr") or message.encoding == "8UC3"  # OpenCV's order
    return np.ascontiguousarray(colour[..., ::-1] if swapped else colour)


def from_compressed(message: Any) -> bytes | NDArray[np.uint8]:
    """Return a CompressedImage's JPEG as it is, to be decoded off this thread; anything else (PNG) as a picture."""
    data = bytes(message.data)
    return data if data.startswith(JPEG_START) else decode_colour(data)


def decode_colour(data: bytes) -> NDArray[np.uint8]:
    """Return the colour picture of an encoded one, uint8 (H, W, 3)."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise PictureError(f"an image of {len(data)} bytes cannot be decoded: neither JPEG nor PNG, or damaged")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def from_compressed_depth(message: Any) -> NDArray[np.uint16]:
    """Return the depth of a `compressedDepth` message [mm].

    16UC1 is a PNG of millimetres; 32FC1 is a PNG of inverse depth q with depth = A / (q - B) metres
    (compressed_depth_image_transport, codec.cpp).
    """
    import cv2

    data = bytes(message.data)
    png = np.frombuffer(data, np.uint8, offset=min(DEPTH_HEADER_BYTES, len(data)))
    pixels = cv2.imdecode(png, cv2.IMREAD_UNCHANGED) if png.size else None
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise PictureError(f"a compressedDepth image of {len(data)} bytes holds no 16-bit PNG (RVL is not read)")
    if not message.format.startswith("32FC1"):
        return np.asarray(pixels, np.uint16)
    a, b = np.frombuffer(data, "<f4", count=2, offset=4)
    metres = np.divide(a, pixels - b, out=np.zeros(pixels.shape, np.float32), where=pixels > 0)
    return to_millimetres(metres)
