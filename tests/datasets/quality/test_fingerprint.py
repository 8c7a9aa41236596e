"""The fingerprint of a dataset changes when its episodes change, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from waldo.cli.main import main
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.fingerprint import fingerprint
from waldo.errors import WaldoError


def test_it_depends_on_the_episodes_alone(record: Callable[..., Dataset], script: type, tmp_path: Path) -> None:
    first = record(script(), script(seed=1), path=tmp_path / "first")
    found = fingerprint(first.path)
    assert len(found) == 64
    shutil.copytree(first.path, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == found
    other = record(script(), script(seed=2), path=tmp_path / "other")
    assert fingerprint(other.path) != found


@pytest.mark.parametrize(
    "edit", [["delete", "--episodes", "1"], ["relabel", "--episodes", "0", "--new-task", "push the cube"]]
)
def test_an_edit_changes_it(record: Callable[..., Dataset], script: type, edit: list[str]) -> None:
    dataset = record(script(), script(seed=1))
    before = fingerprint(dataset.path)
    assert main([edit[0], str(dataset.path), *edit[1:]]) == 0
    assert fingerprint(dataset.path) != before


def test_a_lerobot_dataset_has_one_too(record: Callable[..., Dataset], script: type, tmp_path: Path) -> None:
    dataset = record(script())
    assert main(["export", str(dataset.path), str(tmp_path / "exported")]) == 0
    before = fingerprint(tmp_path / "exported")
    assert before != fingerprint(dataset.path)
    (tmp_path / "exported" / "meta" / "info.json").write_text("{}")
    assert fingerprint(tmp_path / "exported") != before


def test_another_folder_has_none(tmp_path: Path) -> None:
    with pytest.raises(WaldoError):
        fingerprint(tmp_path)
