"""Every supported encoding of ROS images, and the errors of the others."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.collect.recorder import images

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
            images.from_raw(raw(np.ascontiguousarray(pixels), encoding, padding=padding)), COLOR
        )
    gray = images.from_raw(raw(COLOR[..., :1], "mono8", padding=padding))
    np.testing.assert_array_equal(gray, np.repeat(COLOR[..., :1], 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
def test_depth_is_returned_in_millimeters(big: bool) -> None:
    depth_mm = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    np.testing.assert_array_equal(images.from_raw(raw(depth_mm, "16UC1", big=big, padding=2)), depth_mm)
    depth_m = np.array([[np.nan, 0.0005, 0.3], [1.0, np.inf, 70.0]], np.float32)
    np.testing.assert_array_equal(images.from_raw(raw(depth_m, "32FC1", big=big)), [[0, 0, 300], [1000, 0, 0]])


def test_both_forms_of_compressed_depth_are_decoded() -> None:
    depth_mm = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    png = cv2.imencode(".png", depth_mm)[1].tobytes()
    message = SimpleNamespace(format="16UC1; compressedDepth png", data=struct.pack("<iff", 0, 0, 0) + png)
    np.testing.assert_array_equal(images.from_compressed_depth(message), depth_mm)
    # depth = A / (q - B), by the transport's default: depth_max 10 m, depth_quantization 100
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    depth_m = np.array([[0.5, 1.0, 4.0]])
    q = np.rint(a / depth_m + b).astype(np.uint16)
    png = cv2.imencode(".png", q)[1].tobytes()
    message = SimpleNamespace(format="32FC1; compressedDepth png", data=struct.pack("<iff", 0, a, b) + png)
    np.testing.assert_allclose(images.from_compressed_depth(message), depth_m * 1000, atol=2)


def test_a_jpeg_stays_encoded_and_a_png_is_decoded() -> None:
    jpeg = cv2.imencode(".jpg", COLOR)[1].tobytes()
    assert images.from_compressed(SimpleNamespace(data=jpeg)) == jpeg
    png = cv2.imencode(".png", COLOR[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(images.from_compressed(SimpleNamespace(data=png)), COLOR)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_color_filter_is_interpolated(pattern: str) -> None:
    color = {"r": 200, "g": 90, "b": 30}
    tile = np.array([color[letter] for letter in pattern], np.uint8).reshape(2, 2)
    image = images.from_raw(raw(np.tile(tile, (4, 6)), f"bayer_{pattern}8", padding=3))
    np.testing.assert_array_equal(image, np.broadcast_to(np.uint8([200, 90, 30]), (8, 12, 3)))


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", "UYVY"), ("yuv422", "UYVY"), ("yuyv", "YUYV")])
def test_chroma_of_pixel_pairs_is_converted(encoding: str, order: str) -> None:
    # A red of BT.601 with limited range (ITU-R BT.601): Y 81, Cb 90, Cr 240 is RGB 254, 0, 0.
    samples = {"Y": [81, 81], "U": [90], "V": [240]}
    pair = [samples[letter][0] for letter in order]
    image = images.from_raw(raw(np.tile(np.array(pair, np.uint8), (2, 3)).reshape(2, 6, 2), encoding))
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
    with pytest.raises(images.ImageError, match=f"^{text}"):
        images.from_raw(message)


def test_damaged_images_are_errors() -> None:
    with pytest.raises(images.ImageError, match="image of 4 bytes cannot be decoded"):
        images.from_compressed(SimpleNamespace(data=b"nope"))
    with pytest.raises(images.ImageError, match="image of 0 bytes cannot be decoded"):
        images.from_compressed(SimpleNamespace(data=b""))
    for data in (b"", b"\0" * 12, b"\0" * 12 + b"not a png"):
        with pytest.raises(images.ImageError, match="contains no 16-bit PNG"):
            images.from_compressed_depth(SimpleNamespace(format="16UC1; compressedDepth", data=data))
