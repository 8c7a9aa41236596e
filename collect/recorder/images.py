"""Decoding of ROS images: raw `Image`, `CompressedImage` with JPEG or PNG, and `compressedDepth`."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.video.images import ImageError, check_pixels, decode_jpeg

type Image = NDArray[np.uint8] | NDArray[np.uint16]
"""Color, uint8 (H, W, 3), or depth [mm], uint16 (H, W) with 0 for no measurement."""

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
"""Encoding of a color image (sensor_msgs/image_encodings.hpp) -> bytes per pixel."""

CONVERSIONS = {
    **dict.fromkeys(("yuv422", "uyvy"), (2, "COLOR_YUV2RGB_UYVY")),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), (2, "COLOR_YUV2RGB_YUYV")),
    "bayer_rggb8": (1, "COLOR_BayerRGGB2RGB"),
    "bayer_bggr8": (1, "COLOR_BayerBGGR2RGB"),
    "bayer_gbrg8": (1, "COLOR_BayerGBRG2RGB"),
    "bayer_grbg8": (1, "COLOR_BayerGRBG2RGB"),
}
"""Encoding that OpenCV converts -> bytes per pixel, and its conversion."""

DEPTH_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""Encoding of a depth image -> dtype; by REP-118, u2 is in millimeters and f4 in meters."""

JPEG_START = b"\xff\xd8\xff"
"""The first bytes of a JPEG."""

PNG_START = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG."""

PNG_SIZE_END = 24
"""End of the width and height of a PNG, two big-endian uint32 [bytes]."""

DEPTH_HEADER_BYTES = 12
"""Size of compressed_depth_image_transport's ConfigHeader: format (int32), depth parameters A and B (float32)."""


def _pixels(message: Any, dtype: str, channels: int) -> NDArray[Any]:
    """Return the pixels of a raw message, shape (H, W, channels), without the padding of its rows."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    width = message.width * channels * kind.itemsize
    if message.step < width or len(message.data) < message.height * message.step:
        found = f"{len(message.data)} bytes in rows of {message.step}"
        raise ImageError(f"image of {message.width}x{message.height} {message.encoding} has only {found}")
    rows = np.frombuffer(message.data, np.uint8, message.height * message.step).reshape(message.height, message.step)
    return np.ascontiguousarray(rows[:, :width]).view(kind).reshape(message.height, message.width, channels)


def to_millimeters(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return depth [mm]; values that are not finite, not positive or beyond 65.535 m become 0 (unknown)."""
    depth_mm = np.where(np.isfinite(depth_m), np.rint(depth_m * 1000.0), 0.0)
    return np.where((depth_mm > 0) & (depth_mm <= np.iinfo(np.uint16).max), depth_mm, 0).astype(np.uint16)


def from_raw(message: Any) -> Image:
    """Return the image of a sensor_msgs/Image; raises ImageError for an unsupported encoding."""
    if message.encoding in DEPTH_ENCODINGS:
        pixels = _pixels(message, DEPTH_ENCODINGS[message.encoding], 1)[..., 0]
        return to_millimeters(pixels) if pixels.dtype.kind == "f" else pixels.astype(np.uint16)
    if message.encoding in CONVERSIONS:
        import cv2

        channels, conversion = CONVERSIONS[message.encoding]
        try:
            return np.asarray(cv2.cvtColor(_pixels(message, "u1", channels), getattr(cv2, conversion)), np.uint8)
        except cv2.error as error:  # such as an odd width
            size = f"{message.width}x{message.height}"
            raise ImageError(f"image of {size} {message.encoding} cannot be converted: {error.err}") from error
    if message.encoding not in CHANNELS:
        known = ", ".join([*CHANNELS, *CONVERSIONS, *DEPTH_ENCODINGS])
        raise ImageError(f"unsupported image encoding {message.encoding!r} (supported: {known})")
    pixels = _pixels(message, "u1", CHANNELS[message.encoding])
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    color = pixels[..., :3]
    swapped = message.encoding.startswith("bgr") or message.encoding == "8UC3"  # OpenCV's order
    return np.ascontiguousarray(color[..., ::-1] if swapped else color)


def from_compressed(message: Any) -> bytes | NDArray[np.uint8]:
    """Return a JPEG as its bytes, which are decoded on another thread, and any other format (PNG) as an image."""
    data = bytes(message.data)
    return data if data.startswith(JPEG_START) else decode_color(data)


def decode_color(data: bytes) -> NDArray[np.uint8]:
    """Return the color image of a JPEG or PNG, uint8 (H, W, 3)."""
    import cv2

    if data.startswith(JPEG_START):
        return decode_jpeg(data)
    if data.startswith(PNG_START) and len(data) >= PNG_SIZE_END:
        width, height = struct.unpack_from(">II", data, PNG_SIZE_END - 8)
        check_pixels(height, width)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise ImageError(f"image of {len(data)} bytes cannot be decoded: damaged, or neither JPEG nor PNG")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def from_compressed_depth(message: Any) -> NDArray[np.uint16]:
    """Return the depth of a `compressedDepth` message [mm].

    16UC1 is a PNG in millimeters; 32FC1 is a PNG of inverse depth q with depth = A / (q - B) in meters
    (compressed_depth_image_transport, codec.cpp).
    """
    import cv2

    data = bytes(message.data)
    if len(data) >= DEPTH_HEADER_BYTES + PNG_SIZE_END:
        width, height = struct.unpack_from(">II", data, DEPTH_HEADER_BYTES + PNG_SIZE_END - 8)
        check_pixels(height, width)
    png = np.frombuffer(data, np.uint8, offset=min(DEPTH_HEADER_BYTES, len(data)))
    pixels = cv2.imdecode(png, cv2.IMREAD_UNCHANGED) if png.size else None
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise ImageError(f"compressedDepth image of {len(data)} bytes contains no 16-bit PNG (RVL is not supported)")
    if not message.format.startswith("32FC1"):
        return np.asarray(pixels, np.uint16)
    a, b = np.frombuffer(data, "<f4", count=2, offset=4)
    depth_m = np.divide(a, pixels - b, out=np.zeros(pixels.shape, np.float32), where=pixels > 0)
    return to_millimeters(depth_m)
