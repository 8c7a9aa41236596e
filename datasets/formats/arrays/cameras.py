"""Arrays of images as cameras: raw pixels, depth, or one encoded image per row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from waldo.datasets.formats.arrays.source_array import EpisodeInfo, Kind, SourceArray
from waldo.datasets.formats.cameras_in import SourceCamera
from waldo.datasets.formats.images_in import as_image, inspect_image, to_depth, to_rgb
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image


def open_array_camera(array: SourceArray, kind: Kind, name: str, info: EpisodeInfo, notes: list[str]) -> SourceCamera:
    """Return an image array as a camera.

    Args:
        array: The array.
        kind: Its content.
        name: Stream name.
        info: Properties of the episode.
        notes: Receives what the store cannot keep.
    """
    if array.swapped and kind != "depth":
        notes.append(f"{name}: red and blue are swapped in the source and are swapped back.")
    if kind == "encoded":
        return _encoded(array, name, info)
    height, width = array.size
    depth = kind == "depth"
    scale = 1.0
    if array.dtype.kind == "f" and depth:
        notes.append(f"{name}: depth is rounded from meters to millimeters; unknown depth becomes 0.")
    elif array.dtype.kind == "f":
        scale, note = _scale(array, name)
        notes.append(note)
    elif array.shape[-1] == 4 and len(array.shape) == 4 and not array.is_channel_first:
        notes.append(f"{name}: the alpha channel is not imported.")
    return SourceCamera(
        name=name,
        height=height,
        width=width,
        rate_hz=info.rate_hz,
        header_ns=info.header_ns,
        encoding="raw pixels",
        kind="depth" if depth else "pixels",
        images=lambda: _images(array, scale, depth=depth),
        unit_m=array.unit_m,
    )


def _encoded(array: SourceArray, name: str, info: EpisodeInfo) -> SourceCamera:
    """Return an array of encoded images as a camera; JPEGs are copied unless their colors are swapped."""
    assert array.encoded is not None
    first = next(array.encoded(), None)
    if first is None:
        raise SourceError(info.name, f"{array.key} contains no image")
    look = inspect_image(first)
    swapped = array.swapped and look.kind != "depth"
    kind: Literal["pixels", "jpeg", "depth"] = "pixels" if swapped else look.kind

    def images() -> Iterator[Image]:
        assert array.encoded is not None
        for data in array.encoded():
            try:
                image = as_image(data, kind)
            except SourceError:
                yield data  # bytes that are not an image: the encoder counts the frame as lost
                continue
            if swapped and isinstance(image, np.ndarray):
                yield np.ascontiguousarray(image[..., ::-1], np.uint8)
            else:
                yield image

    return SourceCamera(
        name=name,
        height=look.height,
        width=look.width,
        rate_hz=info.rate_hz,
        header_ns=info.header_ns,
        encoding=look.encoding,
        kind=kind,
        images=images,
        unit_m=array.unit_m,
    )


def _scale(array: SourceArray, name: str) -> tuple[float, str]:
    """Return the scale of float images, judged by the first image, and the note about it."""
    first = array.read(0, 1)
    if float(first.max()) <= 1.0:
        return 255.0, f"{name}: float images from 0 to 1 are rounded to uint8."
    return 1.0, f"{name}: float images are converted to uint8, which is exact for whole numbers."


def _images(array: SourceArray, scale: float, *, depth: bool) -> Iterator[Image]:
    """Yield the images in the form that the store takes."""
    for row in array.rows():
        pixels = np.moveaxis(row, 0, -1) if array.is_channel_first else row
        if depth:
            yield to_depth(pixels * array.depth_m if pixels.dtype.kind == "f" else pixels)
            continue
        if pixels.dtype.kind == "f":
            pixels = np.clip(np.rint(np.nan_to_num(pixels) * scale), 0, 255).astype(np.uint8)
        rgb = to_rgb(pixels)
        yield np.ascontiguousarray(rgb[..., ::-1]) if array.swapped else rgb
