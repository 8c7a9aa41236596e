from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.video import decoder, h264, images
from waldo.datasets.video.encoder import LOSSLESS, SOFTWARE, encode_frames


def frames_of(count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(1)
    base = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(base, 4 * k, axis=1) for k in range(count)])


def chunk_of(count: int = 5, encoder: str = SOFTWARE) -> bytes:
    packets = encode_frames(frames_of(count), gop=5, crf=10, rate=Fraction(30), encoder=encoder)
    return b"".join(h264.to_sample(packet.data) for packet in packets)


CHUNK = chunk_of()
SHAPE = (48, 64)


def test_decoded_frames_resemble_the_encoded_ones() -> None:
    decoded = decoder.decode(CHUNK, range(5), SHAPE)
    # 4:2:0 chroma and crf 10: the mean error is small, and every frame is closest to itself.
    error = np.abs(decoded[:, None].astype(int) - frames_of()[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(5)).all()
    assert error.diagonal().max() < 12


def test_lossless_frames_are_exact() -> None:
    assert np.array_equal(decoder.decode(chunk_of(5, LOSSLESS), range(5), SHAPE), frames_of())


def test_decoder_agrees_with_a_plain_ffmpeg_decoder() -> None:
    context = av.CodecContext.create("h264", "r")
    frames = [f for p in h264.split_samples(CHUNK) for f in context.decode(av.Packet(p.data))] + context.decode(None)
    found = decoder.decode_frames(CHUNK, 5)
    assert len(found) == len(frames) == 5
    for one, other in zip(found, frames, strict=True):
        assert np.array_equal(one.to_ndarray(), other.to_ndarray())


def test_single_frames_equal_those_of_the_whole_chunk() -> None:
    whole = decoder.decode(CHUNK, range(5), SHAPE)
    for indices in ([3], [0, 4], [1, 2, 3]):
        assert np.array_equal(decoder.decode(CHUNK, indices, SHAPE), whole[indices])


def test_only_the_frames_up_to_the_last_requested_one_are_decoded() -> None:
    # The last frames are cut out of the chunk; the first ones do not need them.
    parts = h264.samples(CHUNK)
    damaged = b"".join(bytes(part) for part in parts[:3]) + b"\0\0\0\5" + bytes([1, 0x80, 255, 255, 255])
    assert np.array_equal(decoder.decode(damaged, [2], SHAPE), decoder.decode(CHUNK, [2], SHAPE))
    assert [len(decoder.decode_frames(CHUNK, count)) for count in range(1, 6)] == [1, 2, 3, 4, 5]


def test_frames_beyond_the_end_are_black() -> None:
    decoded = decoder.decode(chunk_of(3), [2, 3, 4], SHAPE)
    assert decoded[0].any()
    assert not decoded[1:].any()
    assert len(decoder.decode_frames(chunk_of(2), 5)) == 2


@pytest.mark.parametrize("encoder", [SOFTWARE, LOSSLESS])
def test_frames_of_another_size_are_refused(encoder: str) -> None:
    with pytest.raises(ValueError, match="a frame of 64x48, expected 32x24"):
        decoder.decode(chunk_of(1, encoder), [0], (24, 32))


def test_jpeg_chunk_is_one_frame() -> None:
    jpeg = images.encode_jpeg(frames_of()[0])
    (frame,) = decoder.decode_frames(jpeg, 5)
    assert np.array_equal(decoder.to_rgb(frame), images.decode_jpeg(jpeg))
    assert decoder.nbytes(frame) == 48 * 64 * 3


def test_decoded_frames_take_half_the_memory_of_rgb() -> None:
    (packet,) = encode_frames(np.zeros((1, 480, 640, 3), np.uint8), gop=5, crf=20)
    (frame,) = decoder.decode_frames(h264.to_sample(packet.data), 1)
    assert 480 * 640 * 1.5 <= decoder.nbytes(frame) < 480 * 640 * 2


@given(st.binary(max_size=200) | st.integers(0, len(CHUNK)).map(lambda n: CHUNK[:n]))
def test_damaged_chunks_raise_only_value_errors_and_leave_the_decoder_usable(content: bytes) -> None:
    try:
        found = decoder.decode_frames(content, 5)
    except ValueError:
        found = []
    assert len(found) <= 5
    assert len(decoder.decode_frames(CHUNK, 5)) == 5
