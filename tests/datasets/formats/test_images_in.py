"""Single encoded images of other datasets."""

import cv2
import numpy as np
import pytest

from waldo.datasets.formats.images_in import decode_image
from waldo.datasets.formats.source import SourceError

PIXELS = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jpg"])
def test_png_tiff_and_jpeg_are_decoded(suffix):
    found = decode_image(cv2.imencode(suffix, PIXELS)[1].tobytes())
    assert found.shape == PIXELS.shape
    assert suffix == ".jpg" or np.array_equal(found, PIXELS)


def test_a_jpeg_that_claims_to_be_huge_is_refused_before_it_is_decoded():
    data = bytearray(cv2.imencode(".jpg", PIXELS)[1].tobytes())
    data[(at := data.index(b"\xff\xc0")) + 5 : at + 9] = b"\x40\x00" * 2
    with pytest.raises(SourceError, match=r"an image of 16384x16384, expected at most 67108864 pixels"):
        decode_image(bytes(data))


@pytest.mark.parametrize("data", [b"", b"BM" + bytes(60), b"\xff\xd8\xff" + bytes(40)])
def test_other_data_is_refused(data):
    with pytest.raises(SourceError):
        decode_image(data)
