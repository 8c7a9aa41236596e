from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.datasets.video import h264


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    base = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(base, 4 * k, axis=1) for k in range(13)])


@pytest.fixture(scope="module")
def packets(frames):
    return h264.encode_frames(frames, gop=5, crf=10, rate=Fraction(30))


def test_a_packet_a_frame_and_a_key_frame_a_group(packets):
    assert [packet.key for packet in packets] == [k % 5 == 0 for k in range(13)]


def test_a_packet_comes_out_as_soon_as_its_frame_is_in(frames):
    encoder = h264.Encoder(width=64, height=48, gop=5, crf=20, rate=Fraction(30))
    assert [len(encoder.encode(frame)) for frame in frames] == [1] * 13
    assert encoder.flush() == []


def test_the_same_frames_give_the_same_bytes(frames, packets):
    assert h264.encode_frames(frames, gop=5, crf=10, rate=Fraction(30)) == packets


def test_frames_come_back_in_colour(frames, packets):
    decoded = h264.decode(packets[:5], range(5), (48, 64))
    # 4:2:0 chroma and crf 10: the mean error stays small, and every frame is nearest to itself.
    error = np.abs(decoded[:, None].astype(int) - frames[None, :5]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(5)).all()
    assert error.diagonal().max() < 12


def test_single_frames_are_those_of_the_whole(packets):
    whole = h264.decode(packets[5:10], range(5), (48, 64))
    for wanted in ([3], [0, 4], [1, 2, 3]):
        assert np.array_equal(h264.decode(packets[5:10], wanted, (48, 64)), whole[wanted])


def test_frames_past_the_end_are_black(packets):
    decoded = h264.decode(packets[10:], [2, 3, 4], (48, 64))
    assert decoded[0].any()
    assert not decoded[1:].any()


def test_samples_split_into_the_packets_they_were(packets):
    chunk = b"".join(h264.to_sample(packet.data) for packet in packets)
    split = h264.split_samples(chunk)
    assert [packet.key for packet in split] == [packet.key for packet in packets]
    units = [list(h264.nal_units(packet.data)) for packet in packets]
    assert [list(h264.nal_units(packet.data)) for packet in split] == units


def test_parameter_sets_tell_encodings_apart(frames, packets):
    other = h264.encode_frames(frames[:1], gop=5, crf=30, rate=Fraction(30))
    assert h264.parameter_sets(packets[0].data) == h264.parameter_sets(packets[5].data)
    assert h264.parameter_sets(packets[0].data) != h264.parameter_sets(other[0].data)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_splitting_rubbish_raises_nothing_but_valueerror(chunk):
    with suppress(ValueError):
        packets = h264.split_samples(chunk)
        assert sum(len(packet.data) for packet in packets) <= len(chunk)
