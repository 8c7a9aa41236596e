import json
from pathlib import Path

import pytest

from waldo.cli.main import main
from waldo.errors import ConfigError, UnknownNameError
from waldo.train.gates import Gate, failures, parse_gate

PURPLE = (
    "waldo: error: no plan for 'lift the purple cube': purple cube is not in the scene; "
    "the scene has: red cube, blue cup, left bin\n"
)


def test_gates_are_read() -> None:
    assert parse_gate("success=0.8") == Gate("success", 0.8)
    with pytest.raises(UnknownNameError) as unknown:
        parse_gate("sucess=0.8")
    expected = "unknown gate 'sucess'; did you mean 'success'? (known: success, success_lower)"
    assert str(unknown.value) == expected
    for text in ("success", "success=80", "success=much", "success=nan"):
        with pytest.raises(ConfigError) as caught:
            parse_gate(text)
        expected = "expected success=NUMBER with a number from 0 to 1; for instance success=0.8"
        assert str(caught.value) == f"fail-under is {text!r}, {expected}"


def test_a_failed_gate_has_one_line() -> None:
    gates = [Gate("success", 0.5), Gate("success_lower", 0.5)]
    assert failures(gates, {"success": 0.6, "success_lower": 0.41}, {"gripper": 90.04, "elbow_flex": 60.0}, 80) == [
        "gate failed: success_lower is 0.410, required at least 0.5",
        "gate failed: the winding of gripper reached 90.0 °C, allowed at most 80 °C",
    ]
    assert failures(gates, {"success": 0.6, "success_lower": 0.5}, {"gripper": 80.0}, 80) == []


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
    said = capsys.readouterr().out
    assert said.startswith("expert on lift: ")
    assert f"report: {tmp_path / 'report' / 'report.html'}\n" in said
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert (report["seeds"], report["policy"]) == ([100_000, 100_001, 100_002, 100_003], "expert")
    assert main([*arguments, "--fail-under", "success_lower=0.99", "--max-winding", "20"]) == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gate failed: ")]
    assert failed[0].startswith("gate failed: success_lower is 0.")
    assert len(failed) == 7, "the six motors are all warmer than 20 °C"


def test_a_trained_policy_is_evaluated(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", str(trained), "--episodes", "2", "--threads", "1", "--horizon", "1", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (len(result["success"]), result["policy"]) == (2, "lift-act")


def test_an_instruction_is_planned_and_carried_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "lift the red cube"]) == 0
    assert capsys.readouterr().out == "1. lift the red cube\n"
    assert main(["plan", "lift the cup", "--objects", "red cube", "blue cup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "instruction": "lift the cup",
        "scene": {"objects": ["red cube", "blue cup"], "targets": [], "holding": None},
        "plan": [{"skill": "lift", "object": "blue cup", "target": None, "text": "lift the blue cup"}],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "lift the purple cube", "--objects", "red cube", "blue cup", "--targets", "left bin"], PURPLE),
        (
            ["plan", "lift it", "--targets", "bowl"],
            "waldo: error: targets is 'bowl', expected --objects beside them; name the objects too, or neither\n",
        ),
        (
            ["plan", "lift it", "--server", "http://127.0.0.1:9/v1"],
            "waldo: error: server-model is None, expected the model's name on the server; give --server-model NAME\n",
        ),
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
