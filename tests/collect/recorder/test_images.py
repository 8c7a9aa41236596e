"""Pictures as ROS carries them: every encoding that is read, and those that are refused."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.collect.recorder import images

COLOUR = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def raw(pixels: np.ndarray[Any, Any], encoding: str, *, padding: int = 0, big: bool = False) -> Any:
    """A sensor_msgs/Image of pixels (H, W, ...) whose rows are padded."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).reshape(height, -1).view(np.uint8)
    data = np.pad(rows.reshape(height, -1), ((0, 0), (0, padding)))
    return SimpleNamespace(
        width=width, height=height, encoding=encoding, is_bigendian=big, step=data.shape[1], data=data.tobytes()
    )


@pytest.mark.parametrize("padding", [0, 5])
def test_colour_comes_out_as_rgb_whatever_its_order(padding: int) -> None:
    alpha = np.full((2, 3, 1), 255, np.uint8)
    sent = {
        "rgb8": COLOUR,
        "bgr8": COLOUR[..., ::-1],
        "8UC3": COLOUR[..., ::-1],
        "rgba8": np.concatenate([COLOUR, alpha], axis=2),
        "bgra8": np.concatenate([COLOUR[..., ::-1], alpha], axis=2),
    }
    for encoding, pixels in sent.items():
        np.testing.assert_array_equal(
            images.from_raw(raw(np.ascontiguousarray(pixels), encoding, padding=padding)), COLOUR
        )
    grey = images.from_raw(raw(COLOUR[..., :1], "mono8", padding=padding))
    np.testing.assert_array_equal(grey, np.repeat(COLOUR[..., :1], 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
def test_depth_comes_out_in_millimetres(big: bool) -> None:
    millimetres = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    np.testing.assert_array_equal(images.from_raw(raw(millimetres, "16UC1", big=big, padding=2)), millimetres)
    metres = np.array([[np.nan, 0.0005, 0.3], [1.0, np.inf, 70.0]], np.float32)
    np.testing.assert_array_equal(images.from_raw(raw(metres, "32FC1", big=big)), [[0, 0, 300], [1000, 0, 0]])


def test_compressed_depth_is_read_in_both_its_forms() -> None:
    millimetres = np.array([[0, 1, 300], [1000, 40000, 65535]], np.uint16)
    png = cv2.imencode(".png", millimetres)[1].tobytes()
    message = SimpleNamespace(format="16UC1; compressedDepth png", data=struct.pack("<iff", 0, 0, 0) + png)
    np.testing.assert_array_equal(images.from_compressed_depth(message), millimetres)
    # depth = A / (q - B), by the transport's default: depth_max 10 m, depth_quantization 100
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    metres = np.array([[0.5, 1.0, 4.0]])
    q = np.rint(a / metres + b).astype(np.uint16)
    png = cv2.imencode(".png", q)[1].tobytes()
    message = SimpleNamespace(format="32FC1; compressedDepth png", data=struct.pack("<iff", 0, a, b) + png)
    np.testing.assert_allclose(images.from_compressed_depth(message), metres * 1000, atol=2)


def test_a_jpeg_stays_as_it_is_and_a_png_is_decoded() -> None:
    jpeg = cv2.imencode(".jpg", COLOUR)[1].tobytes()
    assert images.from_compressed(SimpleNamespace(data=jpeg)) == jpeg
    png = cv2.imencode(".png", COLOUR[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(images.from_compressed(SimpleNamespace(data=png)), COLOUR)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (raw(COLOUR, "yuv422"), "images are encoded as 'yuv422'; waldo reads rgb8, bgr8,"),
        (
            SimpleNamespace(width=3, height=2, encoding="rgb8", is_bigendian=False, step=9, data=b"\0" * 17),
            "an image of 3x2 rgb8 has only 17 bytes in rows of 9",
        ),
    ],
)
def test_what_cannot_be_read_says_what_it_is(message: Any, text: str) -> None:
    with pytest.raises(images.ImageError, match=f"^{text}"):
        images.from_raw(message)


def test_damaged_pictures_are_errors() -> None:
    with pytest.raises(images.ImageError, match="an image of 4 bytes cannot be decoded"):
        images.from_compressed(SimpleNamespace(data=b"nope"))
    with pytest.raises(images.ImageError, match="an image of 0 bytes cannot be decoded"):
        images.from_compressed(SimpleNamespace(data=b""))
    for data in (b"", b"\0" * 12, b"\0" * 12 + b"not a png"):
        with pytest.raises(images.ImageError, match="holds no 16-bit PNG"):
            images.from_compressed_depth(SimpleNamespace(format="16UC1; compressedDepth", data=data))
