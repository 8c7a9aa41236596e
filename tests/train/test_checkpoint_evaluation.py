"""Evaluation of each checkpoint during a training: a table, a link to the best one, and no effect on the training."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from waldo.train import checkpoint_evaluation
from waldo.train.checkpoint_evaluation import CheckpointEvaluation, read_evaluations
from waldo.train.policies.checkpoint import find_checkpoint
from waldo.train.policies.model_card import Evaluation


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a training folder with the checkpoints 2, 4 and 6."""
    for step in (2, 4, 6):
        folder = tmp_path / "run" / "checkpoints" / f"{step:06d}"
        shutil.copytree(find_checkpoint(trained), folder / "pretrained_model")
    return tmp_path / "run"


def test_a_checkpoint_is_evaluated_without_effect_on_the_random_numbers(run: Path) -> None:
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(5)
    threads = torch.get_num_threads()
    expected = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    CheckpointEvaluation(task="lift", episodes=2).run(run / "checkpoints" / "000002")
    assert torch.equal(torch.get_rng_state(), expected[0])
    np.testing.assert_array_equal(np.random.get_state()[1], expected[1])  # noqa: NPY002
    assert random.getstate() == expected[2]
    assert torch.get_num_threads() == threads
    ((step, successes, episodes, low, high, winding),) = read_evaluations(run)
    assert (step, episodes) == (2, 2)
    assert 0 <= successes <= 2
    assert 0 <= low <= successes / 2 <= high <= 1
    assert 20 < winding < 100
    assert (run / "checkpoints" / "best").resolve().name == "000002"
    card = (run / "checkpoints" / "000002" / "pretrained_model" / "README.md").read_text()
    assert f"| lift | {successes} of 2 |" in card


def test_the_best_checkpoint_is_linked_and_a_resumed_run_replaces_its_rows(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    results = iter([3, 7, 7, 9])

    def fake(_result: object) -> Evaluation:
        return Evaluation(
            task="lift", episodes=10, first_seed=0, successes=next(results), low=0, high=1, max_winding_c=40, joint="a"
        )

    monkeypatch.setattr(checkpoint_evaluation, "evaluation_of", fake)
    monkeypatch.setattr("waldo.sim.evaluation.evaluate.evaluate", lambda *_: None)
    evaluation = CheckpointEvaluation(task="lift", episodes=10)
    for step in (2, 4, 6):
        evaluation.run(run / "checkpoints" / f"{step:06d}")
    assert [row[:3] for row in read_evaluations(run)] == [(2, 3, 10), (4, 7, 10), (6, 7, 10)]
    assert (run / "checkpoints" / "best").readlink() == Path("000004")
    assert "evaluation of step 6: 7 of 10 succeeded\n" in capfd.readouterr().out
    evaluation.run(run / "checkpoints" / "000004")
    assert [row[:2] for row in read_evaluations(run)] == [(2, 3), (4, 9)]
    assert find_checkpoint(run / "checkpoints" / "best").name == "pretrained_model"


def test_no_evaluation_is_no_table(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == []
