"""An encoder of RVL, one value at a time as in the paper, for the tests of the decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np


def encode_rvl(values: Iterable[int]) -> bytes:
    """Return values of 16 bits compressed by RVL (Wilson, "Fast lossless depth image compression", ISS 2017)."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while number >= 8:
            nibbles.append(number % 8 + 8)
            number //= 8
        nibbles.append(number)

    rest, previous = [int(value) for value in values], 0
    while rest:
        zeros = next((place for place, value in enumerate(rest) if value), len(rest))
        others = next((place for place, value in enumerate(rest[zeros:]) if not value), len(rest) - zeros)
        put(zeros)
        put(others)
        for value in rest[zeros : zeros + others]:
            difference, previous = value - previous, value
            put(2 * difference if difference >= 0 else -2 * difference - 1)
        rest = rest[zeros + others :]
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{nibble:x}" for nibble in nibbles[at : at + 8]), 16) for at in range(0, len(nibbles), 8)]
    return struct.pack(f"<{len(words)}I", *words)


def rvl_image(pixels: np.ndarray) -> bytes:
    """Return an image, uint16 (H, W), as compressed_depth_image_transport sends it after its header."""
    height, width = pixels.shape
    return struct.pack("<II", width, height) + encode_rvl(pixels.reshape(-1))
