"""What cameras show: images that do not change while the robot moves, black images, and even ones."""

from __future__ import annotations

import numpy as np

from waldo.datasets.quality.finding import Finding, problem
from waldo.datasets.quality.rules import Rules
from waldo.datasets.video.images import jpeg_size
from waldo.errors import ImageError
from waldo.robots.cameras.encoded import check_pixels
from waldo.robots.cameras.ros_images import Image

LOOKS = 5
"""Number of an episode's frames whose brightness is checked."""


def check_frozen(
    camera: str, start_ns: int, stop_ns: int, moved_rad: float | None, rules: Rules, first_ns: int
) -> Finding | None:
    """Return the finding on a stretch in which a camera's image does not change; None if it is allowed.

    Args:
        camera: The camera's stream.
        start_ns: Stamp of the first of the equal images [ns since the epoch].
        stop_ns: Stamp of the last one [ns since the epoch].
        moved_rad: Largest movement of a joint meanwhile [rad]; None if unknown.
        rules: The limits.
        first_ns: First stamp of the episode [ns since the epoch].
    """
    seconds = (stop_ns - start_ns) / 1e9
    if seconds < rules.frozen_s or (moved_rad is not None and moved_rad <= rules.moving_rad):
        return None
    context = "" if moved_rad is None else f" while a joint moved {moved_rad:.2f} rad"
    at_s = (start_ns - first_ns) / 1e9
    return problem("frozen", camera, f"the image does not change for {seconds:.2f} s from {at_s:.2f} s{context}")


def describe_dark(gray: Image, rules: Rules) -> str:
    """Return what is wrong with an image's brightness (H, W): "is black", "shows one even area", or nothing."""
    if float(gray.mean()) <= rules.dark_mean:
        return "is black"
    return "shows one even area" if float(gray.std()) <= rules.flat_std else ""


def check_dark(camera: str, text: str, at_s: float) -> Finding:
    """Return the finding on an image at a time after the episode's first stamp [s]; `text` describes its brightness."""
    return problem("dark", camera, f"the image {text} at {at_s:.2f} s")


def brightness(image: bytes | Image) -> Image | None:
    """Return an eighth of the brightness of a JPEG or of pixels (H, W, 3); None if it cannot be decoded."""
    import cv2

    if isinstance(image, bytes):
        try:
            check_pixels(*jpeg_size(image))
            found = cv2.imdecode(np.frombuffer(image, dtype=np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except (ImageError, cv2.error):  # the recorder reports it
            return None
        return None if found is None else found.astype(np.uint8)
    return image[::8, ::8].mean(axis=2).astype(np.uint8) if image.ndim == 3 else None
