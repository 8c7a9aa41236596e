from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.datasets.video import h264
from waldo.datasets.video.encoder import encode_frames


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    base = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(base, 4 * k, axis=1) for k in range(13)])


@pytest.fixture(scope="module")
def packets(frames):
    return encode_frames(frames, gop=5, crf=10, rate=Fraction(30))


def test_samples_are_split_into_the_original_packets(packets):
    chunk = b"".join(h264.to_sample(packet.data) for packet in packets)
    split = h264.split_samples(chunk)
    assert [packet.key for packet in split] == [packet.key for packet in packets]
    units = [list(h264.nal_units(packet.data)) for packet in packets]
    assert [list(h264.nal_units(packet.data)) for packet in split] == units
    assert [bytes(sample) for sample in h264.samples(chunk)] == [h264.to_sample(packet.data) for packet in packets]


def test_parameter_sets_identify_the_encoder_settings(frames, packets):
    other = encode_frames(frames[:1], gop=5, crf=30, rate=Fraction(30))
    assert h264.parameter_sets(packets[0].data) == h264.parameter_sets(packets[5].data)
    assert h264.parameter_sets(packets[0].data) != h264.parameter_sets(other[0].data)


def test_truncated_unit_is_reported_with_its_position(packets):
    chunk = h264.to_sample(packets[0].data)[:40]
    with pytest.raises(ValueError, match=r"a NAL unit of \d+ bytes at byte \d+ of a chunk of 40 bytes"):
        h264.samples(chunk)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_splitting_random_bytes_raises_only_value_errors(chunk):
    with suppress(ValueError):
        packets = h264.split_samples(chunk)
        assert sum(len(packet.data) for packet in packets) <= len(chunk)
