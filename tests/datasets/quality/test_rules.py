"""The rules of quality, and the file that holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from waldo.cli.support.rules import load_rules
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.rules import FILE, Rules
from waldo.errors import FileError, InvalidValueError, UnknownNameError


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_limit_must_be_a_number_that_a_recording_can_meet(value: float) -> None:
    with pytest.raises(InvalidValueError, match="lag_s"):
        Rules(lag_s=value)


def test_an_unknown_kind_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'frozen'"):
        Rules(block=("frosen",))


def test_the_file_of_the_dataset_is_used_unless_another_one_is_named(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "set", robot="tiny")
    assert load_rules(None, dataset) == Rules()
    (tmp_path / "set" / FILE).write_text("lag_s: 0.2\nblock: [frozen, dark]\n")
    assert load_rules(None, dataset) == Rules(lag_s=0.2, block=("frozen", "dark"))
    other = tmp_path / "strict.yaml"
    other.write_text("gap_periods: 4\n")
    assert load_rules(other, dataset) == Rules(gap_periods=4.0)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lag: 0.2\n", UnknownNameError, r"key in .*rules.yaml line 1"),
        ("lag_s: soon\n", InvalidValueError, "lag_s in .*rules.yaml line 1"),
        ("[1, 2]\n", FileError, "contains a list, expected a mapping"),
        ("block: [frosen]\n", UnknownNameError, "did you mean 'frozen'"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    dataset = Dataset.create(tmp_path / "set", robot="tiny")
    (tmp_path / "set" / FILE).write_text(text)
    with pytest.raises(error, match=message):
        load_rules(None, dataset)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none.yaml: cannot be read"):
        load_rules(tmp_path / "none.yaml", Dataset.create(tmp_path / "set", robot="tiny"))
