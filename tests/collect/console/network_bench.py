"""A console on the network: TLS, PINs, paired browsers and an audit log, in a folder of the test's."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.collect.console.console_bench import Console, running
from tests.collect.console.page_socket import PageSocket
from waldo.web.addresses import Hosts
from waldo.web.audit import Audit
from waldo.web.paired import PairedBrowsers
from waldo.web.pairing import Pairing
from waldo.web.roles import Role
from waldo.web.security import Security
from waldo.web.tls.certificate import ServerCertificate

PORT = 8652
"""Port in the names of cookies: a restarted server listens on the same one."""


@dataclass
class Station:
    """A running console, and what its terminal could do."""

    console: Console
    security: Security
    pairing: Pairing
    folder: Path
    stack: ExitStack
    """Closes the browsers."""
    host: str = "localhost"
    """Name of the server in its address."""

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"https://{self.host}:{self.console.port}"

    @property
    def tls(self) -> ssl.SSLContext:
        """Trusts the certificate of this station and no other one."""
        return ssl.create_default_context(cafile=self.folder / "server.pem")

    def browser(self, **options: Any) -> httpx.Client:
        """Return a browser without a cookie."""
        options.setdefault("headers", {})["Accept"] = "text/html"
        return self.stack.enter_context(httpx.Client(base_url=self.url, verify=self.tls, timeout=60, **options))

    def pair(self, role: Role, name: str = "Quest") -> httpx.Client:
        """Return a paired browser."""
        browser = self.browser()
        answer = browser.post("/pair", data={"pin": self.pairing.offer(role), "name": name})
        assert answer.status_code == 303, answer.text
        return browser

    def open(self, browser: httpx.Client | None, path: str = "/session", **headers: str) -> PageSocket:
        """Return a WebSocket that a browser has opened."""
        if browser is not None:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        origin: Any = headers.pop("Origin", self.url)
        return PageSocket(
            f"wss://{self.host}:{self.console.port}{path}",
            ssl=self.tls,
            additional_headers=headers,
            origin=origin,
        )

    def log(self) -> list[dict[str, Any]]:
        """Return the entries of the audit log."""
        return [json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines()]

    def logged(self, **facts: Any) -> dict[str, Any]:
        """Return the first entry with some facts, once there is one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for entry in self.log():
                if facts.items() <= entry.items():
                    return entry
            time.sleep(0.01)
        raise AssertionError(f"no entry with {facts}: {self.log()}")


@contextmanager
def station(
    folder: Path, *, token: str | None = None, names: tuple[str, ...] = (), listening: socket.socket | None = None
) -> Iterator[Station]:
    """Serve a console as on a network; what it keeps is in the folder.

    Args:
        folder: Of certificate, paired browsers and audit log.
        token: Token of programs.
        names: Further names of the server; with a socket of its own, browsers use the first one.
        listening: A socket that listens; by default one on a free port of the loopback interface.
    """
    hosts = Hosts(names)
    pairing = Pairing()
    security = Security(
        token=token,
        loopback=False,
        port=PORT,
        hosts=hosts,
        pairing=pairing,
        paired=PairedBrowsers(folder / "browsers.json"),
        certificate=ServerCertificate(certificate=folder / "server.pem", hosts=hosts),
        audit=Audit(folder / "audit.log"),
    )
    with closing(security.audit), running(security, listening=listening) as console, ExitStack() as stack:
        yield Station(console, security, pairing, folder, stack, names[0] if listening else "localhost")


def states(page: PageSocket, wanted: Any) -> dict[str, Any]:
    """Return the first state that is wanted; images are skipped."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = page.recv(60)
        if isinstance(message, str) and wanted(state := json.loads(message)):
            return dict(state)
    raise AssertionError("the state did not arrive")


def request(page: PageSocket, name: str) -> None:
    """Send a request of a page."""
    page.send(json.dumps({"kind": "request", "name": name, "server_s": time.time()}))
