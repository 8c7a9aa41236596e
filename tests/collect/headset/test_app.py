"""Roles at the headset's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from waldo.collect.headset.app import MAX_MESSAGE, create_app
from waldo.collect.headset.operator import OperatorStation
from waldo.web.listening import listen
from waldo.web.pairing import Pairing
from waldo.web.roles import Role
from waldo.web.security import Security
from waldo.web.server import ServerThread, WebServer


@dataclass
class Hall:
    """A headset server as on a network, without TLS."""

    station: OperatorStation
    pairing: Pairing
    port: int

    def open(self, role: Role) -> ClientConnection:
        """Return the session of a newly paired browser."""
        form = {"pin": self.pairing.offer(role), "name": role.word}
        answer = httpx.post(f"http://localhost:{self.port}/pair", data=form, timeout=60)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        return connect(f"ws://localhost:{self.port}/session", additional_headers={"Cookie": cookie})


@pytest.fixture
def hall() -> Iterator[Hall]:
    listening, station = listen("127.0.0.1", 0), OperatorStation()
    port = listening.getsockname()[1]
    security = Security(application="headset", loopback=False, port=port, pairing=Pairing())
    server = WebServer(create_app(station, security), security, max_connections=50, max_message=MAX_MESSAGE)
    with ServerThread(server, listening, name="headset"):
        assert security.pairing is not None
        yield Hall(station, security.pairing, port)


def claim(page: ClientConnection, *, force: bool = False) -> str:
    """Claim control, and return the role that the page then has."""
    page.send(json.dumps({"kind": "claim", "force": force}))
    number = 0
    while True:
        message = json.loads(page.recv(60))
        if message["kind"] == "ping":
            page.send(json.dumps({"kind": "pong", "number": message["number"], "page_ms": 1.0}))
        number += message["kind"] == "state"
        if number == 3:  # of which the last one was made after the claim
            return str(message["role"])


def test_a_watcher_does_not_operate(hall: Hall) -> None:
    with hall.open(Role.WATCH) as page:
        assert claim(page) == "watcher"
        assert claim(page, force=True) == "watcher"
        assert not hall.station.is_operated()


def test_only_an_administrator_takes_control_by_force(hall: Hall) -> None:
    with hall.open(Role.OPERATE) as first, hall.open(Role.OPERATE) as second, hall.open(Role.ADMINISTER) as third:
        assert claim(first) == "operator"
        assert claim(second, force=True) == "watcher"
        assert claim(third) == "watcher"
        assert claim(third, force=True) == "operator"
        assert claim(first) == "watcher"
