"""Options of `waldo train`: rows and selection as in every other command, from the command line and from YAML."""

from pathlib import Path
from typing import Any

from waldo.cli.main import parse
from waldo.datasets.selection import Selection


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
