"""Every supported encoding of ROS images, and the errors of the others."""

from __future__ import annotations

import struct
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rvl import encode_rvl, rvl_image
from waldo.datasets.video import pixels as codec_pixels
from waldo.errors import ImageError
from waldo.robots.cameras import encoded, ros_images

COLOR = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def raw(pixels: np.ndarray[Any, Any], encoding: str, *, padding: int = 0, big: bool = False) -> Any:
    """Return a sensor_msgs/Image of pixels (H, W, ...) with padded rows."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).reshape(height, -1).view(np.uint8)
    data = np.pad(rows.reshape(height, -1), ((0, 0), (0, padding)))
    return SimpleNamespace(
        width=width, height=height, encoding=encoding, is_bigendian=big, step=data.shape[1], data=data.tobytes()
    )


@pytest.mark.parametrize("padding", [0, 5])
def test_color_is_returned_as_rgb(padding: int) -> None:
    alpha = np.full((2, 3, 1), 255, np.uint8)
    encoded = {
        "rgb8": COLOR,
        "bgr8": COLOR[..., ::-1],
        "8UC3": COLOR[..., ::-1],
        "rgba8": np.concatenate([COLOR, alpha], axis=2),
        "bgra8": np.concatenate([COLOR[..., ::-1], alpha], axis=2),
    }
    for encoding, pixels in encoded.items():
        np.testing.assert_array_equal(
            ros_images.from_raw(raw(np.ascontiguousarray(pixels), encoding, padding=padding)), COLOR
        )
    gray = ros_images.from_raw(raw(COLOR[..., :1], "mono8", padding=padding))
    np.testing.assert_array_equal(gray, np.repeat(COLOR[..., :1], 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
def test_depth_is_returned_in_millimeters(big: bool) -> None:
    depth_mm = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    np.testing.assert_array_equal(ros_images.from_raw(raw(depth_mm, "16UC1", big=big, padding=2)), depth_mm)
    depth_m = np.array([[np.nan, 0.0005, 0.3], [1.0, np.inf, 70.0]], np.float32)
    np.testing.assert_array_equal(ros_images.from_raw(raw(depth_m, "32FC1", big=big)), [[0, 0, 300], [1000, 0, 0]])


def test_both_forms_of_compressed_depth_are_decoded() -> None:
    depth_mm = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    png = cv2.imencode(".png", depth_mm)[1].tobytes()
    message = SimpleNamespace(format="16UC1; compressedDepth png", data=struct.pack("<iff", 0, 0, 0) + png)
    np.testing.assert_array_equal(ros_images.from_compressed_depth(message), depth_mm)
    # depth = A / (q - B), by the transport's default: depth_max 10 m, depth_quantization 100
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    depth_m = np.array([[0.5, 1.0, 4.0]])
    q = np.rint(a / depth_m + b).astype(np.uint16)
    png = cv2.imencode(".png", q)[1].tobytes()
    message = SimpleNamespace(format="32FC1; compressedDepth png", data=struct.pack("<iff", 0, a, b) + png)
    np.testing.assert_allclose(ros_images.from_compressed_depth(message), depth_m * 1000, atol=2)


def test_a_jpeg_stays_encoded_and_a_png_is_decoded() -> None:
    jpeg = cv2.imencode(".jpg", COLOR)[1].tobytes()
    assert ros_images.from_compressed(SimpleNamespace(data=jpeg)) == jpeg
    png = cv2.imencode(".png", COLOR[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(ros_images.from_compressed(SimpleNamespace(data=png)), COLOR)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_color_filter_is_interpolated(pattern: str) -> None:
    color = {"r": 200, "g": 90, "b": 30}
    tile = np.array([color[letter] for letter in pattern], np.uint8).reshape(2, 2)
    image = ros_images.from_raw(raw(np.tile(tile, (4, 6)), f"bayer_{pattern}8", padding=3))
    np.testing.assert_array_equal(image, np.broadcast_to(np.uint8([200, 90, 30]), (8, 12, 3)))


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", "UYVY"), ("yuv422", "UYVY"), ("yuyv", "YUYV")])
def test_chroma_of_pixel_pairs_is_converted(encoding: str, order: str) -> None:
    # A red of BT.601 with limited range (ITU-R BT.601): Y 81, Cb 90, Cr 240 is RGB 254, 0, 0.
    samples = {"Y": [81, 81], "U": [90], "V": [240]}
    pair = [samples[letter][0] for letter in order]
    image = ros_images.from_raw(raw(np.tile(np.array(pair, np.uint8), (2, 3)).reshape(2, 6, 2), encoding))
    np.testing.assert_allclose(image, np.broadcast_to([254, 0, 0], (2, 6, 3)), atol=2)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (raw(COLOR, "nv21"), r"unsupported image encoding 'nv21' \(supported: rgb8, bgr8,"),
        (raw(COLOR[..., :2], "uyvy"), "image of 3x2 uyvy cannot be converted: "),
        (
            SimpleNamespace(width=3, height=2, encoding="rgb8", is_bigendian=False, step=9, data=b"\0" * 17),
            "image of 3x2 rgb8 has only 17 bytes in rows of 9",
        ),
    ],
)
def test_an_image_that_cannot_be_decoded_is_described(message: Any, text: str) -> None:
    with pytest.raises(ImageError, match=f"^{text}"):
        ros_images.from_raw(message)


def test_damaged_images_are_errors() -> None:
    with pytest.raises(ImageError, match="image of 4 bytes cannot be decoded"):
        ros_images.from_compressed(SimpleNamespace(data=b"nope"))
    with pytest.raises(ImageError, match="image of 0 bytes cannot be decoded"):
        ros_images.from_compressed(SimpleNamespace(data=b""))
    eight_bits = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    for data in (b"", b"\0" * 12, b"\0" * 12 + b"not a png", b"\0" * 12 + eight_bits):
        with pytest.raises(ImageError, match="contains no gray PNG of 16 bits"):
            ros_images.from_compressed_depth(SimpleNamespace(format="16UC1; compressedDepth", data=data))


REFERENCE = bytes.fromhex(
    "66d2ef1639dfd96e1f31dfc9161c18823ddfab6ad936df8b161c18269df3cdee"
    "926df3cd1a1c18669e3ddfbe26d936df881c1866dfef39ef6626d93600162c61"
)
"""An image of 6x8 as the C++ code of compressed_depth_image_transport compresses it."""


def reference_pixels() -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:6, :8]
    return np.where((37 * x + 1013 * y) % 7 == 0, 0, np.where(x == 5, 65535, 700 + 3 * x - 50 * y)).astype(np.uint16)


def compressed(form: str, body: bytes, a: float = 0.0, b: float = 0.0) -> Any:
    return SimpleNamespace(format=form, data=struct.pack("<iff", 0, a, b) + body)


def test_rvl_of_the_publisher_is_decoded() -> None:
    assert encode_rvl(reference_pixels().reshape(-1)) == REFERENCE
    message = compressed("16UC1; compressedDepth rvl", struct.pack("<II", 8, 6) + REFERENCE)
    np.testing.assert_array_equal(ros_images.from_compressed_depth(message), reference_pixels())


def test_rvl_of_inverse_depth_is_decoded() -> None:
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    depth_m = np.array([[0.5, 1.0, 4.0]])
    q = np.append(np.rint(a / depth_m + b), [[0]], axis=1).astype(np.uint16)
    message = compressed("32FC1; compressedDepth rvl", rvl_image(q), a, b)
    np.testing.assert_allclose(ros_images.from_compressed_depth(message), [[500, 1000, 4000, 0]], atol=2)


@given(st.lists(st.one_of(st.just(0), st.integers(0, 65535), st.integers(990, 1010)), min_size=1, max_size=300))
def test_any_rvl_is_decoded(values: list[int]) -> None:
    assert ros_images.decode_rvl(encode_rvl(values), len(values)).tolist() == values


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_damaged_rvl_is_an_error(data: bytes, count: int) -> None:
    with suppress(ImageError):
        assert ros_images.decode_rvl(data, count).shape == (count,)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\0\0", "RVL data of 2 bytes is too short"),
        (struct.pack("<II", 2**31, 2**31) + b"\0" * 16, "expected at most 67108864 pixels"),
        (struct.pack("<II", 8, 7) + REFERENCE, "RVL data is damaged: it contains 48 pixels|it ends after 48 of 56"),
        (struct.pack("<II", 8, 5) + REFERENCE, "RVL data is damaged: it contains 4. pixels, expected 40"),
        (struct.pack("<II", 8, 6) + REFERENCE[:-8], "RVL data is damaged: it (contains|ends)"),
        (struct.pack("<II", 8, 6) + b"\xff" * 64, "RVL data is damaged: it contains no numbers"),
    ],
)
def test_an_rvl_image_that_does_not_fit_its_size_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        ros_images.from_compressed_depth(compressed("16UC1; compressedDepth rvl", body))


def test_the_largest_image_is_that_of_the_codec() -> None:
    assert encoded.MAX_PIXELS == codec_pixels.MAX_PIXELS
