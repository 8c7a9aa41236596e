"""Access control of the dashboard: the token, the Host header, and security headers.

A server on the loopback interface accepts only Host headers that name the loopback. Otherwise a web page whose domain
resolves to 127.0.0.1 (DNS rebinding) could read the robots through the browser of a local user.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response."""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the host of a Host header without its port and without the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def token_of(headers: Mapping[str, str], query: str) -> str:
    """Return the token of a request, from `Authorization: Bearer` or `?token=`; empty if there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return parse_qs(query).get("token", [""])[0]


class AccessControl:
    """ASGI middleware in front of every route."""

    def __init__(self, app: ASGIApp, *, token: str | None, loopback: bool) -> None:
        """Wrap an application.

        Args:
            app: The application to protect.
            token: The required token; None to accept every request.
            loopback: Whether the server listens on the loopback, which enables the check of the Host header.
        """
        self._app, self._token, self._loopback = app, token, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or reject it with 401 or 421."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        rejection = self._rejection(scope)
        await (rejection or self._app)(scope, receive, send_with_headers)

    def _rejection(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if self._loopback and not is_loopback(host):
            return PlainTextResponse(
                f"Host header is {host!r}, expected this machine; open http://localhost instead\n", 421
            )
        if self._token is None:
            return None
        given = token_of(headers, scope["query_string"].decode("latin-1"))
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return PlainTextResponse(
            "no valid token; open /?token=TOKEN or send the header Authorization: Bearer TOKEN\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )
