from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.lerobot.clips import make_clip, plan
from waldo.datasets.lerobot.video_files import VideoFiles


def runs(segments):
    return [(segment.copy, segment.frames) for segment in segments]


def test_a_complete_recording_is_copied():
    assert runs(plan(range(13), 5, copy=True)) == [(True, tuple(range(13)))]


def test_a_repeated_frame_costs_the_rest_of_its_group():
    wanted = [0, 1, 2, 2, 3, 4, 5, 6]
    assert runs(plan(wanted, 5, copy=True)) == [(True, (0, 1, 2)), (False, (2, 3, 4)), (True, (5, 6))]


def test_a_start_inside_a_group_is_encoded_up_to_the_next():
    assert runs(plan(range(3, 9), 5, copy=True)) == [(False, (3, 4)), (True, (5, 6, 7, 8))]


def test_another_rate_is_encoded():
    assert runs(plan([0, 2, 4, 6], 5, copy=False)) == [(False, (0, 2, 4, 6))]


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 7), st.booleans())
def test_every_row_gets_its_frame_and_copies_start_with_a_key_frame(wanted, gop, copy):
    segments = plan(wanted, gop, copy=copy)
    assert [frame for segment in segments for frame in segment.frames] == wanted
    for segment in segments:
        if segment.copy:
            assert copy
            assert segment.frames[0] % gop == 0
            assert segment.frames == tuple(range(segment.frames[0], segment.frames[-1] + 1))


@pytest.mark.parametrize("wanted", [range(30), [7, 8, 9, 10, 11], [0, 1, 2, 2, 4, 4, 5], [29, 0, 15], range(0, 30, 2)])
def test_each_sample_decodes_to_the_frame_of_its_row(episode, wanted, tmp_path):
    camera = "cameras/front"
    clip = make_clip(episode, camera, np.array(wanted), Fraction(30), tmp_path / "spool.mp4")
    assert clip.rows == clip.copied + clip.encoded == len(wanted)
    files = VideoFiles(lambda number: tmp_path / f"{number}.mp4", Fraction(30), 1e9)
    assert [files.add(clip), files.add(clip)] == [(0, 0), (0, len(wanted))]
    files.write()
    with av.open(str(tmp_path / "0.mp4")) as file:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    expected = np.concatenate([episode.frames(camera, wanted)] * 2)
    # Copied frames are exact; encoded ones lost a little once more.
    assert np.abs(decoded.astype(int) - expected).mean(axis=(1, 2, 3)).max() < 6


def test_an_existing_spool_is_reused(episode, tmp_path):
    spool = tmp_path / "spool.mp4"
    wanted = np.array([1, 2, 3])
    before = make_clip(episode, "cameras/front", wanted, Fraction(30), spool)
    at = spool.stat().st_mtime_ns
    after = make_clip(episode, "cameras/front", wanted, Fraction(30), spool)
    assert (after.pieces, spool.stat().st_mtime_ns) == (before.pieces, at)
