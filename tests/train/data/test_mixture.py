"""Several datasets as one: links to their episodes, and how often the rows of each occur."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from waldo.datasets.dataset import Dataset
from waldo.errors import FileError, InvalidValueError
from waldo.train.data.mixture import Share, make_mixture, parse_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [("data", ("data", 1)), ("data=3", ("data", 3)), ("a=b/data=2", ("a=b/data", 2))],
)
def test_a_share_is_a_folder_and_a_weight(text: str, expected: tuple[str, int]) -> None:
    assert parse_share(text) == Share(path=Path(expected[0]), weight=expected[1])


@pytest.mark.parametrize("text", ["data=0", "data=101", "data=1.5", "=2", "data=", "data=-1"])
def test_other_weights_are_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="DATASET=WEIGHT with a whole number from 1 to 100"):
        parse_share(text)


def test_a_mixture_has_all_episodes_in_order(record: Callable[..., Dataset], script: type, tmp_path: Path) -> None:
    first = record(script(task="lift"), script(seed=1, task="lift"), path=tmp_path / "first")
    second = record(script(seed=2, task="drop"), path=tmp_path / "second")
    shares = [Share(path=Path(first.path), weight=1), Share(path=Path(second.path), weight=4)]
    folder = tmp_path / "mixture"
    assert make_mixture(folder, shares) == ((0, 2, 1), (2, 3, 4))
    assert [episode.task for episode in Dataset.open(folder).episodes] == ["lift", "lift", "drop"]
    assert make_mixture(folder, shares[1:]) == ((0, 1, 4),)
    assert [episode.task for episode in Dataset.open(folder).episodes] == ["drop"]
    assert len(Dataset.open(second.path).episodes) == 1


def test_a_mixture_does_not_replace_its_own_source(record: Callable[..., Dataset], script: type) -> None:
    dataset = record(script())
    with pytest.raises(FileError, match="is both a dataset and the mixture"):
        make_mixture(Path(dataset.path), [Share(path=Path(dataset.path), weight=1)])
    assert len(Dataset.open(dataset.path).episodes) == 1
