"""A policy server as a child process; `test_openpi.py` starts one with a trained policy."""

from pathlib import Path

import pytest

from waldo.train.serving.child import LISTENING, LocalServer
from waldo.train.serving.client import ServerError


def test_why_a_server_did_not_start_is_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        LocalServer(tmp_path / "none")
    expected = "no such checkpoint folder; train a policy with: waldo train DATASET --output FOLDER"
    assert str(caught.value) == f"{tmp_path / 'none'}: {expected}"


def test_options_reach_the_server(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        LocalServer(tmp_path, ["--threads", "0"])
    assert str(caught.value) == "--threads is 0, expected a number from 1"


def test_the_address_is_read_from_the_line_of_the_command() -> None:
    found = LISTENING.search("serving runs/on the table on ws://127.0.0.1:4711 (observation.state); stop with Ctrl-C\n")
    assert found is not None
    assert found[1] == "ws://127.0.0.1:4711"
