"""Options of `waldo train`: rows and selection as in every other command, from the command line and from YAML."""

from pathlib import Path
from typing import Any

import pytest

from waldo.cli.main import parse
from waldo.datasets.selection import Selection
from waldo.errors import ConflictingOptionsError, UnsupportedOptionError


def test_rows_and_selection_are_the_options_of_every_other_command() -> None:
    words = ["my-data", "--fps", "10", "--cameras", "front", "--outcome", "success", "failure", "--max-lost", "3"]
    command: Any = parse("train", [*words, "--memory-mb", "64", "--", "--batch_size=8"])
    assert (command.rows.fps, command.rows.cameras, command.memory_mb) == (10, ("front",), 64)
    assert command.selection == Selection(outcome=("success", "failure"), max_lost=3)
    assert command.options == ("--batch_size=8",)


def test_successful_episodes_are_the_default() -> None:
    command: Any = parse("train", ["my-data"])
    assert command.selection == Selection(outcome=("success",))


def test_a_config_file_has_the_same_groups(tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("dataset: my-data\nrows: {fps: 15}\nselection: {outcome: [failure]}\nsteps: 10\n")
    command: Any = parse("train", ["--config", str(config), "--steps", "20"])
    assert (command.dataset, command.rows.fps, command.steps) == ("my-data", 15, 20)
    assert command.selection.outcome == ("failure",)


def test_two_policies_are_refused() -> None:
    command: Any = parse("train", ["my-data", "--from", "smolvla_base", "--policy", "diffusion"])
    with pytest.raises(ConflictingOptionsError, match="--from and --policy cannot be combined"):
        command.run()


@pytest.mark.parametrize("launch", ["slurm:2x8", "ray:4"])
def test_a_training_that_a_cluster_runs_is_not_resumed_here(launch: str, lerobot_dataset: Path, tmp_path: Path) -> None:
    words = [str(lerobot_dataset), "--output", str(tmp_path / "run"), "--launch", launch, "--resume"]
    with pytest.raises(UnsupportedOptionError, match=f"--resume is not supported with --launch {launch}"):
        parse("train", words).run()  # type: ignore[attr-defined]
    assert list(tmp_path.glob("run*")) == []
