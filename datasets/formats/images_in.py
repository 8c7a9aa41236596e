"""Decode single encoded images of other datasets: PNG, JPEG, TIFF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image
from waldo.datasets.video import images
from waldo.errors import ImageError
from waldo.robots.cameras import encoded
from waldo.robots.cameras.ros_images import JPEG_START, to_millimeters


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """Size and content of an encoded image."""

    height: int
    """Image height [px]."""
    width: int
    """Image width [px]."""
    kind: Literal["pixels", "jpeg", "depth"]
    """Exact colors, a JPEG, or depth."""
    encoding: str
    """Encoding, for messages."""


def inspect_image(data: bytes) -> ImageInfo:
    """Return the size and content of an encoded image."""
    if data.startswith(JPEG_START):
        height, width = _jpeg_size(data)
        return ImageInfo(height=height, width=width, kind="jpeg", encoding="jpeg")
    pixels = decode_image(data)
    depth = pixels.ndim == 2 and pixels.dtype != np.uint8
    return ImageInfo(
        height=pixels.shape[0], width=pixels.shape[1], kind="depth" if depth else "pixels", encoding="single images"
    )


def as_image(data: bytes, kind: Literal["pixels", "jpeg", "depth"]) -> Image:
    """Return an encoded image in the form that the store takes: uint8 (H, W, 3), uint16 (H, W), or JPEG bytes."""
    if kind == "jpeg" and data.startswith(JPEG_START):
        return data
    pixels = decode_image(data)
    return to_depth(pixels) if kind == "depth" else to_rgb(pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def to_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) as RGB of shape (H, W, 3), without the alpha channel."""
    if pixels.dtype != np.uint8:
        raise SourceError("image", f"its colors are {pixels.dtype}, expected uint8")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = pixels[..., :3]
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8)


def to_depth(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Return depth in the form of the store: uint16 unchanged, meters as millimeters, 0 where unknown."""
    plain = pixels.reshape(pixels.shape[:2])
    if plain.dtype.kind == "u":
        return np.ascontiguousarray(plain, np.uint16)
    return to_millimeters(plain.astype(np.float64))


def decode_image(data: bytes) -> NDArray[Any]:
    """Return the decoded pixels in OpenCV's channel order (BGR)."""
    try:
        found = _decode_jpeg(data) if data.startswith(JPEG_START) else encoded.decode(data, cv2.IMREAD_UNCHANGED)
    except ImageError as error:
        raise SourceError("image", str(error)) from error
    if found is None:
        raise SourceError("image", f"{len(data)} bytes cannot be decoded as PNG, JPEG or TIFF")
    if found.ndim == 3 and found.shape[2] == 4:
        found = found[..., :3]
    return np.asarray(found)


def _decode_jpeg(data: bytes) -> NDArray[Any] | None:
    """Return the pixels of a JPEG, gray ones as (height, width); None if it is damaged."""
    images.check_pixels(*_jpeg_size(data))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    try:
        return images.jpeg_size(data)
    except ValueError as error:
        raise SourceError("image", str(error)) from error
