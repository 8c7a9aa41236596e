"""`waldo eval`: gates, reports, instructions and messages."""

import json
from pathlib import Path

import pytest
from junitparser import JUnitXml

from waldo.cli.main import main
from waldo.sim.world import World


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
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert (report["passed"], len(report["gates"])) == (False, 7)
    assert report["gates"][0]["text"] == failed[0].removeprefix("gate failed: ")
    assert ">failed</span>" in (tmp_path / "report/report.html").read_text()


SHORT = ["eval", "--episodes", "2", "--threads", "1", "--horizon", "0.2"]


@pytest.mark.parametrize("instruction", [[], ["--task", "sort", "--instruction", "lift the red cube"]])
def test_junit_has_a_failure_if_and_only_if_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], instruction: list[str]
) -> None:
    file = tmp_path / "results" / "junit.xml"
    arguments = [*SHORT, *instruction, "--junit", str(file)]
    for limit, code in ((90, 0), (20, 1)):
        gates = ["--fail-under", "success=0", "--fail-under", "success_lower=0", "--max-winding-c", str(limit)]
        assert main([*arguments, *gates, "--json"]) == code
        values = json.loads(capsys.readouterr().out)
        found = {suite.name.rpartition(".")[2]: suite for suite in JUnitXml.fromfile(str(file))}
        assert (found["gates"].tests, found["gates"].failures) == (8, 6 * code)
        assert (found["episodes"].tests, found["episodes"].skipped) == (2, 2), "no episode succeeds in 0.2 s"
        assert (values["passed"], len(values["gates"])) == (not code, 8)


def test_a_crash_is_an_error_in_junit_with_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a policy that fails")

    monkeypatch.setattr("waldo.sim.experts.expert.ExpertPolicy.act", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = tmp_path / "junit.xml"
    assert main([*SHORT, "--junit", str(file), "--fail-under", "success=1"]) == 3
    (suite,) = JUnitXml.fromfile(str(file))
    assert (suite.errors, suite.failures) == (1, 0)
    assert next(iter(suite)).result[0].message == "ZeroDivisionError: a policy that fails"
    assert "ZeroDivisionError: a policy that fails; please report it" in capsys.readouterr().err


def test_an_earlier_verdict_does_not_survive_a_run_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("report.json", "report.html", "instruction.json", "seed-5.mp4", "notes.txt", "junit.xml"):
        (tmp_path / name).write_text("earlier")

    class Killed(BaseException):
        pass

    def kill(*arguments: object) -> None:
        raise Killed

    monkeypatch.setattr("waldo.sim.experts.expert.ExpertPolicy.act", kill)
    with pytest.raises(Killed):
        main([*SHORT, "--output", str(tmp_path), "--videos", "0", "--junit", str(tmp_path / "junit.xml")])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_report_is_kept_if_the_next_policy_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("earlier")
    assert main(["eval", "nowhere", "--output", str(tmp_path)]) == 2
    assert (tmp_path / "report.json").read_text() == "earlier"


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
            "waldo: error: unknown task 'lfit'; did you mean 'lift'? (known: carry, carry_dex3, carry_inspire, lift, "
            "pick, sort)\n",
        ),
        (["eval", "--episodes", "0"], "waldo: error: episodes is 0, expected a number from 1\n"),
        (["eval", "--threads", "0"], "waldo: error: threads is 0, expected a number from 1\n"),
        (["eval", "--horizon", "0"], "waldo: error: horizon is 0.0, expected a time above 0 s\n"),
        (["eval", "--seed", "-1"], "waldo: error: seed is -1, expected a number from 0\n"),
        (
            ["eval", "--start-temperature", "nan"],
            "waldo: error: start_temperature is nan, expected a temperature in °C\n",
        ),
        (
            ["eval", "--max-winding-c", "nan"],
            "waldo: error: max-winding-c is nan, expected a temperature in °C; for example 80\n",
        ),
        (
            ["eval", "--fail-under", "success=0.9", "--fail-under", "success=0.1"],
            "waldo: error: fail-under is 'success=0.9, success=0.1', expected success only once\n",
        ),
        (["eval", "--output", "/dev/null"], "waldo: error: /dev/null: is not a folder; choose another folder\n"),
        (["eval", "--junit", "/dev"], "waldo: error: /dev: is a folder; pass the path of a file\n"),
    ],
)
def test_bad_input_ends_with_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_an_instruction_that_names_another_object_is_a_control(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "expert", "--task", "pick", "--episodes", "3", "--threads", "1", "--output", str(tmp_path)]
    assert main([*words, "--videos", "0", "--max-wrong-instruction", "0.1"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("expert on pick: 3 of 3 succeeded")
    assert "\nwrong instruction: 0 of 3 reached the own goal\n" in output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["control"] == {"success": [False] * 3, "wilson_95": [0.0, pytest.approx(0.56, abs=0.01)]} | {
        "successes": 0,
        "rate": 0.0,
    }
    (gate,) = report["gates"]
    assert (gate["name"], gate["value"], gate["maximum"], gate["passed"]) == ("wrong_instruction", 0.0, 0.1, True)
    page = (tmp_path / "report.html").read_text()
    assert "reached the own goal of the seed in 0 of 3 episodes (0.0–56.1 %)" in page
    assert "A policy that ignores its instruction would reach it in 100 %." in page


def test_a_policy_that_ignores_its_instruction_fails_the_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(World, "instruct", lambda self, goals: None)
    words = ["eval", "expert", "--task", "pick", "--episodes", "2", "--threads", "1"]
    assert main([*words, "--max-wrong-instruction", "0.5"]) == 1
    assert capsys.readouterr().err.endswith("gate failed: wrong_instruction is 1.000, allowed at most 0.5\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--wrong-instruction"],
            "a goal with another object is not supported with the task 'lift', which has one",
        ),
        (
            ["--max-wrong-instruction", "1.5"],
            "max-wrong-instruction is 1.5, expected a number from 0 to 1; for example 0.05",
        ),
        (
            ["--task", "sort", "--wrong-instruction", "--instruction", "x"],
            "--wrong-instruction is not supported with --instruction",
        ),
    ],
)
def test_a_control_that_is_impossible_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "expert", *words]) == 2
    assert message in capsys.readouterr().err
