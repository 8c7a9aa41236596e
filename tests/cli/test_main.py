"""The command line: what it lists, and how it answers bad input."""

from __future__ import annotations

import errno
import importlib
import json
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
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([name, "--help"])
    assert stop.value.code == 0
    assert f"waldo {name}" in capsys.readouterr().out


def test_a_program_prints_the_help_of_a_command() -> None:
    done = run("export", "--help")
    assert done.returncode == 0, done.stderr
    assert "waldo export" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demmo"], "unknown command 'demmo'; did you mean 'demo'? (known: "),
        (["robot", "so10"], "unknown robot 'so10'; did you mean 'so101'? (known: aloha, "),
        (["robot", "so101", "--task", "lfit"], "unknown task 'lfit'; did you mean 'lift'? (known: "),
        (
            ["robot", "so101", "--driver", "twinn"],
            "unknown driver 'twinn'; did you mean 'twin'? (known: damiao, dex3,",
        ),
        (
            ["teleop", "gamepadd"],
            "unknown device 'gamepadd'; did you mean 'gamepad'? (known: gamepad, headset, keyboard,",
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
def test_bad_input_is_one_clear_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"waldo: error: {message}")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_program_prints_bad_input_as_one_line_in_every_encoding(encoding: str) -> None:
    done = shell(f"{sys.executable} -m waldo doctor /tmp", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert done.stderr == "waldo: error: Unrecognized options: /tmp; see: waldo doctor --help\n"


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


FULL = "no space left on the device of standard output or of a file that is written; free some space"


SHORT = "eval --episodes 1 --threads 1 --horizon 0.1"


@pytest.mark.parametrize("words", ["--help", "--version", "motors", "eval --help", f"{SHORT} --json"])
def test_a_full_device_is_one_line(words: str) -> None:
    full = shell(f"{sys.executable} -m waldo {words} > /dev/full")
    assert full.returncode == 3
    assert full.stderr.splitlines()[-1] == f"waldo: error: {FULL}"
    assert "Traceback" not in full.stderr


def test_a_full_disk_is_a_failure_of_the_run() -> None:
    assert main.describe(OSError(errno.ENOSPC, "No space left on device", "x")) == ("x: No space left on device", 3)
    assert main.describe(FileNotFoundError(errno.ENOENT, "No such file", "x")) == ("x: No such file", 2)


def test_a_library_that_exits_does_not_look_like_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("waldo.cli.main.parse", lambda name, words: sys.exit(1))
    assert main.main(["eval"]) == 3
    assert capsys.readouterr().err == "waldo: error: a library ended the command (1)\n"


NO_FILE = """
import sys
from waldo.cli.main import main
codes = [main(words.split()) for words in sys.argv[1:]]
heavy = {"torch", "lerobot", "mujoco", "transformers", "rclpy", "datasets", "pandas", "rerun"} & set(sys.modules)
sys.stdout.write(f"{codes} {sorted(heavy)}")
"""


def test_a_wrong_path_is_refused_before_anything_slow_is_imported(tmp_path: Path) -> None:
    dataset = tmp_path / "lerobot"
    (dataset / "meta").mkdir(parents=True)
    features = {
        "observation.state": {"shape": [6]},
        "action": {"shape": [6]},
        "observation.images.front": {"shape": [48, 64, 3]},
    }
    info = {"codebase_version": "v3.0", "fps": 30, "features": features}
    (dataset / "meta" / "info.json").write_text(json.dumps(info))
    commands = [
        "eval nowhere",
        f"eval {tmp_path}",
        "eval --output /dev/null",
        "eval --junit /dev/null/x",
        "eval --instruction lift --planner /nowhere",
        "train nowhere",
        f"train {tmp_path}",
        f"train {dataset} --output {tmp_path}",
        f"train {dataset} --output /dev/null/x",
        f"train {dataset} --output {tmp_path / 'new'} --resume",
        f"train {dataset} --policy nosuch",
        f"train {dataset} --policy ./nosuch",
        "plan lift --model ./nowhere",
        "view nowhere",
        "view nowhere --html /dev/null/x",
        "info nowhere",
        "check nowhere",
        f"export nowhere {tmp_path / 'out'}",
        f"import nowhere {tmp_path / 'out'}",
        f"cache nowhere {tmp_path / 'out'}",
    ]
    done = subprocess.run([sys.executable, "-c", NO_FILE, *commands], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[2] * len(commands)} []", done.stderr
    assert done.stderr.count("waldo: error: ") == len(commands), done.stderr


NO_LIBRARY = """
import ctypes, ctypes.util, sys
find, init = ctypes.util.find_library, ctypes.CDLL.__init__
def load(self, name, *arguments, **options):
    if any(word in str(name) for word in ("EGL", "OSMesa", "libGL")):
        raise OSError(f"{name}: cannot open shared object file")
    init(self, name, *arguments, **options)
ctypes.CDLL.__init__ = load
ctypes.util.find_library = lambda name: None if name in ("EGL", "OSMesa", "GL") else find(name)
from waldo.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("backend", "code", "reason"),
    [
        (
            "",
            3,
            "cannot render images without a display (neither EGL nor OSMesa is installed); install ",
        ),
        ("egl", 3, "cannot render images without a display (MUJOCO_GL is egl, but EGL is not installed); "),
        ("osmesa", 3, "cannot render images without a display (MUJOCO_GL is osmesa, but OSMesa is not installed); "),
        ("glfw", 3, "cannot render images without a display (glfw: "),
        ("elg", 2, "MUJOCO_GL is 'elg', expected one of egl, osmesa, glfw, glx, disable"),
    ],
)
def test_a_missing_gl_library_is_one_line(tmp_path: Path, backend: str, code: int, reason: str) -> None:
    words = ["eval", "--episodes", "1", "--horizon", "0.1", "--videos", "1", "--output", str(tmp_path)]
    command = [sys.executable, "-c", NO_LIBRARY, *words]
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"} | {"MUJOCO_GL": backend}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"waldo: error: {reason}")


DOMAINS = {
    "robot so101 --no-cameras": "abc",
    "record {tmp} --robot so101": "-1",
    "teleop script": "1.5",
    "fleet --port 0": "233",
}

DOMAIN_OF_EACH = """
import os, sys
from waldo.cli.main import main
codes = []
for words, os.environ["ROS_DOMAIN_ID"] in zip(sys.argv[1::2], sys.argv[2::2]):
    codes.append(main(words.split()))
sys.stdout.write(f"{codes}")
"""


def test_a_ros_domain_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    words = [word.format(tmp=tmp_path / "data") for pair in DOMAINS.items() for word in pair]
    done = subprocess.run([sys.executable, "-c", DOMAIN_OF_EACH, *words], capture_output=True, text=True)
    assert done.stdout == f"{[2] * len(DOMAINS)}", done.stderr
    expected = "waldo: error: ROS_DOMAIN_ID is '{}', expected a whole number from 0 to 232"
    assert done.stderr.splitlines() == [expected.format(domain) for domain in DOMAINS.values()]


def test_a_home_folder_that_cannot_be_written_is_enough(tmp_path: Path) -> None:
    words = f"{SHORT} --videos 0 --output {tmp_path / 'report'}"
    done = shell(f"{sys.executable} -m waldo {words}", HOME="/proc/nowhere", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_and_an_ascii_terminal_cause_no_traceback() -> None:
    waldo = f"{sys.executable} -m waldo motors"
    closed = shell(f"set -o pipefail; {waldo} | true")
    assert closed.stderr == ""
    assert closed.returncode in (0, 141)  # `true` may end after everything was written
    for words in ("motors", SHORT):
        ascii_only = shell(f"{sys.executable} -m waldo {words}", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
        assert ascii_only.returncode == 0
        assert "Traceback" not in ascii_only.stderr
