"""Fixtures of the dashboard: a clock that tests set, motor statuses, and a server on a real socket."""

from __future__ import annotations

import http.client
import math
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.machine import BROWSER, has_browser
from waldo.robots import motor_readings
from waldo.robots.diagnostics import OK, MotorStatus

if TYPE_CHECKING:
    from selenium import webdriver

BROWSER_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--window-size=1280,900",
)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def motor_status(level: int = OK, message: str = "", **values: float) -> MotorStatus:
    """Return a motor's status with values by diagnostic key; the others are unknown."""
    complete = {one.key: values.get(one.key, math.nan) for one in motor_readings.MOTOR_QUANTITIES}
    return MotorStatus(level=level, message=message, values=complete)


@dataclass
class Running:
    """A dashboard on a free port of the loopback."""

    site: object
    server: object
    port: int
    thread: threading.Thread
    open: list[http.client.HTTPConnection] = field(default_factory=list)

    def request(self, path: str, **headers: str) -> http.client.HTTPResponse:
        return self.send("GET", path, **headers)

    def send(self, method: str, path: str, body: str | None = None, /, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        self.open.append(connection)
        connection.request(method, path, body, headers=headers)
        return connection.getresponse()

    def text(self, path: str, **headers: str) -> str:
        return self.request(path, **headers).read().decode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def motor() -> Callable[..., MotorStatus]:
    """Return the function that builds a motor's status."""
    return motor_status


@pytest.fixture
def run_site() -> Iterator[Callable[..., Running]]:
    """Return a function that serves a Site in a thread; the servers stop after the test."""
    from waldo.fleet.server import Server, Site
    from waldo.web.listening import listen

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


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A headless Chromium with logs of its console and its requests."""
    if not has_browser():
        pytest.skip(BROWSER)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for option in BROWSER_OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()
