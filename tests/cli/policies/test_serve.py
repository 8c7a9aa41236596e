"""`waldo serve`: its options, and a trained policy served by the command itself."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo.cli.main import main
from waldo.cli.policies.serve import Serve
from waldo.errors import ConfigError
from waldo.train.serving.client import PolicyClient, ServerError

EXIT_S = 120.0
"""Time after which a test fails rather than waits [s]."""


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a token of the user's."""
    monkeypatch.delenv("WALDO_SERVE_TOKEN", raising=False)


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the command in this process and returns the only line of its refusal."""

    def run(*words: str | Path) -> str:
        assert main(["serve", *map(str, words)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("waldo: error: ")
        return line.removeprefix("waldo: error: ")

    return run


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Serve(policy=Path("policy"), **options)
    return str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu.example", ""])
def test_other_machines_need_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(host=host) == (
        f"--host {host} requires --token; pass --token SECRET, or listen on a loopback address such as 127.0.0.1"
    )
    assert Serve(policy=Path("policy"), host=host, token="s3cret").secret == "s3cret"
    monkeypatch.setenv("WALDO_SERVE_TOKEN", "from the environment")
    assert Serve(policy=Path("policy"), host=host).secret == "from the environment"
    assert Serve(policy=Path("policy"), host=host, token="s3cret").secret == "s3cret"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert Serve(policy=Path("policy"), host=host).secret is None


def test_an_empty_token_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(host="0.0.0.0", token="") == "--token is '', expected one character or more"
    monkeypatch.setenv("WALDO_SERVE_TOKEN", "")
    assert refusal() == "--token is '', expected one character or more"


@pytest.mark.parametrize("token", ["s3cret\n", " s3cret", "s3cret ", "s\u00e9cret", "s3\tcret"])
def test_a_token_that_no_client_can_send_is_rejected_without_printing_it(token: str) -> None:
    expected = "printable ASCII characters without a space at the start or end"
    assert refusal(token=token) == f"--token cannot be sent in a header, expected {expected}"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range(port: int) -> None:
    assert refusal(port=port) == f"--port is {port}, expected 0 to 65535"


def test_a_certificate_and_its_key_belong_together() -> None:
    assert refusal(certificate=Path("cert.pem")) == "--certificate requires --key"
    assert refusal(key=Path("key.pem")) == "--key requires --certificate"


def test_a_thread_is_needed() -> None:
    assert refusal(threads=0) == "--threads is 0, expected a number from 1"


@pytest.mark.parametrize("alias", ["wrist", "=observation.state", "wrist=", "="])
def test_an_alias_has_two_names(alias: str, refuse: Callable[..., str]) -> None:
    expected = f"--alias is {alias!r}, expected NAME=INPUT, such as wrist=observation.images.wrist"
    assert refuse("no such folder", "--alias", alias) == expected


def test_aliases_have_dots_for_slashes() -> None:
    command = Serve(policy=Path("policy"), alias=("observation/left=observation.images.front", "a.b=c=d"))
    assert command.aliases() == {"observation.left": "observation.images.front", "a.b": "c=d"}


def test_a_missing_checkpoint_is_one_line(refuse: Callable[..., str], tmp_path: Path) -> None:
    expected = "no such checkpoint folder; train a policy with: waldo train DATASET --output FOLDER"
    assert refuse(tmp_path / "none") == f"{tmp_path / 'none'}: {expected}"


def test_an_alias_of_no_input_is_rejected(trained: Path, refuse: Callable[..., str]) -> None:
    expected = "one of the policy's inputs: observation.state, observation.environment_state"
    assert refuse(trained, "--alias", "wrist=observation.images.wrist") == (
        f"--alias is 'observation.images.wrist', expected {expected}"
    )


def test_a_port_in_use_is_rejected(trained: Path, refuse: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refuse(trained, "--port", str(port))
    assert line.startswith(f"--port is {port}, expected a free port of 127.0.0.1 (")
    assert line.endswith("address already in use); pass another one")


def test_an_address_of_another_machine_is_rejected(trained: Path, refuse: Callable[..., str]) -> None:
    line = refuse(trained, "--host", "192.0.2.1", "--port", "0", "--token", "s3cret")
    assert line.startswith("--host is '192.0.2.1', expected an address of this machine (")


def test_a_certificate_that_cannot_be_read_is_rejected(
    trained: Path, refuse: Callable[..., str], tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    line = refuse(trained, "--certificate", certificate, "--key", key)
    assert line == f"{certificate}: cannot be used with {key} ([Errno 2] No such file or directory)"
    certificate.write_text("not a certificate")
    key.write_text("not a key")
    line = refuse(trained, "--certificate", certificate, "--key", key)
    assert line.startswith(f"{certificate}: cannot be used with {key} (")


def test_a_trained_policy_is_served_until_a_signal(trained: Path) -> None:
    command = [sys.executable, "-m", "waldo", "serve", str(trained), "--port", "0"]
    environment = os.environ | {"WALDO_SERVE_TOKEN": "s3cret", "COLUMNS": "1000"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if line.startswith("serving "))
            start, inputs = f"serving {trained} on ", "observation.state, observation.environment_state"
            assert line.startswith(start)
            url, _, rest = line.removeprefix(start).partition(" ")
            assert rest == f"({inputs}); stop with Ctrl-C\n"
            with pytest.raises(ServerError, match="HTTP 401: the token is missing or wrong"):
                PolicyClient(url)
            client = PolicyClient(url, token="s3cret", answer_s=EXIT_S)
            compare(client, trained)
            process.send_signal(signal.SIGTERM)
            printed = process.stderr.read()
            assert process.wait(EXIT_S) == 0
            client._connection.recv_events_thread.join(EXIT_S)
            assert not client.is_open
            assert printed.splitlines()[-1].startswith("answered 1, refused 2 in ")
            assert "s3cret" not in line + printed
        finally:
            process.kill()


def compare(client: PolicyClient, trained: Path) -> None:
    """Assert that the server describes a policy and answers with its actions."""
    from waldo.train.policies.lerobot_policy import LeRobotPolicy

    policy = LeRobotPolicy(trained)
    metadata = client.metadata
    assert (metadata["type"], metadata["action_dim"], metadata["images"]) == ("act", 6, {})
    assert metadata["action_horizon"] == policy.chunk_length
    assert metadata["inputs"] == {key: list(shape) for key, shape in policy.inputs.items()}
    assert metadata["contract"]["joints"] == list(policy.contract.joints)
    rng = np.random.default_rng(0)
    values = {key: rng.normal(size=shape).astype(np.float32) for key, shape in policy.inputs.items()}
    sent = {key.replace(".", "/"): value for key, value in values.items()} | {"prompt": "lift the red cube"}
    with pytest.raises(ServerError, match="an observation lacks"):
        client.infer({"observation/state": values["observation.state"]})
    actions = client.infer(sent)
    assert actions.shape == (policy.chunk_length, 6)
    expected = policy.predict([values | {"task": "lift the red cube"}])[0]
    np.testing.assert_allclose(actions, expected, atol=1e-5)
