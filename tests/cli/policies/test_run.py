"""`waldo run`: options, refusals, and a checkpoint that drives a simulated robot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_server import listening

from waldo import ros
from waldo.cli.main import main, parse
from waldo.cli.policies.run import Run
from waldo.errors import ConfigError, WaldoError
from waldo.robots.description import load_robot
from waldo.train.policies.contract import Contract, write_contract
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.server import PolicyServer

PLUGIN = Path(__file__).parents[2] / "plugins" / "lerobot_policy_toy"
JOINTS = load_robot("so101").joint_names
SWAPPED = (JOINTS[1], JOINTS[0], *JOINTS[2:])


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """Restore the signal handlers that the command replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def run(*args: str) -> Run:
    command = parse("run", args)
    assert isinstance(command, Run)
    return command


# options


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "waldo run requires a policy; pass a checkpoint folder or --server ws://HOST:PORT"),
        (("policy", "--server", "ws://gpu:8000"), "a checkpoint folder and --server cannot be combined"),
        (("policy", "--seconds", "0"), "--seconds is 0.0, expected a time above 0"),
        (("policy", "--seconds", "-1"), "--seconds is -1.0, expected a time above 0"),
        (("policy", "--rate", "3"), "rate is 3.0, expected 5 to 1000 commands per second"),
        (("policy", "--replan", "0"), "replan is 0.0, expected seconds above 0 and below 60"),
        (("policy", "--blend", "3"), "blend is 3.0, expected 0 to 2 seconds"),
        (
            ("policy", "--max-distance", "0"),
            "max-distance is 0.0, expected a number above 0 and below 60",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *args]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_thresholds_reach_the_loop() -> None:
    loop = run("policy", "--rate", "100", "--max-action-age", "1", "--replan", "0.2").loop
    assert (loop.rate, loop.max_action_age, loop.replan, loop.max_distance) == (100.0, 1.0, 0.2, 0.8)


@pytest.mark.parametrize("text", ["front", "front=", "=overhead"])
@pytest.mark.parametrize("option", ["--rename", "--camera"])
def test_a_name_without_its_other_name_is_refused(option: str, text: str) -> None:
    command = run("policy", option, text)
    example = "observation.images.front=observation/image" if option == "--rename" else "front=overhead"
    graph: Any = None
    use: dict[str, Callable[[], object]] = {
        "--rename": lambda: command.describe(metadata(), ""),
        "--camera": lambda: command.find_cameras(graph, command.describe(metadata(), ""), lambda: True),
    }
    with pytest.raises(ConfigError) as caught:
        use[option]()
    assert str(caught.value) == f"{option} is {text!r}, expected NAME=NAME, such as {example}"


def test_inputs_are_renamed_for_servers_of_another_kind() -> None:
    command = run("policy", "--rename", "observation.state=observation/state")
    observation = command.describe(metadata(), "").observation(np.zeros(6), {}, "lift")
    assert list(observation) == ["observation/state", "task", "prompt"]


def test_a_policy_that_does_not_exist_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none")]) == 2
    assert "no such checkpoint folder" in " ".join(capsys.readouterr().err.split())


def test_a_server_that_cannot_be_reached_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--server", "ws://127.0.0.1:1"]) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert "ws://127.0.0.1:1: " in error
    assert error.endswith("start a server with: waldo serve POLICY")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"policy": "other"}, ["another policy"]),
        ({"contract": {}, "replan_after": 3}, ["another contract", "another replan_after"]),
    ],
)
def test_a_server_that_came_back_must_have_the_same_policy(changes: dict[str, Any], expected: list[str]) -> None:
    check = run("policy")._same_policy(metadata())
    found: list[str] = []
    try:
        check(metadata() | changes)
    except WaldoError as error:
        found = error.differences  # type: ignore[attr-defined]
    assert found == expected


# cameras


@pytest.mark.usefixtures("ros_domain")
def test_the_cameras_of_the_policy_are_those_that_the_robot_publishes() -> None:
    from sensor_msgs.msg import CompressedImage

    front, wrist = "observation.images.front", "observation.images.wrist"
    command = run("policy", "--camera", "front=overhead")
    policy = command.describe(metadata() | {"images": {front: [64, 48], wrist: [64, 48]}}, "")
    with ros.join_graph("robot", "so101") as robot, ros.join_graph("policy", "so101") as graph:
        topic = "/so101/cameras/overhead/image_raw/compressed"
        robot.node.create_publisher(CompressedImage, topic, ros.stream_qos())
        assert graph.spin_until(lambda: graph.node.count_publishers(topic) > 0, 120)
        assert command.find_cameras(graph, policy, lambda: True) == {front: topic}


# a server


class Still:
    """A policy that stays where it is."""

    def predict(self, observations: Any) -> np.ndarray:
        return np.stack([np.tile(one["observation.state"], (10, 1)) for one in observations])


