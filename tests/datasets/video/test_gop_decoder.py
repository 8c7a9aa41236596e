from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.video import gop_decoder, h264


def group(count: int = 5) -> tuple[list[np.ndarray], bytes]:
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    frames = [np.roll(base, 3 * k, axis=1) for k in range(count)]
    packets = h264.encode_frames(frames, gop=5, crf=20, rate=Fraction(30))
    return frames, b"".join(h264.to_sample(packet.data) for packet in packets)


CHUNK = group()[1]


def test_pictures_are_those_that_the_archive_reads() -> None:
    expected = h264.decode(h264.split_samples(CHUNK), range(5), (48, 64))
    for count in range(1, 6):
        found = gop_decoder.pictures(CHUNK, count)
        assert len(found) == count
        np.testing.assert_array_equal(np.stack([gop_decoder.to_rgb(p) for p in found]), expected[:count])


def test_a_short_last_group_gives_what_it_has() -> None:
    assert len(gop_decoder.pictures(group(2)[1], 5)) == 2


def test_samples_are_the_packets_of_the_group() -> None:
    assert [bytes(s) for s in gop_decoder.samples(CHUNK)] == [
        h264.to_sample(packet.data) for packet in h264.split_samples(CHUNK)
    ]


def test_planes_are_written_in_place_and_in_another_size() -> None:
    rgb = gop_decoder.to_rgb(gop_decoder.pictures(CHUNK, 1)[0])
    batch = np.zeros((2, 3, 48, 64), np.uint8)
    gop_decoder.write_planes(rgb, batch[1])
    np.testing.assert_array_equal(batch[1].transpose(1, 2, 0), rgb)
    assert not batch[0].any()
    half = np.zeros((3, 24, 32), np.uint8)
    gop_decoder.write_planes(rgb, half)
    assert half.any()


@given(st.binary(max_size=200) | st.integers(0, len(CHUNK)).map(lambda n: CHUNK[:n]))
def test_no_bytes_make_anything_but_a_value_error(content: bytes) -> None:
    try:
        found = gop_decoder.pictures(content, 5)
    except ValueError:
        found = []
    assert len(found) <= 5
    assert len(gop_decoder.pictures(CHUNK, 5)) == 5


def test_a_cut_unit_is_named() -> None:
    with pytest.raises(ValueError, match=r"a NAL unit of \d+ bytes at byte \d+ of a chunk of 40 bytes"):
        gop_decoder.samples(CHUNK[:40])
