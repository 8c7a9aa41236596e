"""Decoding of PNG and TIFF images from other programs, whose header may claim any size."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import ImageError

MAX_PIXELS = 1 << 26
"""Largest image; the header of a small message may claim any size. Equal to the limit of the store's codec."""

PNG_START = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG."""

PNG_SIZE = struct.Struct(">16xII")
"""Width and height of a PNG, after its first 16 bytes."""

TIFF_START = {b"II*\0": "<", b"MM\0*": ">"}
"""The first bytes of a TIFF -> its byte order (TIFF 6.0, section 2)."""

TIFF_WIDTH, TIFF_HEIGHT = 256, 257
"""Tags of a TIFF's size."""


def check_pixels(height: int, width: int) -> None:
    """Raise ImageError for an image of more than MAX_PIXELS."""
    if height * width > MAX_PIXELS:
        raise ImageError(f"an image of {width}x{height}, expected at most {MAX_PIXELS} pixels")


def decode(data: bytes, flags: int) -> NDArray[Any] | None:
    """Return a PNG or TIFF as OpenCV decodes it, in its order of the channels (BGR); None if it is damaged or neither.

    Args:
        data: The encoded image.
        flags: OpenCV's flags.

    Raises:
        ImageError: If the image has more than MAX_PIXELS.
    """
    import cv2

    size = _size_of(data)
    if size is None:
        return None
    check_pixels(*size)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # OpenCV raises for some kinds of damage, and returns None for others
        return None


def _size_of(data: bytes) -> tuple[int, int] | None:
    """Return the height and width that the header of a PNG or TIFF states, None for another format."""
    try:
        if data.startswith(PNG_START):
            width, height = PNG_SIZE.unpack_from(data)
            return height, width
        order = TIFF_START.get(data[:4])
        return None if order is None else _tiff_size(data, order)
    except struct.error:
        return None


def _tiff_size(data: bytes, order: str) -> tuple[int, int] | None:
    """Return the height and width of the first image of a TIFF; None if it states none."""
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    found: dict[int, int] = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}2H", data, place)
        if tag in (TIFF_WIDTH, TIFF_HEIGHT):
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, place + 8)
            found[tag] = max(value, found.get(tag, 0))  # a decoder may use either of two equal tags
    return (found[TIFF_HEIGHT], found[TIFF_WIDTH]) if len(found) == 2 else None
