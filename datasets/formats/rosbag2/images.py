"""Convert the images in ROS messages to the form of the store: JPEG bytes, colors or depth."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

from waldo.datasets.formats import images_in
from waldo.datasets.formats.images_in import ImageInfo
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image
from waldo.errors import ImageError
from waldo.robots.cameras import ros_images


def inspect_image(message: Any) -> ImageInfo:
    """Return the size and content of the image in an Image or CompressedImage.

    Raises:
        SourceError: If it cannot be decoded.
    """
    if _is_single_image(message):
        return images_in.inspect_image(bytes(message.data))
    with _source_errors():
        decoded = _decode(message)
    encoding = f"raw {message.encoding}" if hasattr(message, "encoding") else f"compressed {message.format[:5]}"
    kind: Literal["depth", "pixels"] = "depth" if decoded.ndim == 2 else "pixels"
    return ImageInfo(height=decoded.shape[0], width=decoded.shape[1], kind=kind, encoding=encoding)


def image(message: Any, kind: Literal["pixels", "jpeg", "depth"]) -> Image:
    """Return the image in an Image or CompressedImage in the form that the store takes.

    Raises:
        SourceError: If it cannot be decoded.
    """
    if _is_single_image(message):
        return images_in.as_image(bytes(message.data), kind)
    with _source_errors():
        return _decode(message)


def _is_single_image(message: Any) -> bool:
    """Return whether a message is a JPEG or PNG without another header."""
    return not hasattr(message, "encoding") and not ros_images.is_compressed_depth(message)


def _decode(message: Any) -> ros_images.Image:
    if ros_images.is_compressed_depth(message):
        return ros_images.from_compressed_depth(message)
    return ros_images.from_raw(message)


@contextmanager
def _source_errors() -> Generator[None]:
    """Turn an ImageError into a SourceError."""
    try:
        yield
    except ImageError as error:
        raise SourceError("image", str(error)) from error
