"""Two robots on one network, each with a console of its own: nothing of one reaches the other."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.collect.console.page_socket import PageSocket
from tests.collect.console.process_bench import address, station
from waldo.datasets.dataset import Dataset

__all__ = ["station"]

pytestmark = [pytest.mark.usefixtures("ros_domain"), pytest.mark.timeout(600)]


def state(page: PageSocket, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the first state that is wanted."""
    deadline, found = time.monotonic() + 120, dict[str, Any]()
    while time.monotonic() < deadline:
        message = page.recv()
        if isinstance(message, str) and wanted(found := json.loads(message)):
            return dict(found)
    raise AssertionError(f"the state did not arrive: {found}")


def is_ready(found: dict[str, Any]) -> bool:
    """Return whether the robot holds and an episode can be started."""
    recorder, condition = found["recorder"], found["condition"]
    is_holding = bool(recorder and condition and condition["word"] == "HOLDING")
    return is_holding and len(recorder["streams"]) >= 3 and not recorder["gates"]


def request(page: PageSocket, name: str) -> None:
    page.send(json.dumps({"kind": "request", "name": name, "server_s": time.time()}))


def test_two_robots_do_not_affect_each_other(station: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    names = ("arm1", "arm2")
    with ExitStack() as stack:
        pages: dict[str, PageSocket] = {}
        for name in names:
            folder = tmp_path / name
            folder.mkdir()
            station("robot", "so101", "--no-cameras", "--namespace", name)
            # On a busy machine a request may be late, and would be dropped.
            options = ("--port", "0", "--namespace", name, "--max-request-age-s", "60")
            station("operate", str(folder / "set"), *options, log=folder / "operate.log")
            url = address(folder / "operate.log").replace("http", "ws")
            pages[name] = stack.enter_context(PageSocket(f"{url}session"))
        for name in names:
            found = state(pages[name], is_ready)
            assert found["robot"] == name
        request(pages["arm1"], "start")
        state(pages["arm1"], lambda found: found["recorder"]["state"] == "recording")
        request(pages["arm2"], "stop_motion")
        state(pages["arm2"], lambda found: found["condition"]["word"] == "STOPPED")
        one = state(pages["arm1"], lambda found: found["recorder"]["seconds"] > 1)
        assert (one["condition"]["word"], one["recorder"]["state"]) == ("HOLDING", "recording")
        assert not [notice for notice in one["notices"] if "stop" in notice["text"]]
        # A success would be refused if a busy machine has let the robot hold meanwhile.
        request(pages["arm1"], "fail")
        state(pages["arm1"], lambda found: found["recorder"]["saved"] == 1 and not found["recorder"]["pending"])
        other = state(pages["arm2"], lambda found: True)
        assert (other["recorder"]["state"], other["recorder"]["saved"]) == ("idle", 0)
    assert [len(Dataset.open(tmp_path / name / "set").indices) for name in names] == [1, 0]
