"""Items in memory are equal to those that LeRobot reads."""

from pathlib import Path

import torch


def load(root: Path, episodes: list[int] | None = None):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    deltas = {"action": [i / 30 for i in range(8)], "observation.state": [-1 / 30, 0.0]}
    return LeRobotDataset("local/lift", root=root, episodes=episodes, delta_timestamps=deltas)


def assert_same_items(root: Path, episodes: list[int] | None) -> None:
    from waldo.train.data.in_memory_dataset import load_into_memory

    slow, fast = load(root, episodes), load_into_memory(load(root, episodes))
    assert len(slow) == len(fast)
    indices = [0, 1, 35, 38, 39, 40, 41, len(slow) - 2, len(slow) - 1]
    for index, held in zip(indices, fast.__getitems__(indices), strict=True):
        read = slow[index]
        assert set(read) == set(held)
        for key, value in read.items():
            if isinstance(value, torch.Tensor):
                assert held[key].dtype == value.dtype, key
                assert torch.equal(held[key], value), (key, index)
            else:
                assert held[key] == value


def test_items_are_equal_to_lerobot_s(lerobot_dataset: Path) -> None:
    assert_same_items(lerobot_dataset, None)


def test_items_are_equal_for_a_subset_of_episodes(lerobot_dataset: Path) -> None:
    assert_same_items(lerobot_dataset, [0, 2])


def test_a_constant_value_is_not_divided_by_zero() -> None:
    from waldo.train.data.in_memory_dataset import MIN_STD, raise_std

    stats = {
        key: {"std": torch.tensor([0.0, 2.0])}
        for key in ("action", "observation.state", "observation.images.front", "x")
    }
    raise_std(stats)
    assert [values["std"][0].item() for values in stats.values()] == [torch.tensor(MIN_STD).item()] * 2 + [0.0, 0.0]
    assert all(values["std"][1].item() == 2.0 for values in stats.values())
