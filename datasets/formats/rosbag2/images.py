"""Pictures in ROS messages of foreign bags, as the store takes them: JPEG bytes, colours, or depth."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats import images_in
from waldo.datasets.formats.images_in import ImageInfo, to_depth, to_rgb
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
"""Encodings of colour (sensor_msgs/image_encodings.hpp) -> bytes a pixel."""

DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""Encodings of depth -> type of a pixel; whole numbers are millimetres, others metres (REP 118)."""


def inspect_image(message: Any) -> ImageInfo:
    """Return what the picture of an Image or a CompressedImage is; one that cannot be kept is a SourceError."""
    if not hasattr(message, "encoding"):
        if "compressedDepth" in message.format:
            raise SourceError("a picture", f"{message.format!r} is not read")
        return images_in.inspect_image(bytes(message.data))
    if message.encoding not in (*CHANNELS, *DEPTH):
        known = ", ".join([*CHANNELS, *DEPTH])
        raise SourceError("a picture", f"images are encoded as {message.encoding!r}; waldo reads {known}")
    kind: Literal["depth", "pixels"] = "depth" if message.encoding in DEPTH else "pixels"
    return ImageInfo(
        height=int(message.height), width=int(message.width), kind=kind, encoding=f"raw {message.encoding}"
    )


def image(message: Any, kind: Literal["pixels", "jpeg", "depth"]) -> Image:
    """Return the picture of an Image or a CompressedImage."""
    if not hasattr(message, "encoding"):
        return images_in.as_image(bytes(message.data), kind)
    if kind == "depth":
        return to_depth(_pixels(message, DEPTH.get(message.encoding, "u2"), 1)[..., 0])
    pixels = _pixels(message, "u1", CHANNELS.get(message.encoding, 3))
    # 8UC3 has OpenCV's order.
    swapped = message.encoding in ("bgr8", "bgra8", "8UC3")
    colour = pixels[..., :3] if pixels.shape[2] == 4 else pixels
    return to_rgb(colour[..., ::-1] if swapped else colour)


def _pixels(message: Any, dtype: str, channels: int) -> NDArray[Any]:
    """Return a raw picture's pixels (H, W, channels) without the padding at the end of its rows."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    used = width * channels * kind.itemsize
    data = np.asarray(message.data, np.uint8)
    if step < used or data.size < height * step:
        found = f"{data.size} bytes in rows of {step}"
        raise SourceError("a picture", f"an image of {width}x{height} {message.encoding} has only {found}")
    rows = data[: height * step].reshape(height, step)[:, :used]
    native = np.ascontiguousarray(rows).view(kind).reshape(height, width, channels)
    return native.astype(kind.newbyteorder("="))
