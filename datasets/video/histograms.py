"""Image statistics from histograms: exact for 8-bit pixels, and additive over frames and episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SAMPLE_PIXELS = 160
"""Maximum side of a sampled image [px], chosen such that a u16 can count its pixels."""

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
"""The quantiles in a LeRobot dataset's statistics."""

Histogram = NDArray[np.int64]


def histogram(rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return how often each value occurs in each channel of an image sampled on a coarse grid, u16 (3, 256)."""
    step = -(-max(rgb.shape[:2]) // SAMPLE_PIXELS)
    pixels = rgb[::step, ::step].reshape(-1, 3)
    return np.stack([np.bincount(pixels[:, c], minlength=256) for c in range(3)]).astype("<u2")


def sampled_pixels(height: int, width: int) -> int:
    """Return how many pixels `histogram` counts in an image of this size."""
    step = -(-max(height, width) // SAMPLE_PIXELS)
    return -(-height // step) * -(-width // step)


def image_statistics(counts: Histogram) -> Mapping[str, NDArray[np.float64]]:
    """Return min, max, mean, std and quantiles of each channel, (3,) in 0..1, from a histogram (3, 256).

    Raises:
        ValueError: If the histogram is empty.
    """
    total = counts.sum(axis=1, dtype=np.int64)
    if not total.all():
        raise ValueError("the histogram is empty: no image was sampled")
    values = np.arange(256) / 255
    mean = counts @ values / total
    square = counts @ np.square(values) / total
    present = counts > 0
    below = np.cumsum(counts, axis=1) / total[:, None]
    out = {
        "min": values[present.argmax(axis=1)],
        "max": values[255 - present[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(square - np.square(mean), 0)),
    }
    return out | {f"q{round(q * 100):02d}": values[(below >= q).argmax(axis=1)] for q in QUANTILES}
