"""Single images as bytes: JPEG, depth chunks, and the fast lossless packing of frames that wait for their encoder."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.video import pixels
from waldo.errors import ImageError

JPEG_QUALITY = 95
"""Quality of the JPEGs that waldo encodes itself: raw images of a jpeg stream, and spilled frames."""

DEPTH_LEVEL = 3
"""zstd compression level of depth chunks."""


def equal_images(one: bytes | NDArray[Any], other: bytes | NDArray[Any]) -> bool:
    """Return whether two images, JPEG or pixels, are equal in every pixel."""
    if isinstance(one, bytes) or isinstance(other, bytes):
        return one is other or (isinstance(one, bytes) and isinstance(other, bytes) and one == other)
    # Cameras are noisy: comparing a few rows first distinguishes almost all frames at a fraction of the cost.
    few = np.s_[:: max(1, len(other) // 8)]
    return np.array_equal(one[few], other[few]) and np.array_equal(one, other)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Return an image, uint8 (H, W, 3), as a JPEG."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ImageError("the image cannot be encoded as a JPEG")
    return data.tobytes()


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """Return height and width from a JPEG's header, without decoding it; raise ImageError if it is not a JPEG."""
    with _image_errors():
        return pixels.jpeg_size(data)


def check_jpeg_size(data: bytes, shape: tuple[int, ...]) -> None:
    """Raise ImageError unless a JPEG has the size of `shape` (H, W, 3)."""
    height, width = jpeg_size(data)
    if (height, width) != tuple(shape[:2]):
        raise ImageError(f"an image of {width}x{height}, expected {shape[1]}x{shape[0]}")


def decode_jpeg(data: bytes | memoryview, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Return the image of a JPEG, uint8 (H, W, 3).

    Raises:
        ImageError: If the JPEG is damaged, or its image does not have the given shape.
    """
    with _image_errors():
        return pixels.decode_jpeg(data, shape)


def check_pixels(height: int, width: int) -> None:
    """Raise ImageError for an image of more than MAX_PIXELS."""
    with _image_errors():
        pixels.check_pixels(height, width)


@contextmanager
def _image_errors() -> Generator[None]:
    """Turn a ValueError into an ImageError."""
    try:
        yield
    except ValueError as error:
        raise ImageError(str(error)) from error


def write_planes(rgb: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write an image, uint8 (H, W, 3), as planes into `out`, uint8 (3, h, w), resized by area averaging if needed."""
    size = out.shape[2], out.shape[1]
    if (rgb.shape[1], rgb.shape[0]) != size:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.split(rgb, [out[0], out[1], out[2]])


@cache
def _blosc(itemsize: int) -> Any:
    """Return the compressor of depth chunks (itemsize 2), which zarr calls `blosc`, or of packed frames (1)."""
    from numcodecs.blosc import BITSHUFFLE, Blosc

    return Blosc(cname="zstd", clevel=DEPTH_LEVEL, shuffle=BITSHUFFLE) if itemsize == 2 else Blosc("lz4", 1, BITSHUFFLE)


def encode_depth(depth: NDArray[np.uint16]) -> bytes:
    """Return a depth image, uint16 (H, W), as a chunk."""
    return bytes(_blosc(2).encode(np.ascontiguousarray(depth, "<u2")))


def decode_depth(chunk: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return the depth image of a chunk, uint16 (H, W)."""
    return np.frombuffer(_decompress(chunk, 2 * shape[0] * shape[1]), "<u2").reshape(shape)


def pack(rgb: NDArray[np.uint8]) -> bytes:
    """Compress an image without loss and in little time, for a frame that is encoded later."""
    return bytes(_blosc(1).encode(np.ascontiguousarray(rgb)))


def unpack(data: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an image that `pack` compressed, uint8 (H, W, 3)."""
    return np.frombuffer(_decompress(data, int(np.prod(shape))), np.uint8).reshape(shape)


def _decompress(data: bytes | memoryview, nbytes: int) -> bytes:
    """Return decompressed bytes; raise ImageError for damaged data or another length."""
    try:
        out = bytes(_blosc(2).decode(bytes(data)))
    except (RuntimeError, ValueError, MemoryError, SystemError) as error:  # the last ones of a damaged size
        raise ImageError(f"a compressed image of {len(data)} bytes cannot be decompressed ({error})") from error
    if len(out) != nbytes:
        raise ImageError(f"a compressed image has {len(out)} bytes, expected {nbytes}")
    return out