def metadata(**changes: Any) -> dict[str, Any]:
    """Return the metadata of a server, with changes of the contract."""
    contract = {"fps": 20, "joints": list(JOINTS), "state": list(JOINTS), "unit": "rad"}
    return {"policy": "still", "images": {}, "replan_after": 5, "contract": contract | changes}


@contextmanager
def serving(values: dict[str, Any], token: str | None = None) -> Iterator[str]:
    """Serve a policy on a thread; yield its address."""
    inputs = PolicyInputs(vectors={"observation.state": 6}, images={})
    with listening(PolicyServer(Still(), inputs, values, token=token)) as port:
        yield f"ws://127.0.0.1:{port}"


@pytest.mark.usefixtures("ros_domain")
def test_a_run_connects_again_to_the_same_policy_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks: list[Callable[[Any], None]] = []

    def stop(client: Any, connect: Any, check: Callable[[Any], None]) -> None:
        client.close()
        checks.append(check)
        raise WaldoError("the test ends here")

    monkeypatch.setattr("waldo.train.runner.inference.Inference", stop)
    with serving(metadata()) as url:
        assert main(["run", "--server", url]) == 2
    assert "the test ends here" in capsys.readouterr().err
    (check,) = checks
    check(metadata())
    with pytest.raises(WaldoError, match="another contract"):
        check(metadata(joints=list(SWAPPED)))


@pytest.mark.usefixtures("ros_domain")
def test_a_served_policy_of_another_robot_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(metadata(joints=list(SWAPPED), unit="deg")) as url:
        assert main(["run", "--server", url]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "still does not fit the robot, which is not moved:" in error
    assert f"it commands the joints {', '.join(SWAPPED)}, the robot has {', '.join(JOINTS)}" in error
    assert "its joint positions are in deg, those of the robot in rad" in error


def test_the_token_of_a_server_is_an_option_or_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving({}, token="secret") as url:
        for args, variable, accepted in (
            ((), None, False),
            (("--token", "wrong"), "secret", False),
            (("--token", "secret"), None, True),
            ((), "secret", True),
        ):
            monkeypatch.delenv("WALDO_SERVE_TOKEN", raising=False)
            if variable is not None:
                monkeypatch.setenv("WALDO_SERVE_TOKEN", variable)
            # An accepted client receives metadata without a contract.
            assert main(["run", "--server", url, *args]) == (2 if accepted else 3)
            error = " ".join(capsys.readouterr().err.split())
            assert ("the server does not state the joints" in error) == accepted
            assert "secret" not in error


def test_the_contract_of_a_server_that_states_none_is_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(metadata()["contract"] | {"state": list(SWAPPED)}))
    with serving({"policy": "still"}) as url:
        assert main(["run", "--server", url]) == 2
        assert "pass --contract FILE" in " ".join(capsys.readouterr().err.split())
        assert main(["run", "--server", url, "--contract", str(path)]) == 2
        assert f"it observes the joints {', '.join(SWAPPED)}" in " ".join(capsys.readouterr().err.split())


# a checkpoint


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the module search path with the toy policy, which needs the state only."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copytree(PLUGIN, folder / PLUGIN.name)
    (folder / PLUGIN.name / "__init__.py").write_text("from . import configuration_toy as configuration_toy\n")
    (folder / f"{PLUGIN.name}-1.0.dist-info").mkdir()
    (folder / f"{PLUGIN.name}-1.0.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PLUGIN.name}\nVersion: 1.0\n"
    )
    return folder


CHECKPOINT = """
import sys
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot_policy_toy.configuration_toy import ToyConfig
from lerobot_policy_toy.modeling_toy import ToyPolicy
from lerobot_policy_toy.processor_toy import make_toy_pre_post_processors

config = ToyConfig(
    input_features={"observation.state": PolicyFeature(FeatureType.STATE, (6,))},
    output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
    chunk_size=20, n_action_steps=10, device="cpu",
)
torch.manual_seed(0)
policy = ToyPolicy(config)
# Each action is the state, plus a motion of the first joint of 0.4 rad/s.
with torch.no_grad():
    policy.net[0].weight.copy_(torch.eye(8, 6))
    policy.net[0].bias.fill_(10.0)
    policy.net[2].weight.copy_(torch.eye(6, 8).repeat(20, 1))
    policy.net[2].bias.fill_(-10.0)
    policy.net[2].bias[::6] += 0.02 * torch.arange(20)
policy.save_pretrained(sys.argv[1])
one = {"mean": torch.zeros(6), "std": torch.ones(6)}
for processor in make_toy_pre_post_processors(config, {"observation.state": one, "action": one}):
    processor.save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def checkpoint(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that moves the first joint."""
    folder = tmp_path_factory.mktemp("checkpoint")
    subprocess.run([sys.executable, "-c", CHECKPOINT, str(folder)], env=with_plugins(plugins), check=True)
    write_contract(folder, Contract(fps=20, joints=JOINTS, state=JOINTS, unit="rad"))
    return folder


