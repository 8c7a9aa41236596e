"""One chunk of an image stream, whatever its codec: bytes -> frames, and a single frame -> bytes.

JPEG and depth chunks hold one frame; H.264 chunks one closed group of pictures (h264.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.streams import DepthStream, ImageStream
from waldo.datasets.video import h264

JPEG_QUALITY = 95
"""Quality of the JPEGs that waldo makes itself: of raw pictures in a jpeg stream, and of spilled ones."""

DEPTH_LEVEL = 3
"""zstd's level of depth chunks."""


class PictureError(ValueError):
    """A picture that cannot be decoded."""


def dtype_of(stream: ImageStream) -> np.dtype[Any]:
    """Return the type of a stream's pixels."""
    return np.dtype("<u2") if isinstance(stream, DepthStream) else np.dtype("u1")


def decode_chunk(stream: ImageStream, chunk: bytes | memoryview, wanted: Sequence[int]) -> NDArray[Any]:
    """Return the wanted frames (increasing places in the group) of a chunk: (n, H, W, 3) uint8 or (n, H, W) uint16.

    Places past the end of the group are black. Raises ValueError where the chunk cannot be decoded.
    """
    if isinstance(stream, DepthStream):
        frame: NDArray[Any] = decode_depth(chunk, stream.frame_shape)
    elif stream.codec == "jpeg":
        frame = decode_jpeg(chunk, stream.frame_shape)
    else:
        return h264.decode(h264.split_samples(chunk), wanted, (stream.height, stream.width))
    out = np.zeros((len(wanted), *stream.frame_shape), frame.dtype)
    out[[place == 0 for place in wanted]] = frame
    return out


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Return a frame, uint8 (H, W, 3), as a JPEG."""
    found, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not found:
        raise PictureError("the picture cannot be encoded as a JPEG")
    return data.tobytes()


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """Return height and width that a JPEG's frame header states (ITU-T T.81, B.2.2), without decoding it."""
    view = memoryview(data).cast("B")
    at = 2
    while at + 9 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        # SOF0 to SOF15 without DHT, JPG and DAC
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(view[at + 5 : at + 7], "big"), int.from_bytes(view[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(view[at + 2 : at + 4], "big")
    raise PictureError(f"{len(view)} bytes that are no JPEG")


def need_size(data: bytes, shape: tuple[int, ...]) -> None:
    """Refuse a JPEG of another size than `shape` (H, W, 3)."""
    height, width = jpeg_size(data)
    if (height, width) != tuple(shape[:2]):
        raise PictureError(f"a picture of {width}x{height}, expected {shape[1]}x{shape[0]}")


def decode_jpeg(data: bytes | memoryview, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Return a JPEG's frame, uint8 (H, W, 3); one that is damaged or of another shape is a PictureError."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise PictureError(f"a JPEG of {len(data)} bytes that cannot be decoded")
    if shape is not None and bgr.shape != tuple(shape):
        raise PictureError(f"a picture of {bgr.shape[1]}x{bgr.shape[0]}, expected {shape[1]}x{shape[0]}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@cache
def _blosc(itemsize: int) -> Any:
    """Return the compressor of depth chunks; plain zarr knows it as `blosc`."""
    from numcodecs.blosc import BITSHUFFLE, Blosc

    return Blosc(cname="zstd", clevel=DEPTH_LEVEL, shuffle=BITSHUFFLE) if itemsize == 2 else Blosc("lz4", 1, BITSHUFFLE)


def encode_depth(depth: NDArray[np.uint16]) -> bytes:
    """Return a depth image, uint16 (H, W), as its chunk."""
    return bytes(_blosc(2).encode(np.ascontiguousarray(depth, "<u2")))


def decode_depth(chunk: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return the depth image of a chunk, uint16 (H, W)."""
    return np.frombuffer(_unpack(chunk, 2 * shape[0] * shape[1]), "<u2").reshape(shape)


def pack(rgb: NDArray[np.uint8]) -> bytes:
    """Return a frame without loss and in little time, for one that must wait to be encoded."""
    return bytes(_blosc(1).encode(np.ascontiguousarray(rgb)))


def unpack(data: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return what `pack` packed, uint8 (H, W, 3)."""
    return np.frombuffer(_unpack(data, int(np.prod(shape))), np.uint8).reshape(shape)


def _unpack(data: bytes | memoryview, nbytes: int) -> bytes:
    """Return unpacked bytes, refusing damage and another length."""
    try:
        out = bytes(_blosc(2).decode(bytes(data)))
    except (RuntimeError, ValueError) as error:
        raise PictureError(f"a packed picture of {len(data)} bytes that cannot be unpacked ({error})") from error
    if len(out) != nbytes:
        raise PictureError(f"a packed picture of {len(out)} bytes, expected {nbytes}")
    return out
