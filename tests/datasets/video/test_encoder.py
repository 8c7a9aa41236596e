from fractions import Fraction

import numpy as np
import pytest

from waldo.datasets.video.encoder import Encoder, encode_frames


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    base = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(base, 4 * k, axis=1) for k in range(13)])


def test_one_packet_per_frame_and_one_key_frame_per_group(frames):
    packets = encode_frames(frames, gop=5, crf=10, rate=Fraction(30))
    assert [packet.key for packet in packets] == [k % 5 == 0 for k in range(13)]


def test_packet_is_returned_with_its_frame(frames):
    encoder = Encoder(width=64, height=48, gop=5, crf=20, rate=Fraction(30))
    assert [len(encoder.encode(frame)) for frame in frames] == [1] * 13
    assert encoder.flush() == []


def test_same_frames_give_the_same_bytes(frames):
    first, second = (encode_frames(frames, gop=5, crf=10, rate=Fraction(30)) for _ in range(2))
    assert first == second
