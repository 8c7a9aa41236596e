"""`waldo record`: wrong options are refused before anything is created or the robot is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from waldo.cli.record import Record
from waldo.datasets.compatibility import IncompatibleError
from waldo.datasets.dataset import Dataset
from waldo.errors import ConflictingOptionsError, FileError, UnknownNameError


def test_a_wrong_plan_or_rule_leaves_no_folder(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("gap_period: 4\n")
    with pytest.raises(FileError, match="cannot be read"):
        Record(dataset=tmp_path / "set", plan=tmp_path / "none.yaml").run()
    with pytest.raises(UnknownNameError, match="did you mean 'gap_periods'"):
        Record(dataset=tmp_path / "set", rules=rules).run()
    assert not (tmp_path / "set").exists()


def test_the_arenas_are_limited_before_there_are_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr("waldo.process.limit_arenas", lambda: called.append("limit_arenas"))
    with pytest.raises(UnknownNameError):
        Record(dataset=tmp_path / "set", robot="none").run()
    assert called


def test_a_dataset_of_another_robot_is_refused_at_once(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "set", robot="g1")
    with pytest.raises(IncompatibleError, match="robot: g1 in the dataset, so101 here"):
        Record(dataset=tmp_path / "set", robot="so101").run()


def test_the_instructions_are_those_of_the_plan_or_of_the_options(tmp_path: Path) -> None:
    with pytest.raises(ConflictingOptionsError, match=r"--task.*--plan"):
        Record(dataset=tmp_path / "set", plan=tmp_path / "plan.yaml", task=("lift the cube",)).run()
