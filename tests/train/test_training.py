"""Training runs: checkpoints, log, interruption, resumption and errors."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from waldo.cli.main import main
from waldo.cli.policies.train import train_with_bar
from waldo.errors import FileError
from waldo.train.train_config import TrainConfig
from waldo.train.training import TrainingError, child_environment, last_checkpoint, train

pytestmark = pytest.mark.usefixtures("preloaded_lerobot")


def test_a_resumed_training_has_checkpoints_a_log_and_one_loss(trained: Path) -> None:
    assert last_checkpoint(trained) == (trained / "checkpoints/last/pretrained_model", 6)
    assert sorted(p.name for p in (trained / "checkpoints").iterdir() if p.name.isdigit()) == ["000003", "000006"]
    assert (trained / "loss.png").stat().st_size > 1000
    assert "End of training" in (trained / "train.log").read_text()
    with (trained / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert all(float(row["loss"]) > 0 for row in rows)


def test_a_finished_training_is_not_started_again(lerobot_dataset: Path, trained: Path) -> None:
    result = train(TrainConfig(dataset=lerobot_dataset, output=trained, steps=6), resume=True)
    assert (result.checkpoint, result.step, result.finished) == (trained / "checkpoints/last/pretrained_model", 6, True)


def test_an_interruption_saves_the_current_step(
    lerobot_dataset: Path, tmp_path: Path, tiny_options: tuple[str, ...]
) -> None:
    """Interrupt the command like a terminal does, after LeRobot's own loop has started."""
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from waldo.train import training
parse, stepping = training._parse, []
def parse_and_report(line, run):
    parse(line, run)
    if run.step >= 3 and not stepping:
        stepping.append(True)
        sys.stdout.write("stepping\\n"); sys.stdout.flush()
training._parse = parse_and_report
from waldo.cli.main import main
sys.exit(main(["train", {str(lerobot_dataset)!r}, "--output", {str(tmp_path / "run")!r}, "--steps", "1000000",
               "--save-every", "1000000", "--threads", "1", "--", *{tiny_options!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "stepping\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130, error
    found = last_checkpoint(tmp_path / "run")
    assert found is not None
    assert found[1] >= 3
    assert f"stopped at step {found[1]} and saved a checkpoint; to continue, add --resume to the command" in error


def test_lerobot_s_output_is_shown_when_it_fails(
    lerobot_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    with pytest.raises(TrainingError) as caught:
        train_with_bar(TrainConfig(dataset=lerobot_dataset, output=output, steps=2, options=("--policy.dim_modle=8",)))
    log = tmp_path / "run.train.log"
    assert str(caught.value).startswith("lerobot-train exited with code ")
    assert str(caught.value).endswith(f"; see the log: {log}")
    assert "dim_modle" in log.read_text()
    assert "dim_modle" in capfd.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_training(
    lerobot_dataset: Path, tmp_path: Path, tiny_options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    words = ["train", str(lerobot_dataset), "--output", str(output), "--steps", "30", "--threads", "1"]
    assert main([*words, "--", *tiny_options, "--optimizer.lr=1e36"]) == 1
    assert "the loss is not a finite number after step" in capsys.readouterr().err
    assert last_checkpoint(output) is None


def test_an_output_folder_in_use_is_rejected(lerobot_dataset: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        train(TrainConfig(dataset=lerobot_dataset, output=trained))
    assert str(caught.value) == f"{trained}: already contains a training run; pass --resume or another --output"
    with pytest.raises(FileError) as caught:
        train(TrainConfig(dataset=lerobot_dataset, output=tmp_path / "new"), resume=True)
    assert str(caught.value) == f"{tmp_path / 'new'}: contains no checkpoint to resume from; train without --resume"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}", "--policy", "ackt"], "waldo: error: unknown policy 'ackt'; did you mean 'act'? (known: act, "),
        (["nowhere"], "waldo: error: nowhere: no such dataset folder; record one with: waldo record DATASET\n"),
        (["{data}", "--steps", "0"], "waldo: error: steps is 0, expected a whole number from 1\n"),
        (
            ["{data}", "--", "dim=3"],
            "waldo: error: option is 'dim=3', expected the form --key=value; "
            "options of lerobot-train follow a lone --\n",
        ),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(
    arguments: list[str], message: str, lerobot_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *(a.format(data=lerobot_dataset) for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_lerobot_is_offline_by_default() -> None:
    found = child_environment({}, 3)
    assert (found["HF_HUB_OFFLINE"], found["WANDB_MODE"], found["OMP_NUM_THREADS"]) == ("1", "disabled", "3")


def test_the_user_s_variables_take_precedence() -> None:
    mine = {"HF_HUB_OFFLINE": "0", "WANDB_MODE": "online", "OMP_WAIT_POLICY": "ACTIVE", "OTHER": "x"}
    found = child_environment({**mine, "OMP_NUM_THREADS": "8"}, 3)
    assert {key: found[key] for key in mine} == mine
    assert found["OMP_NUM_THREADS"] == "3", "--threads is an option of its own"


def test_weights_and_biases_is_enabled_by_its_option() -> None:
    assert "WANDB_MODE" not in child_environment({}, 3, ("--wandb.enable=true",))
