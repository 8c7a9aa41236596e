import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.export_video import plan, row_packets
from waldo.datasets.mp4shard import rate_fraction
from waldo.datasets.video import split_samples, to_sample


def runs(segments):
    return [(segment.copy, segment.frames) for segment in segments]


def test_a_whole_recording_is_copied():
    assert runs(plan(range(13), 5, copy=True)) == [(True, tuple(range(13)))]


def test_a_repeated_frame_costs_the_rest_of_its_group():
    wanted = [0, 1, 2, 2, 3, 4, 5, 6]
    assert runs(plan(wanted, 5, copy=True)) == [(True, (0, 1, 2)), (False, (2, 3, 4)), (True, (5, 6))]


def test_a_start_inside_a_group_is_encoded_up_to_the_next():
    assert runs(plan(range(3, 9), 5, copy=True)) == [(False, (3, 4)), (True, (5, 6, 7, 8))]


def test_another_rate_is_encoded():
    assert runs(plan([0, 2, 4, 6], 5, copy=False)) == [(False, (0, 2, 4, 6))]


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 7), st.booleans())
def test_every_row_gets_its_frame_and_copies_begin_with_a_key_frame(wanted, gop, copy):
    segments = plan(wanted, gop, copy=copy)
    assert [frame for segment in segments for frame in segment.frames] == wanted
    for segment in segments:
        if segment.copy:
            assert copy
            assert segment.frames[0] % gop == 0
            assert segment.frames == tuple(range(segment.frames[0], segment.frames[-1] + 1))


@pytest.mark.parametrize("wanted", [range(30), [7, 8, 9, 10, 11], [0, 1, 2, 2, 4, 4, 5], [29, 0, 15], range(0, 30, 2)])
def test_a_packet_a_row_that_decodes_to_its_frame(episode, wanted):
    camera = "cameras/front"
    packets = list(row_packets(episode, camera, plan(wanted, 5, copy=True), rate_fraction(30)))
    assert len(packets) == len(wanted)
    decoded = decode_all(packets)
    expected = episode.frames(camera, wanted)
    # Copies are the frames themselves; what was encoded anew lost a little once more.
    assert np.abs(decoded.astype(int) - expected).mean(axis=(1, 2, 3)).max() < 6


def decode_all(packets):
    import av

    context = av.CodecContext.create("h264", "r")
    frames = [f for p in packets for f in context.decode(av.Packet(split_samples(to_sample(p.data))[0].data))]
    frames += context.decode(None)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
