"""Frames of other programs become RGB by their own color space and range."""

from __future__ import annotations

import av
import numpy as np
import pytest

from waldo.datasets.video.color import FULL_RANGE, is_stores, rgb_of


def frame(color_range: int, colorspace: int = 5) -> av.VideoFrame:
    """Return a frame with luma 200 and no color, in the format that FFmpeg's decoder returns for a range."""
    planes = np.full((48 * 3 // 2, 64), 128, np.uint8)
    planes[:48] = 200
    found = av.VideoFrame.from_ndarray(planes, format="yuvj420p" if color_range == FULL_RANGE else "yuv420p")
    found.color_range, found.colorspace = color_range, colorspace
    return found


@pytest.mark.parametrize(("color_range", "expected"), [(1, (200 - 16) * 255 / 219), (FULL_RANGE, 200)])
def test_the_range_is_respected(color_range: int, expected: float) -> None:
    found = frame(color_range)
    assert is_stores(found) == (color_range != FULL_RANGE)
    assert rgb_of(found).shape == (48, 64, 3)
    np.testing.assert_allclose(rgb_of(found), expected, atol=2)


def test_another_color_space_is_not_the_stores() -> None:
    assert not is_stores(frame(1, colorspace=1))
