"""`waldo eval`: gates, reports, instructions and messages."""

import json
from pathlib import Path

import pytest

from waldo.cli.main import main


def test_the_expert_is_evaluated_with_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "eval",
        "expert",
        "--episodes",
        "4",
        "--threads",
        "1",
        "--output",
        str(tmp_path / "report"),
        "--videos",
        "0",
    ]
    assert main([*arguments, "--fail-under", "success=0.5"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("expert on lift: ")
    assert f"report: {tmp_path / 'report' / 'report.html'}\n" in output
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert (report["seeds"], report["policy"]) == ([100_000, 100_001, 100_002, 100_003], "expert")
    assert main([*arguments, "--fail-under", "success_lower=0.99", "--max-winding", "20"]) == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gate failed: ")]
    assert failed[0].startswith("gate failed: success_lower is 0.")
    assert len(failed) == 7, "the six motors are all warmer than 20 °C"


def test_the_old_name_of_the_temperature_gate_still_works(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "--episodes", "1", "--threads", "1", "--horizon", "0.2"]
    for option in ("--max-winding-c", "--max-winding"):
        assert main([*arguments, option, "20"]) == 1
        assert "the winding of gripper reached " in capsys.readouterr().err


def test_a_trained_policy_is_evaluated(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", str(trained), "--episodes", "2", "--threads", "1", "--horizon", "1", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (len(result["success"]), result["policy"]) == (2, "lift-act")


def test_an_instruction_is_planned_and_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instruction = "put the red cube in the left bin, then the blue one in the right bin"
    arguments = ["eval", "--task", "sort", "--instruction", instruction, "--episodes", "3", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"expert on {instruction!r}: ")
    assert lines[2].startswith("  1. put the red cube in the left bin: ")
    assert lines[3].startswith("  2. put the blue cube in the right bin: ")
    result = json.loads((tmp_path / "instruction.json").read_text())
    assert len(result["subtasks"]) == 3
    assert result["rate"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["eval", "nowhere"],
            "waldo: error: nowhere: no such checkpoint folder; "
            "train a policy with: waldo train DATASET --output FOLDER\n",
        ),
        (
            ["eval", "--task", "lfit"],
            "waldo: error: unknown task 'lfit'; did you mean 'lift'? (known: carry, lift, sort)\n",
        ),
        (["eval", "--episodes", "0"], "waldo: error: episodes is 0, expected a number from 1\n"),
    ],
)
def test_bad_input_ends_with_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)
