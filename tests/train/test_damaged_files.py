"""Damaged files of datasets, policies and trainings give one line each, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from tests.damaged_files import check_parser, in_place_of
from waldo.train.policies.choice import choose_policy
from waldo.train.policies.contract import CONTRACT_FILE, DEFAULT_FPS, read_contract
from waldo.train.train_config import read_features
from waldo.train.training import last_checkpoint


def test_the_description_of_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    action = {"dtype": "float32", "shape": [2], "names": ["a", "b"]}
    valid = {"codebase_version": "v3.0", "features": {"action": action}}
    messages = check_parser(tmp_path, valid, in_place_of(folder / "meta" / "info.json", lambda: read_features(folder)))
    assert {"empty", "deep lists", "fifo", "directory", "endless"} <= messages.keys()
    assert {"('features',) = -1", "('features', 'action') = -1"} <= messages.keys()


def test_the_configuration_of_a_policy(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    work = in_place_of(folder / "config.json", lambda: choose_policy(str(folder), []))
    messages = check_parser(tmp_path, {"type": "act"}, work)
    assert {"empty", "deep lists", "fifo", "directory", "('type',) = -1", "('type',) removed"} <= messages.keys()


def test_the_contract_of_a_policy_has_defaults_for_what_is_unreadable(tmp_path: Path) -> None:
    rates: set[float] = set()
    work = in_place_of(tmp_path / CONTRACT_FILE, lambda: rates.add(read_contract(tmp_path).fps))
    valid = {"fps": 50, "joints": ["a"], "cameras": {"c": [4, 3]}, "instructions": ["lift"], "episodes": 2}
    assert check_parser(tmp_path, valid, work) == {}
    assert rates <= {DEFAULT_FPS, 50.0, 0.5, 1.0}


def test_the_step_of_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "last"
    (folder / "pretrained_model").mkdir(parents=True)
    (folder / "pretrained_model" / "model.safetensors").touch()
    found: list[object] = []
    work = in_place_of(
        folder / "training_state" / "training_step.json", lambda: found.append(last_checkpoint(tmp_path))
    )
    assert check_parser(tmp_path, {"step": 7}, work) == {}
    assert (folder / "pretrained_model", 7) in found
