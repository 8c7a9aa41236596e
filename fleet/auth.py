"""Who may read the dashboard: the token, the Host header, and the headers that keep a browser to this server.

On the loopback the Host header must name the loopback: otherwise a web page on a name that its owner points at
127.0.0.1 (DNS rebinding) could read the robots through the browser of whoever has it open.
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
"""Sent with every answer."""


def is_loopback(host: str) -> bool:
    """Say whether a host name or address can only be this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the host of a Host header without its port; IPv6 addresses keep no brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def token_of(headers: Mapping[str, str], query: str) -> str:
    """Return the token that a request carries, in `Authorization: Bearer` or in `?token=`; empty for none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return parse_qs(query).get("token", [""])[0]


class Guard:
    """ASGI middleware in front of every route."""

    def __init__(self, app: ASGIApp, *, token: str | None, loopback: bool) -> None:
        """Take the application, the token (None for no check) and whether the server listens on the loopback."""
        self._app, self._token, self._loopback = app, token, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if self._loopback and not is_loopback(host):
            return PlainTextResponse(
                f"The Host header names {host!r}, expected this machine; open http://localhost instead.\n", 421
            )
        if self._token is None:
            return None
        given = token_of(headers, scope["query_string"].decode("latin-1"))
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return PlainTextResponse(
            "A token is needed: open /?token=TOKEN, or send the header Authorization: Bearer TOKEN.\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )
