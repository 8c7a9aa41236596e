import numpy as np
import pytest
import zarr

from waldo.datasets.video.codec import VideoCodec


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(2)
    base = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(base, 4 * k, axis=1) for k in range(13)])


@pytest.fixture(params=[False, True], ids=["chunks", "shards"])
def array(request, frames):
    made = zarr.create_array(
        {},
        shape=frames.shape,
        chunks=(5, 48, 64, 3),
        shards=(15, 48, 64, 3) if request.param else None,
        dtype="u1",
        filters=None,
        compressors=None,
        serializer=VideoCodec(crf=10),
    )
    made[...] = frames
    return made


def test_array_written_by_zarr_is_read_back(array, frames):
    assert np.abs(array[...].astype(int) - frames).mean() < 12


@pytest.mark.parametrize(
    "selection",
    [
        7,
        -1,
        slice(3, 8),
        slice(0, 13, 4),
        slice(5, 5),
        (slice(4, 6), slice(10, 20), slice(None, None, 3)),
        (12, 5),
        (slice(None), slice(None), slice(None), 1),
    ],
    ids=str,
)
def test_selection_equals_the_same_part_of_the_whole(array, selection):
    assert np.array_equal(array[selection], array[...][selection])


def test_lists_and_masks_select_frames(array):
    whole = array[...]
    assert np.array_equal(array.oindex[[1, 4, 9]], whole[[1, 4, 9]])
    mask = np.zeros(13, bool)
    mask[[0, 6, 12]] = True
    assert np.array_equal(array.oindex[mask], whole[mask])
    coordinates = ([3, 9], [1, 2], [3, 4], [0, 1])
    assert np.array_equal(array.vindex[coordinates], whole[coordinates])


def test_metadata_describes_the_codec(array):
    assert VideoCodec.from_dict(VideoCodec(crf=10).to_dict()) == VideoCodec(crf=10)
    assert VideoCodec(crf=10).to_dict() == {
        "name": "waldo.video",
        "configuration": {"codec": "h264", "crf": 10},
    }


def test_other_arrays_are_refused():
    with pytest.raises(ValueError, match=r"waldo.video encodes uint8 arrays of shape \(T, H, W, 3\)"):
        zarr.create_array({}, shape=(4, 4), chunks=(4, 4), dtype="f4", compressors=None, serializer=VideoCodec())
