"""A clock that stands until a test moves it, readings made up by hand, and a server on a real socket."""

from __future__ import annotations

import http.client
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from waldo.robots.motor_readings import MOTOR_QUANTITIES


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def readings(**values: float) -> dict[str, float]:
    """One motor's values by key; what is not named is unknown."""
    return {one.key: values.get(one.key, math.nan) for one in MOTOR_QUANTITIES}


@dataclass
class Running:
    """A dashboard that serves on a free port of the loopback."""

    site: object
    server: object
    port: int
    thread: threading.Thread
    open: list[http.client.HTTPConnection] = field(default_factory=list)

    def request(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        self.open.append(connection)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def text(self, path: str, **headers: str) -> str:
        return self.request(path, **headers).read().decode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def motor() -> Callable[..., dict[str, float]]:
    return readings


@pytest.fixture
def run_site() -> Iterator[Callable[..., Running]]:
    """Return a function that serves a Site in a thread; everything ends with the test."""
    pytest.importorskip("starlette", reason="the extra `fleet` is not installed")
    from waldo.cli.fleet import listen
    from waldo.fleet.server import Server, Site

    started: list[Running] = []

    def run(site: Site) -> Running:
        server = Server(site)
        listening = listen("127.0.0.1", 0)
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        running = Running(site, server, listening.getsockname()[1], thread)
        started.append(running)
        return running

    yield run
    for running in started:
        running.server.stop()
        running.thread.join(timeout=120)
        for connection in running.open:
            connection.close()
        assert not running.thread.is_alive()
