"""The address on which a web server of waldo listens."""

from __future__ import annotations

import errno
import socket

from waldo.errors import InvalidValueError, MissingOptionError


def require_token(host: str, port: int, secret: str | None) -> None:
    """Raise for an impossible port, and unless a server beyond the loopback interface has a token.

    Raises:
        InvalidValueError: If the port does not exist, or the token is empty.
        MissingOptionError: If there is no token.
    """
    from waldo.web.hosts import is_loopback

    if not 0 <= port <= 65535:
        raise InvalidValueError("--port", port, "0 to 65535")
    if secret == "":
        raise InvalidValueError("--token", "", "one character or more")
    if secret is None and not is_loopback(host):
        raise MissingOptionError(
            f"--host {host}", "--token", "pass --token SECRET, or listen on a loopback address such as 127.0.0.1"
        )


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


def url_of(host: str, port: int) -> str:
    """Return the address to open in a browser; the token is never part of it."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
