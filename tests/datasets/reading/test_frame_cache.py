import shutil

import numpy as np
import pytest

from waldo.cli import main
from waldo.datasets.reading.cache_build import build_cache
from waldo.datasets.reading.cache_check import check_cache
from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.errors import ConfigError, FileError

CAMERAS = ("cameras/front", "cameras/wrist")
DELTAS = {"observation.images.front": [-1 / 30, 0.0]}


@pytest.fixture
def dataset(record, script):
    return record(script(seconds=0.5), script(seconds=0.7, seed=1))


def openers(dataset):
    return [lambda index=index: dataset.episode(index) for index in dataset.indices]


def build(dataset, path, **config):
    return build_cache(FrameCache.create(path, CacheConfig(**config)), openers(dataset))


def check(dataset, path):
    return list(check_cache(FrameCache.open(path), openers(dataset), lambda done, total: None))


def windows(dataset, cache=None, size=None):
    rows = RowConfig(cameras=CAMERAS)
    return Windows(dataset, WindowConfig(rows=rows, deltas=DELTAS, frame_cache=cache, size=size))


@pytest.mark.parametrize("size", [None, (24, 32)])
def test_windows_from_the_cache_equal_those_from_the_recording(dataset, tmp_path, size):
    height, width = size or (None, None)
    result = build(dataset, tmp_path / "cache", height=height, width=width)
    pixels = (size or (48, 64))[0] * (size or (48, 64))[1]
    assert (result.built, result.kept, result.nbytes) == (2, 0, 36 * 2 * 3 * pixels)
    assert check(dataset, tmp_path / "cache") == []
    rows = [0, 3, 14, 15, 16, 35]
    archive, cached = (windows(dataset, cache, size) for cache in (None, tmp_path / "cache"))
    expected, found = archive.batch(rows), cached.batch(rows)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(value, found[key], err_msg=key)
    assert found["observation.images.front"].shape == (6, 2, 3, *(size or (48, 64)))


def test_frames_are_plain_numpy_files(dataset, tmp_path):
    build(dataset, tmp_path / "cache", cameras=("cameras/front",))
    frames = np.load(tmp_path / "cache" / "episode_000001" / "cameras" / "front.npy", mmap_mode="r")
    assert np.array_equal(frames.transpose(0, 2, 3, 1), dataset.episodes[1].frames("cameras/front"))
    with pytest.raises(
        FileError, match=r"does not contain cameras/wrist \(cameras: cameras/front\); build a cache with this camera"
    ):
        windows(dataset, tmp_path / "cache")


def test_only_missing_episodes_are_built(dataset, record, script, tmp_path):
    path = tmp_path / "cache"
    build(dataset, path)
    record(script(seconds=0.3))
    with pytest.raises(FileError, match=r"lacks 1 episode of the dataset \(2\); run waldo cache again"):
        windows(dataset, path)
    (path / "episode_000000" / "episode.json").unlink()  # like a build that was killed here
    result = build(dataset, path)
    assert (result.built, result.kept, result.removed) == (2, 1, 0)
    dataset.delete([1])
    result = build(dataset, path)
    assert (result.built, result.kept, result.removed) == (0, 2, 1)
    assert check(dataset, path) == []


def test_damage_and_unknown_episodes_are_found(dataset, tmp_path):
    path = tmp_path / "cache"
    build(dataset, path)
    file = path / "episode_000001" / "cameras" / "wrist.npy"
    data = bytearray(file.read_bytes())
    data[128 + 5 * 48 * 64 * 3 + 7] ^= 1
    file.write_bytes(data)
    shutil.copytree(path / "episode_000000", path / "episode_000007")
    (path / "episode_000000" / "cameras" / "front.npy").unlink()
    found = [(fault.index, fault.camera, fault.found) for fault in check(dataset, path)]
    assert found[0][:2] == (0, "cameras/front")
    assert found[0][2].startswith("cannot be read")
    assert found[1:] == [
        (1, "cameras/wrist", "wrong checksum in 1 frame, first in frame 5"),
        (7, "", "is in the cache but not in the dataset"),
    ]


def test_a_cache_of_another_dataset_is_refused(dataset, record, script, tmp_path):
    build(dataset, tmp_path / "cache")
    other = record(script(seconds=0.5, seed=5), script(seconds=0.7, seed=6), path=tmp_path / "other")
    with pytest.raises(FileError, match="is out of date for 2 episodes"):
        windows(other, tmp_path / "cache")
    with pytest.raises(
        FileError,
        match=r"was built with CacheConfig\(height=None.* but CacheConfig\(height=24.*; choose another folder",
    ):
        build(dataset, tmp_path / "cache", height=24)
    with pytest.raises(FileError, match="already exists; choose another folder"):
        build(dataset, dataset.path)
    with pytest.raises(FileError, match="is not a frame cache"):
        windows(dataset, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="height of a cache is 0, expected 1 to 8192 pixels"):
        CacheConfig(height=0)


def test_the_command(dataset, tmp_path, capsys):
    words = ["cache", str(dataset.path), str(tmp_path / "c"), "--height", "24"]
    assert main.main(words) == 0
    assert main.main([*words, "--check"]) == 0
    (tmp_path / "c" / "episode_000000" / "episode.json").unlink()
    assert main.main([*words, "--check"]) == 1
    assert "0 faults in the cache of 2 episodes" in capsys.readouterr().out
