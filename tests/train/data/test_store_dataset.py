"""Items of the store are equal to those of LeRobot over an export."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from waldo.datasets.dataset import Dataset
from waldo.datasets.reading.rows import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.errors import InvalidValueError
from waldo.train.data.store_dataset import StoreDataset

CAMERAS = ("cameras/front", "cameras/wrist")
FRONT, WRIST = "observation.images.front", "observation.images.wrist"
DELTAS = {
    FRONT: [-1 / 30, 0.0],
    WRIST: [0.0],
    "observation.state": [-1 / 30, 0.0],
    "action": [i / 30 for i in range(8)],
}


def windows(store: Path, deltas: dict[str, list[float]] | None = None, **options: Any) -> Windows:
    return Windows(Dataset.open(store), WindowConfig(rows=RowConfig(cameras=CAMERAS), deltas=deltas or {}, **options))


def lerobot(exported: Path, deltas: dict[str, list[float]] | None = None, **options: Any):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/x", root=exported, delta_timestamps=deltas, return_uint8=True, **options)


def assert_same_item(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        if not isinstance(value, torch.Tensor):
            assert ours[key] == value, key
            continue
        assert (ours[key].dtype, ours[key].shape) == (value.dtype, value.shape), key
        if ".images." in key and value.dtype == torch.uint8:
            # LeRobot's decoder and the store's round YUV to RGB differently, by up to 3 for saturated colors.
            assert (ours[key].int() - value.int()).abs().max() <= 3, key
        else:
            assert torch.equal(ours[key].nan_to_num(nan=-99.0), value.nan_to_num(nan=-99.0)), key


@pytest.mark.parametrize("deltas", [None, DELTAS], ids=["rows", "windows"])
@pytest.mark.parametrize("episodes", [None, [0, 2]], ids=["all", "some"])
def test_items_are_equal_to_lerobot_s_over_an_export(
    store: Path, exported: Path, deltas: dict[str, list[float]] | None, episodes: list[int] | None
) -> None:
    theirs = lerobot(exported, deltas, episodes=episodes)
    ours = StoreDataset(windows(store, deltas), episodes=episodes)
    assert len(ours) == len(theirs)
    indices = sorted({0, 1, 7, 29, 30, 31, len(ours) - 2, len(ours) - 1})
    for index, item in zip(indices, ours.__getitems__(indices), strict=True):
        assert_same_item(item, theirs[index])
    assert ours.num_episodes == theirs.num_episodes
    assert ours.absolute_to_relative_idx == theirs.absolute_to_relative_idx


def test_images_are_the_store_s_frames(store: Path) -> None:
    dataset = StoreDataset(windows(store))
    for span, episode in zip(dataset.windows.spans, Dataset.open(store).episodes, strict=True):
        rows = list(range(span.first, span.stop))
        for key, camera in dataset.windows.cameras.items():
            frames = episode.frames(camera, dataset.windows.frames[key][rows])
            np.testing.assert_array_equal(dataset.batch(rows)[key].numpy().transpose(0, 2, 3, 1), frames)


def test_the_metadata_is_equal_to_that_of_an_export(store: Path, exported: Path) -> None:
    from waldo.train.data.store_meta import store_metadata

    ours, theirs = store_metadata(windows(store)), lerobot(exported).meta
    assert type(ours) is type(theirs)
    for name in ("fps", "robot_type", "camera_keys", "video_keys", "shapes", "names", "total_episodes", "total_frames"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.tasks.to_dict() == theirs.tasks.to_dict()
    for column in ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"):
        assert ours.episodes[column] == theirs.episodes[column], column
    assert set(ours.stats) == set(theirs.stats)
    for key, stats in theirs.stats.items():
        assert set(ours.stats[key]) == set(stats)
        for name, value in stats.items():
            np.testing.assert_allclose(ours.stats[key][name], value, rtol=1e-6, atol=1e-9, err_msg=f"{key} {name}")


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_return_the_batches_of_one_process(store: Path, context: str) -> None:
    from waldo.train.data.store_meta import store_metadata

    dataset = StoreDataset(windows(store, DELTAS, cache_bytes=10**6), store_metadata(windows(store)))
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()[:32]
    dataset[0]  # creates a decoder and a thread pool before the fork

    def batches(workers: int) -> list[dict[str, Any]]:
        method = context if workers else None
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=8, sampler=order, num_workers=workers, multiprocessing_context=method
        )
        return list(loader)

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == 4
    for a, b in zip(alone, shared, strict=True):
        assert set(a) == set(b)
        for key, value in a.items():
            same = torch.equal(value.nan_to_num(), b[key].nan_to_num()) if torch.is_tensor(value) else value == b[key]
            assert same, key
    dataset.windows.close()


def test_a_batch_is_collated_without_a_copy_and_equal_to_torch_s(store: Path) -> None:
    from torch.utils.data import default_collate

    dataset = StoreDataset(windows(store, DELTAS))
    items = dataset.__getitems__([3, 50, 3])
    whole = default_collate(items)
    assert whole[FRONT].data_ptr() == items[0][FRONT].data_ptr()
    mixed = default_collate([items[1], items[0]])
    copied = default_collate([dict(items[1]), dict(items[0])])
    assert set(whole) == set(mixed) == set(copied)
    for key, value in copied.items():
        if torch.is_tensor(value):
            assert torch.equal(mixed[key].nan_to_num(), value.nan_to_num()), key
            assert (whole[key].dtype, whole[key].shape[1:]) == (value.dtype, value.shape[1:]), key
        else:
            assert mixed[key] == value
    assert type(pickle.loads(pickle.dumps(items[0]))) is dict


def test_transforms_and_floats_are_equal_to_lerobot_s(store: Path, exported: Path) -> None:
    def flip(image: torch.Tensor) -> torch.Tensor:
        return image.flip(-1)

    ours = StoreDataset(windows(store, DELTAS), image_transforms=flip)[9]
    theirs = lerobot(exported, DELTAS, image_transforms=flip)[9]
    assert_same_item(ours, theirs)
    floats = StoreDataset(windows(store), return_uint8=False)[9][FRONT]
    assert floats.dtype == torch.float32
    assert 0.2 < floats.max() <= 1.0


def test_an_episode_or_item_out_of_range_is_rejected(store: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"^episode is 9, expected 0 to 2$"):
        StoreDataset(windows(store), episodes=[9])
    dataset = StoreDataset(windows(store))
    with pytest.raises(IndexError, match="of 75"):
        dataset[75]
    assert dataset[-1]["index"] == 74