def with_plugins(plugins: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(plugins), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "1000", "OMP_NUM_THREADS": "1"}


@pytest.mark.usefixtures("ros_domain")
def test_a_checkpoint_drives_a_simulated_robot(checkpoint: Path, plugins: Path) -> None:
    from sensor_msgs.msg import JointState

    positions: list[Any] = []
    sources: list[str] = []
    environment = with_plugins(plugins)
    robot = subprocess.Popen([sys.executable, "-m", "waldo", "robot", "--no-cameras"], env=environment)
    try:
        with ros.join_graph("reader", "so101") as graph:
            graph.subscribe(JointState, "joint_states", lambda message: positions.append(message.position), _qos())
            graph.subscribe(
                JointState, "joint_commands_sent", lambda message: sources.append(message.header.frame_id), _qos()
            )
            assert graph.spin_until(lambda: bool(positions), 120)
            command = [sys.executable, "-m", "waldo", "run", str(checkpoint), "--seconds", "3"]
            with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
                assert graph.spin_until(lambda: process.poll() is not None, 300)
                assert process.stderr is not None
                shown = process.stderr.read()
            assert graph.spin_until(lambda: sources[-1] == "hold", 120)
    finally:
        robot.terminate()
        assert robot.wait(60) == 0
    assert process.returncode == 0, shown
    assert {"hold", "policy"} == set(sources)
    assert f"{checkpoint.name} drives so101; stop with Ctrl-C" in shown
    assert "the policy drives: " in shown
    lines = shown.splitlines()
    (summary,) = [line for line in lines if "control cycles missed" in line]
    assert int(summary.split(" commands, ")[0]) > 20
    assert summary.endswith(" 0 takeovers")
    (inference,) = [line for line in lines if "ms median" in line]
    assert int(inference.split(" chunks, inference ")[0]) > 0
    moved = np.array(positions[-1]) - np.array(positions[0])
    assert moved[0] > 0.2
    # The others are commanded to where they are, and sag under gravity.
    np.testing.assert_allclose(moved[1:], 0.0, atol=0.15)


@pytest.mark.usefixtures("ros_domain")
def test_a_checkpoint_of_a_robot_with_other_joints_is_refused(checkpoint: Path, plugins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swapped"
    shutil.copytree(checkpoint, folder)
    contract = json.loads((folder / "waldo.json").read_text())
    (folder / "waldo.json").write_text(json.dumps(contract | {"joints": list(SWAPPED)}))
    done = subprocess.run(
        [sys.executable, "-m", "waldo", "run", str(folder), "--seconds", "3"],
        env=with_plugins(plugins),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    expected = f"it commands the joints {', '.join(SWAPPED)}, the robot has {', '.join(JOINTS)}"
    assert expected in " ".join(done.stderr.split())
    assert "commands," not in done.stderr


@pytest.mark.usefixtures("ros_domain")
def test_a_checkpoint_without_a_contract_is_refused(checkpoint: Path, plugins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unknown"
    shutil.copytree(checkpoint, folder)
    (folder / "waldo.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "waldo", "run", str(folder)], env=with_plugins(plugins), capture_output=True, text=True
    )
    assert done.returncode == 2
    error = " ".join(done.stderr.split())
    assert f"the joints that it commands are unknown, the robot has {', '.join(JOINTS)}" in error
    assert "its joint positions are in an unknown unit, those of the robot in rad" in error


def test_a_checkpoint_that_cannot_be_loaded_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main(["run", str(tmp_path)]) == 3
    assert "cannot be loaded as a LeRobot policy" in " ".join(capsys.readouterr().err.split())


def _qos() -> Any:
    return ros.stream_qos()


def test_a_checkpoint_is_evaluated_in_the_loop_that_drives_a_robot(checkpoint: Path, plugins: Path) -> None:
    options = ["--task", "lift", "--episodes", "2", "--horizon", "1", "--through-ros", "--latency", "0.05"]
    command = [sys.executable, "-m", "waldo", "eval", str(checkpoint), *options, "--json"]
    environment = with_plugins(plugins)
    found: list[dict[str, Any]] = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    first, second = found
    assert first["seeds"] == [100_000, 100_001]
    assert first["success"] == [False, False]
    assert first["seconds"] == pytest.approx([1.0, 1.0], abs=0.02)
    assert first["settings"]["latency_s"] == 0.05
    assert (first["settings"]["chunk"], first["settings"]["control_hz"]) == (20, 60.0)
    assert first["chunks"] >= 2 * 2
    # In simulated time the machine's speed changes nothing.
    assert {key: value for key, value in first.items() if key != "max_winding_c"} == {
        key: value for key, value in second.items() if key != "max_winding_c"
    }
