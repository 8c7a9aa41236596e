"""The model card of a checkpoint: data, parents, settings, evaluations, heat, license."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from waldo.train.policies.contract import Contract, write_contract
from waldo.train.policies.model_card import Evaluation, add_evaluation, write_card

CONTRACT = Contract(
    fps=30.0,
    joints=("pan", "lift"),
    state=("pan", "lift"),
    unit="rad",
    cameras={"observation.images.front": (128, 96)},
    instructions=("lift the cube",),
    dataset="pick",
    episodes=250,
    rows=38_000,
)
RESULT = Evaluation(
    task="pick", episodes=100, first_seed=100_000, successes=96, low=0.902, high=0.984, max_winding_c=41.2, joint="lift"
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "pick-vla" / "checkpoints" / "003000" / "pretrained_model"
    folder.mkdir(parents=True)
    (folder.parent / "training_state").mkdir()
    (folder.parent / "training_state" / "training_step.json").write_text('{"step": 3000}')
    (folder / "config.json").write_text(json.dumps({"type": "keypoint_vla", "pretrained_path": "someone/base"}))
    training = {"steps": 3000, "batch_size": 64, "seed": 1000, "policy": {"chunk_size": 30, "optimizer_lr": 0.001}}
    (folder / "train_config.json").write_text(json.dumps(training))
    write_contract(folder, CONTRACT)
    return folder


def card(folder: Path) -> tuple[dict[str, object], str]:
    """Return the front matter and the text of a card."""
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_card_states_data_parent_settings_and_license(checkpoint: Path) -> None:
    write_card(checkpoint, license="apache-2.0")
    front, text = card(checkpoint)
    assert front == {
        "library_name": "lerobot",
        "license": "apache-2.0",
        "pipeline_tag": "robotics",
        "tags": ["LeRobot", "waldo", "robotics", "keypoint_vla"],
        "base_model": "someone/base",
    }
    for expected in (
        "# pick-vla 003000",
        "step 3000",
        "| dataset | pick: 250 episodes, 38000 rows at 30 Hz |",
        "| parent | someone/base |",
        'Instructions: "lift the cube".',
        "Actions: pan, lift [rad].",
        "- `observation.images.front`, 128x96",
        "- `batch_size`: 64",
        "- `policy.chunk_size`: 30",
        "Not evaluated yet",
    ):
        assert expected in text


def test_an_evaluation_is_added_with_its_interval_and_heat(checkpoint: Path) -> None:
    write_card(checkpoint, license="apache-2.0")
    add_evaluation(checkpoint, RESULT)
    front, text = card(checkpoint)
    assert "| pick | 96 of 100 | 90 to 98 % | 41 °C (lift) | from 100000 |" in text
    assert "Not evaluated yet" not in text
    assert front["license"] == "apache-2.0"


def test_an_evaluation_of_the_same_seeds_is_replaced(checkpoint: Path) -> None:
    add_evaluation(checkpoint, RESULT)
    add_evaluation(checkpoint, Evaluation(**{**vars_of(RESULT), "successes": 50}))
    add_evaluation(checkpoint, Evaluation(**{**vars_of(RESULT), "task": "sort"}))
    _, text = card(checkpoint)
    assert "| pick | 50 of 100 |" in text
    assert "| pick | 96 of 100 |" not in text
    assert "| sort | 96 of 100 |" in text


def vars_of(evaluation: Evaluation) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(evaluation)


def test_a_folder_with_little_or_damaged_content_has_a_card(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[")
    (tmp_path / "evaluations.json").write_text('{"a": 1}')
    write_card(tmp_path)
    front, text = card(tmp_path)
    assert front["license"] == "other"
    assert "| dataset | not stated: 0 episodes, 0 rows at 30 Hz |" in text
    assert "none: trained from scratch" in text
