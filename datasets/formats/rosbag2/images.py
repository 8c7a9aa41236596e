"""Convert the images in ROS messages to the form of the store: JPEG bytes, colors or depth."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats import images_in
from waldo.datasets.formats.images_in import ImageInfo, to_depth, to_rgb
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
"""Color encodings (sensor_msgs/image_encodings.hpp) -> bytes per pixel."""

DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""Depth encodings -> element type; integers are millimeters, floats meters (REP 118)."""


DEPTH_HEADER = struct.Struct("<iff")
"""Header of compressedDepth: format, and the parameters a and b of the quantization a / depth + b."""

PNG_START = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG."""


def inspect_image(message: Any) -> ImageInfo:
    """Return the size and content of the image in an Image or CompressedImage.

    Raises:
        SourceError: If its encoding is not supported.
    """
    if is_compressed_depth(message):
        height, width = _compressed_depth(message).shape
        return ImageInfo(height=height, width=width, kind="depth", encoding=f"compressed {message.format[:5]}")
    if not hasattr(message, "encoding"):
        return images_in.inspect_image(bytes(message.data))
    if message.encoding not in (*CHANNELS, *DEPTH):
        supported = ", ".join([*CHANNELS, *DEPTH])
        raise SourceError("image", f"the encoding {message.encoding!r} is not supported (supported: {supported})")
    kind: Literal["depth", "pixels"] = "depth" if message.encoding in DEPTH else "pixels"
    size = {"height": int(message.height), "width": int(message.width)}
    return ImageInfo(**size, kind=kind, encoding=f"raw {message.encoding}")


def image(message: Any, kind: Literal["pixels", "jpeg", "depth"]) -> Image:
    """Return the image in an Image or CompressedImage in the form that the store takes."""
    if is_compressed_depth(message):
        return to_depth(_compressed_depth(message))
    if not hasattr(message, "encoding"):
        return images_in.as_image(bytes(message.data), kind)
    if kind == "depth":
        return to_depth(_pixels(message, DEPTH.get(message.encoding, "u2"), 1)[..., 0])
    pixels = _pixels(message, "u1", CHANNELS.get(message.encoding, 3))
    # 8UC3 has OpenCV's channel order.
    is_bgr = message.encoding in ("bgr8", "bgra8", "8UC3")
    color = pixels[..., :3] if pixels.shape[2] == 4 else pixels
    return to_rgb(color[..., ::-1] if is_bgr else color)


def is_compressed_depth(message: Any) -> bool:
    """Return whether a message is compressed depth, with a format such as "32FC1; compressedDepth png"."""
    return not hasattr(message, "encoding") and "compressedDepth" in message.format


def _compressed_depth(message: Any) -> NDArray[Any]:
    """Return the depth of a compressedDepth image: uint16 in millimeters, or float32 in meters with NaN for unknown.

    A header of 12 bytes with the two parameters of the quantization of 32FC1 precedes the PNG.
    """
    data = bytes(message.data)
    start = 0 if data.startswith(PNG_START) else DEPTH_HEADER.size
    if not data[start:].startswith(PNG_START):
        raise SourceError("image", f"the format {message.format!r} is supported as PNG only")
    pixels = images_in.decode_image(data[start:])
    if pixels.ndim != 2 or pixels.dtype.kind != "u":
        raise SourceError("image", f"a PNG in {message.format!r} is not gray")
    if not message.format.startswith("32FC1"):
        return pixels.astype(np.uint16)
    if not start:
        raise SourceError("image", f"a PNG in {message.format!r} lacks the parameters of its quantization")
    _, scale, offset = DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        meters = scale / (pixels.astype(np.float64) - offset)
    return np.where(pixels == 0, np.nan, meters).astype(np.float32)


def _pixels(message: Any, dtype: str, channels: int) -> NDArray[Any]:
    """Return the pixels of a raw image, shape (H, W, channels), without the padding of its rows."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    used = width * channels * kind.itemsize
    data = np.asarray(message.data, np.uint8)
    if step < used or data.size < height * step:
        found = f"{data.size} bytes in rows of {step}"
        raise SourceError("image", f"a {width}x{height} image in {message.encoding} has only {found}")
    rows = data[: height * step].reshape(height, step)[:, :used]
    native = np.ascontiguousarray(rows).view(kind).reshape(height, width, channels)
    return native.astype(kind.newbyteorder("="))
