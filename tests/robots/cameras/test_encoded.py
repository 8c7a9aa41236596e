"""Encoded images whose header may claim any size."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.errors import ImageError
from waldo.robots.cameras.encoded import PNG_START, decode

PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def encode(suffix: str, pixels: np.ndarray = PIXELS) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def tiff(order: str, width: int, height: int, *, kind: int = 4) -> bytes:
    """Return the header of a TIFF with these sizes and no pixels."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = "H2x" if kind == 3 else "I"
    entries = [struct.pack(f"{order}2HI{value}", tag, kind, 1, size) for tag, size in ((256, width), (257, height))]
    return start + struct.pack(f"{order}IH", 8, len(entries)) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_png_and_tiff_are_decoded(suffix: str) -> None:
    np.testing.assert_array_equal(decode(encode(suffix), cv2.IMREAD_COLOR), PIXELS)
    depth = np.arange(35, dtype=np.uint16).reshape(5, 7)
    np.testing.assert_array_equal(decode(encode(suffix, depth), cv2.IMREAD_UNCHANGED), depth)


@pytest.mark.parametrize(
    "data",
    [
        PNG_START + struct.pack(">I4sII", 13, b"IHDR", 1 << 20, 1 << 20),
        tiff("<", 1 << 20, 1 << 20),
        tiff(">", 1 << 20, 1 << 20),
        tiff("<", 65_535, 65_535, kind=3),
    ],
)
def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^an image of \d+x\d+, expected at most 67108864 pixels$"):
        decode(data, cv2.IMREAD_COLOR)


def test_the_larger_one_of_two_equal_tags_counts() -> None:
    first, second = tiff("<", 1 << 20, 1 << 20)[10:-4], tiff("<", 4, 4)[10:-4]
    for entries in (first + second, second + first):
        with pytest.raises(ImageError, match="expected at most 67108864 pixels"):
            decode(b"II*\0" + struct.pack("<IH", 8, 4) + entries + bytes(4), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".webp", ".ppm"])
def test_other_formats_are_not_decoded(suffix: str) -> None:
    assert decode(encode(suffix), cv2.IMREAD_COLOR) is None


@pytest.mark.parametrize("data", [b"", PNG_START, b"II*\0", b"MM\0*" + bytes(8), tiff("<", 4, 4), tiff(">", 0, 0)])
def test_damaged_headers_give_nothing(data: bytes) -> None:
    assert decode(data, cv2.IMREAD_COLOR) is None


@given(st.sampled_from([".png", ".tiff"]), st.integers(0, 60), st.binary(min_size=1, max_size=8), st.integers(0, 400))
def test_damage_gives_an_image_nothing_or_an_image_error(suffix: str, at: int, damage: bytes, end: int) -> None:
    data = bytearray(encode(suffix))
    data[at : at + len(damage)] = damage
    try:
        found = decode(bytes(data[: max(end, 60)]), cv2.IMREAD_COLOR)
    except ImageError:
        return
    assert found is None or found.shape[2] == 3
