"""`waldo fleet`: the dashboard of the robots on this network."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from urllib.parse import quote

from waldo.errors import InvalidValueError, MissingOptionError

TOKEN_VARIABLE = "WALDO_FLEET_TOKEN"
"""Environment variable with the token, which keeps it out of the process list."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 selects a free port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InvalidValueError(
                "--port", port, "a free port", "stop the program that uses it or pass another port"
            ) from error
        raise InvalidValueError("--host", host, f"an address of this machine ({error.strerror})") from error


def url_of(host: str, port: int, token: str | None) -> str:
    """Return the address to open in a browser."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + ("" if token is None else "?token=" + quote(token, safe=""))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Serve a dashboard of the robots on this network: motor heat, time to limit, faults; metrics for Prometheus.

    Robots are discovered automatically: every publisher of diagnostic_msgs/DiagnosticArray on a topic named `motors` in
    the same ROS_DOMAIN_ID.
    """

    host: str = "127.0.0.1"
    """Address to listen on; an address other than the loopback requires a token."""
    port: int = 8650
    """Port to listen on; 0 selects a free port."""
    token: str | None = None
    """Token that every request must carry; default: the environment variable WALDO_FLEET_TOKEN."""
    site: str = ""
    """Location of the robots, the label `site` of the metrics."""

    def __post_init__(self) -> None:
        """Validate the options: without a token only a loopback address is allowed."""
        from waldo.fleet.auth import is_loopback

        if not 0 <= self.port <= 65535:
            raise InvalidValueError("--port", self.port, "0 to 65535")
        if self.secret == "":
            raise InvalidValueError("--token", "", "one character or more")
        if self.secret is None and not is_loopback(self.host):
            raise MissingOptionError(
                f"--host {self.host}",
                "--token",
                "pass --token SECRET, or listen on a loopback address such as 127.0.0.1",
            )

    @property
    def secret(self) -> str | None:
        """The token from the option or the environment."""
        return self.token if self.token is not None else os.environ.get(TOKEN_VARIABLE)

    def run(self) -> int:
        """Serve until Ctrl-C."""
        from waldo.console import err
        from waldo.fleet.auth import is_loopback
        from waldo.fleet.listener import Listener
        from waldo.fleet.server import Site, serve
        from waldo.fleet.store import FleetStore
        from waldo.ros import check_domain

        check_domain()
        store = FleetStore()
        with listen(self.host, self.port) as listening, Listener(store) as listener:
            site = Site(
                store=store,
                error=lambda: listener.error,
                token=self.secret,
                loopback=is_loopback(self.host),
                name=self.site,
            )
            address = url_of(self.host, listening.getsockname()[1], self.secret)
            domain = os.environ.get("ROS_DOMAIN_ID") or "0"
            err().print(f"fleet dashboard of ROS domain {domain} on {address}  (Ctrl-C to stop)", markup=False)
            serve(site, listening)
        return 0
