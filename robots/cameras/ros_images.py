"""Decoding of ROS images: raw `Image`, `CompressedImage` with JPEG or PNG, and `compressedDepth`.

Messages are those of rclpy or of any other decoder with the same fields.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import ImageError
from waldo.robots.cameras.encoded import PNG_START, check_pixels, decode

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

DEPTH_HEADER = struct.Struct("<iff")
"""ConfigHeader of compressed_depth_image_transport: format, and A and B of depth = A / (q - B)."""

RVL_SIZE = struct.Struct("<II")
"""Width and height before RVL data."""


def from_raw(message: Any) -> Image:
    """Return the image of a sensor_msgs/Image.

    Raises:
        ImageError: If the encoding is not supported, or the data is too short for the size.
    """
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
    contiguous = np.ascontiguousarray(color)
    if not swapped:
        return contiguous
    import cv2

    return np.asarray(cv2.cvtColor(contiguous, cv2.COLOR_BGR2RGB), np.uint8)


def from_compressed(message: Any) -> bytes | NDArray[np.uint8]:
    """Return a JPEG as its bytes, which are decoded on another thread, and any other format (PNG) as an image."""
    data = bytes(message.data)
    if data.startswith(JPEG_START):
        return data
    import cv2

    bgr = decode(data, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ImageError(f"image of {len(data)} bytes cannot be decoded: damaged, or neither JPEG nor PNG")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def is_h264(message: Any) -> bool:
    """Return whether a CompressedImage contains one access unit of H.264, with the format "h264" of any case."""
    return not hasattr(message, "encoding") and message.format.strip().lower() == "h264"


def is_compressed_depth(message: Any) -> bool:
    """Return whether a message is a `compressedDepth` image, with a format such as "32FC1; compressedDepth png"."""
    return not hasattr(message, "encoding") and "compressedDepth" in message.format


def from_compressed_depth(message: Any) -> NDArray[np.uint16]:
    """Return the depth of a `compressedDepth` message [mm].

    16UC1 is a PNG or RVL of millimeters; 32FC1 one of inverse depth q, with depth = A / (q - B) in meters
    (compressed_depth_image_transport, codec.cpp).

    Raises:
        ImageError: If the data is damaged.
    """
    data = bytes(message.data)
    # Some publishers omit the header, which only 32FC1 needs.
    has_header = not data.startswith(PNG_START)
    body = data[DEPTH_HEADER.size :] if has_header else data
    pixels = _rvl_image(body) if message.format.rstrip().endswith("rvl") else _png_depth(body, message.format)
    if not message.format.startswith("32FC1"):
        return pixels
    if not has_header:
        raise ImageError(f"image of format {message.format!r} lacks the parameters of its quantization")
    _, a, b = DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth_m = np.where(pixels > 0, a / (pixels.astype(np.float64) - b), 0.0)
    return to_millimeters(depth_m)


def to_millimeters(depth_m: NDArray[Any]) -> NDArray[np.uint16]:
    """Return depth [mm]; values that are not finite, not positive or beyond 65.535 m become 0 (unknown)."""
    with np.errstate(over="ignore", invalid="ignore"):
        depth_mm = np.where(np.isfinite(depth_m), np.rint(depth_m * 1000.0), 0.0)
    return np.where((depth_mm > 0) & (depth_mm <= np.iinfo(np.uint16).max), depth_mm, 0).astype(np.uint16)


def decode_rvl(data: bytes, count: int) -> NDArray[np.uint16]:
    """Return `count` values of 16 bits that are compressed by RVL, (count,).

    A stream of numbers in groups of three bits, each with a bit for "more to come", least significant group first,
    packed into little-endian words from their most significant bits. It alternates between the length of a run of
    zeros and that of a run of other values, which follow as differences to the previous one, with the sign as the
    lowest bit (Wilson, "Fast lossless depth image compression", ISS 2017).

    Raises:
        ImageError: If the data contains more or fewer values.
    """
    words = np.frombuffer(data, "<u4", len(data) // 4)
    nibbles = ((words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)) & 15).astype(np.uint8).reshape(-1)
    last = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    lengths = last + 1 - starts
    if not len(last) or lengths.max() > 10:
        raise ImageError("RVL data is damaged: it contains no numbers of 30 bits or less")
    nibbles = nibbles[: last[-1] + 1]
    shifts = 3 * (np.arange(len(nibbles)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((nibbles & 7).astype(np.int64) << shifts, starts)
    # The runs: where their values are among the numbers, and where among the pixels.
    sources: list[int] = []
    places: list[int] = []
    sizes: list[int] = []
    pixel = at = 0
    while pixel < count:
        if at + 1 >= len(numbers):
            raise ImageError(f"RVL data is damaged: it ends after {pixel} of {count} pixels")
        zeros, others = int(numbers[at]), int(numbers[at + 1])
        pixel, at = pixel + zeros, at + 2
        sources.append(at)
        places.append(pixel)
        sizes.append(others)
        pixel, at = pixel + others, at + others
    if pixel > count or at > len(numbers):
        raise ImageError(f"RVL data is damaged: it contains {pixel} pixels, expected {count}")
    length = np.array(sizes, np.int64)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    coded = numbers[np.repeat(np.array(sources, np.int64), length) + within]
    out = np.zeros(count, np.uint16)
    out[np.repeat(np.array(places, np.int64), length) + within] = np.cumsum((coded >> 1) ^ -(coded & 1)).astype(
        np.uint16
    )
    return out


def _rvl_image(data: bytes) -> NDArray[np.uint16]:
    """Return the image of RVL data, which its width and height precede."""
    if len(data) < RVL_SIZE.size:
        raise ImageError(f"RVL data of {len(data)} bytes is too short")
    width, height = RVL_SIZE.unpack_from(data)
    check_pixels(height, width)
    return decode_rvl(data[RVL_SIZE.size :], height * width).reshape(height, width)


def _png_depth(data: bytes, form: str) -> NDArray[np.uint16]:
    import cv2

    pixels = decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise ImageError(f"image of format {form!r} contains no gray PNG of 16 bits")
    return np.asarray(pixels, np.uint16)


def _pixels(message: Any, dtype: str, channels: int) -> NDArray[Any]:
    """Return the pixels of a raw message, shape (H, W, channels), without the padding of its rows."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    used = width * channels * kind.itemsize
    if step < used or len(message.data) < height * step:
        found = f"{len(message.data)} bytes in rows of {step}"
        raise ImageError(f"image of {width}x{height} {message.encoding} has only {found}")
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    return np.ascontiguousarray(rows[:, :used]).view(kind).reshape(height, width, channels)
