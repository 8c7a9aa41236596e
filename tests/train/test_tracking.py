"""The curves of a training in TensorBoard and Trackio: every logged step once, also after a resumption."""

import csv
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trackio.sqlite_storage import SQLiteStorage

from waldo.cli.main import main
from waldo.train.checkpoint_evaluation import CheckpointEvaluation, read_evaluations
from waldo.train.tracking import FOLDER, TensorBoardLogger, Tracker, TrackioLogger
from waldo.train.train_config import TrainConfig, plan_training
from waldo.train.training import entry_arguments, train

pytestmark = pytest.mark.usefixtures("preloaded_lerobot")


def run(
    dataset: Path, output: Path, options: tuple[str, ...], track: Tracker, *, evaluation: bool = False
) -> dict[int, float]:
    """Train 3 steps and then 3 more; return step -> loss as in loss.csv."""
    for steps in (3, 6):
        config = TrainConfig(
            dataset=dataset,
            output=output,
            steps=steps,
            save_every=3,
            threads=1,
            track=track,
            evaluation=CheckpointEvaluation(task="lift", episodes=1) if evaluation else None,
            options=options,
        )
        train(config, resume=steps > 3)
    with (output / "loss.csv").open() as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}


def curves(output: Path) -> dict[str, dict[int, list[float]]]:
    """Return tag -> step -> values, as TensorBoard shows them."""
    events = EventAccumulator(str(output / FOLDER))
    events.Reload()
    found: dict[str, dict[int, list[float]]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.setdefault(tag, {}).setdefault(event.step, []).append(event.value)
    return found


def test_tensorboard_shows_the_losses_and_the_evaluations(
    lerobot_dataset: Path, tmp_path: Path, tiny_options: tuple[str, ...]
) -> None:
    losses = run(lerobot_dataset, tmp_path / "run", tiny_options, "tensorboard", evaluation=True)
    found = curves(tmp_path / "run")
    assert list(losses) == [1, 2, 3, 4, 5, 6]
    assert set(found["train/loss"]) == set(losses)
    for step, values in found["train/loss"].items():
        assert values == [pytest.approx(losses[step], abs=0.0006)], "loss.csv has three digits"
    assert {"train/lr", "train/grad_norm", "eval/success", "eval/max_winding_c"} <= set(found)
    evaluated = {row[0]: row[5] for row in read_evaluations(tmp_path / "run")}
    assert {step: values[0] for step, values in found["eval/max_winding_c"].items()} == pytest.approx(evaluated)


def test_events_after_the_checkpoint_of_a_resumed_training_are_replaced(tmp_path: Path) -> None:
    def logger(**more: Any) -> TensorBoardLogger:
        return TensorBoardLogger(SimpleNamespace(output_dir=tmp_path, **more))

    first = logger(resume=False, checkpoint_path=None)
    for step in (1, 2, 3, 4):
        first.log_dict({"loss": float(step), "name": "text", "done": True}, step)
    checkpoint = tmp_path / "checkpoints/000002"
    checkpoint.mkdir(parents=True)
    (checkpoint.parent / "last").symlink_to("000002")
    again = logger(resume=True, checkpoint_path=checkpoint.parent / "last")
    again.log_dict({"loss": 30.0}, 3)
    assert curves(tmp_path) == {"train/loss": {1: [1.0], 2: [2.0], 3: [30.0]}}


def test_trackio_shows_the_losses(
    lerobot_dataset: Path, tmp_path: Path, tiny_options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("TRACKIO_PROJECT", "arms")
    losses = run(lerobot_dataset, tmp_path / "lift-act", tiny_options, "trackio")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    assert SQLiteStorage.get_runs("arms") == ["lift-act"]
    logs = SQLiteStorage.get_logs("arms", "lift-act")
    assert {log["step"]: log["train/loss"] for log in logs} == pytest.approx(losses, abs=0.0006)
    assert len(logs) == len(losses)


def test_no_other_logger_is_used_without_the_option(lerobot_dataset: Path, trained: Path) -> None:
    assert not (trained / FOLDER).exists()
    plan = plan_training(TrainConfig(dataset=lerobot_dataset, output=trained))
    assert "--wandb.enable=false" in plan.arguments


def test_weights_and_biases_is_lerobot_s_own_logger(lerobot_dataset: Path, tmp_path: Path) -> None:
    config = TrainConfig(dataset=lerobot_dataset, output=tmp_path / "run", track="wandb")
    plan = plan_training(config)
    words = entry_arguments(config, plan, plan.arguments)
    assert "--wandb.enable=true" in words
    assert not [word for word in words if word.startswith("--waldo-track")]


@pytest.mark.parametrize("track", ["tensorboard", "trackio"])
def test_a_missing_package_is_named_before_anything_starts(
    lerobot_dataset: Path,
    tmp_path: Path,
    track: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == track else find(name))
    assert main(["train", str(lerobot_dataset), "--output", str(tmp_path / "run"), "--track", track]) == 2
    expected = f"the package '{track}' is not installed; install it with: uv sync --inexact --extra tracking"
    assert capsys.readouterr().err == f"waldo: error: {expected}\n"
    assert not (tmp_path / "run").exists()


def test_trackio_s_run_is_named_after_the_folder_and_continued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[dict[str, Any]] = []
    monkeypatch.setattr("trackio.init", lambda **options: begun.append(options))
    (tmp_path / "000003").mkdir()
    for resume, path in ((False, None), (True, tmp_path / "000003")):
        config = SimpleNamespace(output_dir="runs/lift-act", resume=resume, checkpoint_path=path, to_dict=dict)
        TrackioLogger(config)
    assert [(one["project"], one["name"], one["resume"]) for one in begun] == [
        ("waldo", "lift-act", "never"),
        ("waldo", "lift-act", "allow"),
    ]
