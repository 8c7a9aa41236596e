"""Image statistics from histograms: exact for 8-bit pixels, and they add up over frames and episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SAMPLE_PIXELS = 160
"""A sampled picture has at most this many pixels a side, so that a u16 can count them."""

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
"""The quantiles that a LeRobot dataset states."""

Histogram = NDArray[np.int64]


def histogram(rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return how often each value occurs in each channel of a picture sampled on a coarse grid, u16 (3, 256)."""
    step = -(-max(rgb.shape[:2]) // SAMPLE_PIXELS)
    pixels = rgb[::step, ::step].reshape(-1, 3)
    return np.stack([np.bincount(pixels[:, c], minlength=256) for c in range(3)]).astype("<u2")


def sampled_pixels(height: int, width: int) -> int:
    """Return how many pixels of a picture `histogram` counts."""
    step = -(-max(height, width) // SAMPLE_PIXELS)
    return -(-height // step) * -(-width // step)


def image_statistics(counts: Histogram) -> Mapping[str, NDArray[np.float64]]:
    """Return min, max, mean, std and quantiles of each channel, each (3,) with values 0..1, from a histogram (3, 256).

    Raises ValueError for a histogram of nothing.
    """
    total = counts.sum(axis=1, dtype=np.int64)
    if not total.all():
        raise ValueError("no picture was counted")
    values = np.arange(256) / 255
    mean = counts @ values / total
    square = counts @ np.square(values) / total
    seen = counts > 0
    below = np.cumsum(counts, axis=1) / total[:, None]
    out = {
        "min": values[seen.argmax(axis=1)],
        "max": values[255 - seen[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(square - np.square(mean), 0)),
    }
    return out | {f"q{round(q * 100):02d}": values[(below >= q).argmax(axis=1)] for q in QUANTILES}
