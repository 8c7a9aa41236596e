"""`waldo reinforce` with LeRobot's own actor and learner: checkpoints, resumption, evaluation, and failures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from waldo.cli.main import main
from waldo.train.policies.contract import INCREMENT, read_contract
from waldo.train.policies.lerobot_policy import LeRobotPolicy
from waldo.train.reinforcement.entry import SaveFrequency
from waldo.train.reinforcement.settings import ReinforceConfig, lerobot_config
from waldo.train.training import last_checkpoint

SMALL = ("--demonstrations", "2", "--updates", "1")


@contextmanager
def running(folder: Path, log: str, text: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command without an end; enter once a log contains a text."""
    command = [sys.executable, "-m", "waldo", "reinforce", str(folder), "--steps", "1000000", *SMALL]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (folder / log).exists() or text not in (folder / log).read_text():
            time.sleep(0.1)
            assert process.poll() is None, process.stderr and process.stderr.read()
        yield process


def is_running(process: Path) -> bool:
    """Return whether a process of /proc runs; one that no one waits for remains as a zombie."""
    with suppress(OSError):
        return ") Z " not in (process / "stat").read_text()
    return False


def interrupted(process: subprocess.Popen[str]) -> str:
    """Interrupt the command as Ctrl-C does; return its standard error."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=300)[1]


def test_an_interrupted_run_saves_a_checkpoint_and_the_same_command_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with running(folder, "learner.log", "Optimization freq") as process:
        error = interrupted(process)
    assert process.returncode == 130, error
    found = last_checkpoint(folder / "learner")
    assert found is not None
    state = json.loads((found[0].parent / "training_state/training_step.json").read_text())
    done = state["interaction_step"] + 1
    assert done > 1
    assert f"stopped after {done} actions and saved a checkpoint; to continue, repeat the command" in error

    assert main(["reinforce", str(folder), "--steps", str(done + 40), *SMALL]) == 0
    assert "learned from" in capsys.readouterr().out
    after = last_checkpoint(folder / "learner")
    assert after is not None
    assert after[1] > found[1], "the optimizer's steps continue"

    contract = read_contract(after[0])
    assert (contract.unit, contract.fps, contract.increment_rad) == (INCREMENT, 10.0, 0.25)
    policy = LeRobotPolicy(folder / "learner")
    assert (policy.fps, policy.queue_length) == (60.0, 6)
    assert main(["eval", str(folder / "learner"), "--task", "lift", "--episodes", "3"]) == 0
    assert "of 3 succeeded" in capsys.readouterr().out

    assert main(["reinforce", str(folder), "--steps", str(done + 40), "--heat-weight", "1", *SMALL]) == 2
    assert "was made with other options (heat_weight); choose another folder" in capsys.readouterr().err


def test_an_interruption_before_there_is_anything_to_learn_from_ends_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(folder, "actor.log", "make_env online") as process:
        error = interrupted(process)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert last_checkpoint(folder / "learner") is None
    assert (folder / "demonstrations" / "meta" / "info.json").exists(), "kept for the next start"


def test_the_processes_end_if_the_command_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "run", "actor.log", "make_env online") as process:
        pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        children = [Path("/proc") / pid for pid in pids]
        assert len(children) == 2
        process.kill()
        process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while any(map(is_running, children)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_learner_that_fails_is_an_error_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    settings(folder)
    (folder / "demonstrations" / "meta" / "info.json").write_text("{}")
    (folder / "reinforce.json").write_text(json.dumps(ReinforceConfig(demonstrations=2, updates=1).as_json()))
    assert main(["reinforce", str(folder), *SMALL]) == 3
    assert str(folder / "learner.log") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--interventions", "2", "interventions is 2.0, expected a fraction from 0 to 1"),
        ("--steps", "0", "steps is 0, expected a number from 1"),
        ("--task", "lft", "unknown task 'lft'; did you mean 'lift'?"),
        ("--heat-weight", "-1", "heat-weight is -1.0, expected a number from 0"),
    ],
)
def test_options_out_of_range_are_refused(
    option: str, value: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reinforce", str(tmp_path / "run"), option, value]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_the_processes_talk_through_a_socket_in_a_private_folder(tmp_path: Path) -> None:
    """LeRobot's messages are pickled: on a port of the loopback any local user could send some."""
    address = settings(tmp_path)["policy"]["actor_learner_config"]
    assert (address["learner_host"], address["learner_port"]) == (f"unix:{tmp_path}/learner", 1)


def test_inputs_are_normalized_to_their_ranges_in_the_demonstrations(tmp_path: Path) -> None:
    found = settings(tmp_path)["policy"]["dataset_stats"]
    assert found["observation.state"] == {"min": [-0.2] * 6, "max": [2.2] * 6}
    assert found["observation.environment_state"]["min"] == pytest.approx([0.9999] * 8)
    assert found["action"] == {"min": [-1.0] * 6, "max": [1.0] * 6}


def settings(folder: Path) -> dict[str, Any]:
    """Return LeRobot's configuration for demonstrations in which joints moved by 2 rad, and nothing else changed."""
    meta = folder / "demonstrations" / "meta"
    meta.mkdir(parents=True)
    statistics = {
        "observation.state": {"min": [0.0] * 6, "max": [2.0] * 6},
        "observation.environment_state": {"min": [1.0] * 8, "max": [1.0] * 8},
    }
    (meta / "stats.json").write_text(json.dumps(statistics))
    return lerobot_config(ReinforceConfig(), folder, folder / "learner:1", resume=False)


def test_a_stop_makes_every_step_one_with_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    frequency = SaveFrequency(10)
    assert [step % frequency for step in (9, 10, 11)] == [9, 0, 1]
    monkeypatch.setattr(SaveFrequency, "stopping", True)
    assert [step % frequency for step in (9, 10, 11)] == [0, 0, 0]
