"""The address on which a web server of waldo listens."""

from __future__ import annotations

import errno
import socket

from waldo.errors import InvalidValueError


def require_port(port: int) -> None:
    """Raise InvalidValueError for a port that does not exist."""
    if not 0 <= port <= 65535:
        raise InvalidValueError("--port", port, "0 to 65535")


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


def url_of(host: str, port: int, *, encrypted: bool = False) -> str:
    """Return the address to open in a browser; neither token nor PIN is part of it.

    A server on all interfaces is reached under this machine's address: few networks resolve its name.
    """
    if host in ("0.0.0.0", "::", ""):
        from waldo.web.addresses import network_address

        host = network_address()
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{shown}:{port}/"
