"""The command line: what it lists, and how it answers bad input."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from waldo.cli import main
from waldo.errors import HardwareError, WaldoError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `waldo` as a user does."""
    return subprocess.run([sys.executable, "-m", "waldo", *words], capture_output=True, text=True, timeout=600)


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in main.COMMANDS)
    code = (
        "import sys, waldo.cli.main; waldo.cli.main.help_text(); print('tyro' in sys.modules or 'numpy' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_exists(name: str) -> None:
    module, _, attribute = main.COMMANDS[name][0].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute).run)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"waldo {name}" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demmo"], "unknown command 'demmo'; did you mean 'demo'? (known: "),
        (["robot", "so10"], "unknown robot 'so10'; did you mean 'so101'? (known: g1, so101, so101_leader)"),
        (["robot", "so101", "--task", "lfit"], "unknown task 'lfit'; did you mean 'lift'? (known: "),
        (
            ["robot", "so101", "--driver", "twinn"],
            "unknown driver 'twinn'; did you mean 'twin'? (known: damiao, dynamixel,",
        ),
        (
            ["teleop", "gamepadd"],
            "unknown device 'gamepadd'; did you mean 'gamepad'? (known: gamepad, keyboard, leader,",
        ),
        (["doctor", "/tmp"], "Unrecognized options: /tmp; see: waldo doctor --help"),
        (["robot", "--tsk", "lift"], "Unrecognized options: --tsk, lift; Perhaps you meant: --task STR "),
        (["record", "/dev/null/x"], "/dev/null/x: Not a directory"),
        (["train", "/nowhere"], "/nowhere: no such dataset folder; record one with: waldo record DATASET"),
        (["train", "/nowhere", "--policy", "actt"], "unknown policy 'actt'; did you mean 'act'? (known: "),
        (["eval", "nosuch"], "nosuch: no such checkpoint folder; train a policy with: waldo train DATASET --output"),
        (["eval", "expert", "--fail-under", "sucess=1"], "unknown gate 'sucess'; did you mean 'success'? (known: "),
        (["info", "/nowhere"], "/nowhere: is not a dataset (no dataset.json); check the path"),
        (["check", "/nowhere"], "/nowhere: is not a dataset (no dataset.json); check the path"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(words: list[str], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"waldo: error: {message}")


def test_an_unknown_key_of_a_config_file_is_named_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "robot.yaml"
    config.write_text("robot: so101\ntsk: lift\n")
    done = run("robot", "--config", str(config))
    assert done.returncode == 2
    expected = f"waldo: error: unknown key in {config} line 2 'tsk'; did you mean 'task'?"
    assert done.stderr.strip().startswith(expected)


def test_a_config_file_fills_in_fields_and_flags_win(tmp_path: Path) -> None:
    config = tmp_path / "teleop.yaml"
    config.write_text("device: script\nscript:\n  episodes: 3\n  noise_scale: 0.5\nrobot: g1\n")
    command = main.parse("teleop", ["--config", str(config), "--episodes", "4"])
    assert (command.device, command.robot) == ("script", "g1")  # type: ignore[attr-defined]
    assert (command.script.episodes, command.script.noise_scale) == (4, 0.5)  # type: ignore[attr-defined]


def test_a_config_file_fills_in_nested_options_and_required_ones_may_follow(tmp_path: Path) -> None:
    config = tmp_path / "list.yaml"
    config.write_text("selection:\n  outcome: [success, failure]\n  min_duration_s: 2\njson: true\n")
    command: Any = main.parse("list", ["my-data", "--config", str(config), "--max-duration-s", "9"])
    assert (command.dataset, command.json) == ("my-data", True)
    assert (command.selection.outcome, command.selection.min_duration_s) == (("success", "failure"), 2.0)
    assert command.selection.max_duration_s == 9.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("selection:\n  outcom: [success]\n", "unknown key in {0} line 2 'outcom'; did you mean 'outcome'?"),
        ("json: 3.5\n", "json in {0} line 1 is 3.5, expected "),
        ("- json\n", "{0}: contains a list, expected a mapping of options"),
        ("json: [\n", "{0}: is not valid YAML ("),
    ],
)
def test_a_wrong_config_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "list.yaml"
    config.write_text(text)
    with pytest.raises(WaldoError) as error:
        main.parse("list", ["my-data", "--config", str(config)])
    assert str(error.value).startswith(message.format(config))


def test_config_without_a_file_is_refused() -> None:
    with pytest.raises(WaldoError, match=r"--config requires a file; pass --config FILE\.yaml"):
        main.parse("list", ["--config"])


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    done = run("robot", "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stderr.strip() == f"waldo: error: {tmp_path / 'none.yaml'}: cannot be read (No such file or directory)"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_torch(name: str, words: object) -> main.Command:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(main, "parse", no_torch)
    assert main.main(["train", "x"]) == 2
    expected = "waldo: error: the package 'torch' is not installed; install it with: uv sync --inexact --extra train\n"
    assert capsys.readouterr().err == expected


def test_an_unexpected_exception_is_one_line_with_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(name: str, words: list[str]) -> NoReturn:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("waldo.cli.main.parse", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main.main(["info"]) == 3
    error = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert error == f"waldo: error: ZeroDivisionError: a b; please report it with the traceback in {file}\n"
    assert "ZeroDivisionError" in file.read_text()


def test_a_run_that_fails_differs_from_a_check_that_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, words: list[str]) -> NoReturn:
        raise HardwareError("no response")

    monkeypatch.setattr("waldo.cli.main.parse", fail)
    assert main.main(["robot"]) == 3
    assert capsys.readouterr().err == "waldo: error: no response\n"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ | environment)


def test_a_full_device_a_closed_pipe_and_an_ascii_terminal_cause_no_traceback() -> None:
    waldo = f"{sys.executable} -m waldo motors"
    full = shell(f"{waldo} > /dev/full")
    assert full.returncode == 3
    text = "no space left on the device of standard output or of a file that is written; free some space"
    assert full.stderr == f"waldo: error: {text}\n"
    closed = shell(f"set -o pipefail; {waldo} | true")
    assert closed.stderr == ""
    assert closed.returncode in (0, 141)  # `true` may end after everything was written
    ascii_only = shell(waldo, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert (ascii_only.returncode, ascii_only.stderr) == (0, "")
