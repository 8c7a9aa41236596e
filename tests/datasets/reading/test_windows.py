from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.reading.windows import WindowConfig, Windows, row_offsets
from waldo.errors import ConfigError, FileError, UnknownNameError

CAMERAS = ("cameras/front", "cameras/wrist")
ROWS = RowConfig(cameras=CAMERAS)
FRONT, WRIST = "observation.images.front", "observation.images.wrist"


@pytest.fixture
def dataset(record: Callable[..., Dataset], script: type) -> Dataset:
    return record(script(seed=0), script(seed=1, task="drop it"), script(seed=0, seconds=0.5))


def test_the_rows_of_all_episodes_are_concatenated(dataset: Dataset) -> None:
    windows = Windows(dataset, WindowConfig(rows=ROWS))
    tables = [make_rows(episode, ROWS) for episode in dataset.episodes]
    assert len(windows) == sum(len(rows.instants_ns) for rows in tables)
    assert windows.tasks == ("lift the red cube", "drop it")
    for span, rows, episode in zip(windows.spans, tables, dataset.episodes, strict=True):
        batch = windows.batch(range(span.first, span.stop))
        for key, column in rows.columns.items():
            np.testing.assert_array_equal(batch[key], column.values, key)
        for key, camera in windows.cameras.items():
            frames = episode.frames(camera, rows.frames[camera])
            np.testing.assert_array_equal(batch[key].transpose(0, 2, 3, 1), frames)
        assert set(batch["task"]) == {span.task}
        assert batch["frame_index"].tolist() == list(range(span.stop - span.first))


def test_a_window_is_clamped_to_its_episode(dataset: Dataset) -> None:
    deltas = {FRONT: [-1 / 30, 0.0], WRIST: [0.0], "action": [0.0, 1 / 30, 2 / 30], "observation.state": [0.0]}
    windows = Windows(dataset, WindowConfig(rows=ROWS, deltas=deltas))
    second = windows.spans[1]
    first, last = windows[second.first], windows[second.stop - 1]
    assert first[FRONT].shape == (2, 3, 48, 64)
    assert first[WRIST].shape == (3, 48, 64)
    assert first["observation.state"].shape == (1, 3)
    assert first[f"{FRONT}_is_pad"].tolist() == [True, False]
    assert last["action_is_pad"].tolist() == [False, True, True]
    np.testing.assert_array_equal(first[FRONT][0], first[FRONT][1])
    np.testing.assert_array_equal(last["action"][0], last["action"][2])
    inside = windows[second.first + 3]
    np.testing.assert_array_equal(inside[FRONT][0], windows[second.first + 2][FRONT][1])
    assert not inside[f"{FRONT}_is_pad"].any()


@pytest.mark.parametrize("threads", [1, 3])
def test_any_order_with_repeats_gives_the_same_images(dataset: Dataset, threads: int) -> None:
    plain = Windows(dataset, WindowConfig(rows=ROWS, threads=1))
    kept = Windows(dataset, WindowConfig(rows=ROWS, threads=threads, cache_bytes=40 * 4608))
    rows = np.random.default_rng(0).integers(0, len(plain), 60)
    for part in np.split(rows, 6):
        kept.prefetch(part)
        for key in (FRONT, WRIST):
            np.testing.assert_array_equal(kept.batch(part)[key], plain.batch(part)[key])
    kept.close()
    np.testing.assert_array_equal(kept.batch(rows[:3])[FRONT], plain.batch(rows[:3])[FRONT])
    kept.close()


def test_an_unpickled_copy_reads_the_same(dataset: Dataset) -> None:
    windows = Windows(dataset, WindowConfig(rows=ROWS, threads=2, cache_bytes=10**6))
    before = windows.batch([5, 40])
    copy = pickle.loads(pickle.dumps(windows))
    np.testing.assert_array_equal(copy.batch([5, 40])[WRIST], before[WRIST])
    windows.close()
    copy.close()


def test_images_can_have_another_size(dataset: Dataset) -> None:
    windows = Windows(dataset, WindowConfig(rows=ROWS, size=(24, 32)))
    small, whole = windows[7][FRONT], dataset.episodes[0].frames("cameras/front", [7])[0]
    assert small.shape == (3, 24, 32)
    means = whole.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(small - means).max() <= 1


def test_only_the_chosen_episodes_are_read(dataset: Dataset) -> None:
    windows = Windows(dataset, WindowConfig(rows=RowConfig(cameras=None)), indices=[2, 1])
    assert [span.index for span in windows.spans] == [2, 1]
    assert windows.tasks == ("lift the red cube", "drop it")
    assert set(windows[0]) >= {"observation.state", "action", "timestamp", "task"}
    with pytest.raises(ConfigError, match=r"^episode index is 7, expected one of the dataset's 3 episodes$"):
        Windows(dataset, WindowConfig(rows=ROWS), indices=[7])


def test_unfit_episodes_are_skipped_with_the_reason(record: Callable[..., Dataset], script: type) -> None:
    dataset = record(script(), script(without_rows=range(20, 50)))
    windows = Windows(dataset, WindowConfig(rows=ROWS))
    assert list(windows.skipped) == [1]
    assert "gap" in windows.skipped[1]
    with pytest.raises(FileError, match="no episode can be used for training \\(episode 1: "):
        Windows(dataset, WindowConfig(rows=ROWS), indices=[1])


def test_offsets_between_rows_and_unknown_keys_are_refused(dataset: Dataset) -> None:
    assert row_offsets([-2 / 30, 0, 1 / 30], 30, "action").tolist() == [-2, 0, 1]
    with pytest.raises(ConfigError, match=r"^offset of action is 0.05, expected multiples of 1/30 s$"):
        row_offsets([0, 0.05], 30, "action")
    with pytest.raises(ConfigError, match="expected multiples"):
        row_offsets([], 30, "action")
    with pytest.raises(UnknownNameError, match="unknown key 'actoin'; did you mean 'action'"):
        Windows(dataset, WindowConfig(rows=ROWS, deltas={"actoin": [0.0]}))


def test_a_damaged_chunk_is_named(dataset: Dataset) -> None:
    episode = dataset.episodes[0]
    path = episode.video_path("cameras/front")
    offset, size = (int(n) for n in episode.shard("cameras/front").index[1])
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    windows = Windows(dataset, WindowConfig(rows=ROWS))
    with pytest.raises(FileError, match=r"cameras/front: chunk 1 cannot be decoded .*; run waldo check"):
        windows.batch([6])
