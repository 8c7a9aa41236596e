"""A camera's H.264 is decoded exactly, from anywhere in a group, and nothing wrong is ever returned."""

from __future__ import annotations

import numpy as np
import pytest

from tests.h264_camera import encode, gray
from waldo.datasets.recording.access_units import AccessUnit, AccessUnits
from waldo.datasets.recording.live_decoder import LiveDecoder, key_frame
from waldo.errors import ImageError

VALUES = [20 + 10 * k for k in range(20)]


def camera(gop: int = 10) -> list[AccessUnit]:
    units = AccessUnits()
    found = [units.add(data) for data in encode([gray(value) for value in VALUES], gop=gop)]
    return [one for one in found if one is not None]


def mean(rgb: np.ndarray) -> float:
    assert (rgb.shape, rgb.dtype) == ((48, 64, 3), np.uint8)
    return float(rgb.mean())


def test_each_access_unit_is_its_own_frame() -> None:
    decoder = LiveDecoder()
    assert [mean(decoder.decode(unit)) for unit in camera()] == pytest.approx(VALUES, abs=3)


def test_a_decoder_starts_within_a_group_and_skips_within_and_between_groups() -> None:
    units, decoder = camera(), LiveDecoder()
    for number in (4, 5, 8, 15, 16):
        assert mean(decoder.decode(units[number])) == pytest.approx(VALUES[number], abs=3)


def test_a_damaged_access_unit_spoils_its_group_only() -> None:
    units, decoder = camera(), LiveDecoder()
    data = bytearray(units[3].data)
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    damaged = AccessUnit(bytes(data[: len(data) // 2]), units[3].group, 3)
    units[3].group.units[3] = damaged.data
    for unit in units[:3]:
        decoder.decode(unit)
    with pytest.raises(ImageError, match="damaged"):
        decoder.decode(damaged)
    for unit in units[4:10]:
        with pytest.raises(ImageError, match="waits for a key frame: a frame before this one is damaged or unknown"):
            decoder.decode(unit)
    assert mean(decoder.decode(units[10])) == pytest.approx(VALUES[10], abs=3)


def test_b_frames_are_refused() -> None:
    units, decoder = AccessUnits(), LiveDecoder()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3)).astype(np.uint8) // 4 + gray(5 * k) // 2 for k in range(12)]
    found = [units.add(data) for data in encode(images, gop=12, b_frames=2)]
    with pytest.raises(ImageError, match="B-frames"):
        [decoder.decode(unit) for unit in found if unit is not None]


def test_only_a_key_frame_is_decoded_alone() -> None:
    units = camera()
    first = key_frame(units[0])
    assert first is not None
    assert mean(first) == pytest.approx(VALUES[0], abs=3)
    assert key_frame(units[1]) is None
