"""Access control of a web server: the token, the session of a browser, Host and Origin, and security headers.

Programs send the token as `Authorization: Bearer`. A browser sends it once, in the body of the login form, and receives
a cookie that is derived from it: the token is in no address that a browser, a proxy or a log could store.

A server on the loopback interface accepts only Host headers that name the loopback. Otherwise a web page whose domain
resolves to 127.0.0.1 (DNS rebinding) could read the robots through the browser of a local user. A WebSocket must come
from a page of the server itself: browsers let any page open one, with the user's cookies.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from waldo.web.hosts import host_of, is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response."""

LOGIN = "/login"
"""Path to which the login form is sent."""

OPEN_PATHS = ("/style.css", "/icon.svg")
"""Paths that need no token: the files of the login form."""

MAX_FORM_BYTES = 4096
"""Maximum size of the login form's content [bytes]."""


def token_of(headers: Mapping[str, str], query: str) -> str:
    """Return the token of a request, from `Authorization: Bearer` or `?token=`; empty if there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return parse_qs(query).get("token", [""])[0]


def session_of(token: str, application: str = "fleet") -> tuple[str, str]:
    """Return the name and value of the cookie that stands for a token of an application.

    Both depend on the token: dashboards on other ports of a host share its cookies, and none reveals a token.
    """
    key = token.encode()
    name, value = (hmac.new(key, text, hashlib.sha256).hexdigest() for text in (b"name", b"session"))
    return f"waldo_{application}_{name[:8]}", value


def is_equal(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


class AccessControl:
    """ASGI middleware in front of every route."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        loopback: bool,
        login_page: Callable[[str], str] = str,
        application: str = "fleet",
    ) -> None:
        """Wrap an application.

        Args:
            app: The application to protect.
            token: The required token; None to accept every request.
            loopback: Whether the server listens on the loopback, which enables the check of the Host header.
            login_page: Returns the HTML of the login form with a message.
            application: Name of the application, in the name of its cookie.
        """
        self._app, self._token, self._loopback, self._login_page = app, token, loopback, login_page
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or answer it with the login form, 401 or 421."""
        if scope["type"] == "websocket":
            if reason := self._refused_socket(HTTPConnection(scope)):
                await send({"type": "websocket.close", "code": 4403, "reason": reason})
                return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        request = Request(scope, receive)
        response = self._wrong_host(request) or await self._login(request) or self._rejection(request)
        await (response or self._app)(scope, receive, send_with_headers)

    def _wrong_host(self, request: Request) -> Response | None:
        reason = self._foreign_host(request)
        return PlainTextResponse(f"{reason}\n", 421) if reason else None

    def _foreign_host(self, connection: HTTPConnection) -> str:
        """Return why a Host header is refused; empty if it is not."""
        host = host_of(connection.headers.get("host", ""))
        if not self._loopback or is_loopback(host):
            return ""
        return f"Host header is {host!r}, expected this machine; open http://localhost instead"

    def _refused_socket(self, connection: HTTPConnection) -> str:
        """Return why a WebSocket is refused; empty if it is not."""
        if reason := self._foreign_host(connection):
            return reason
        origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
        if origin and urlsplit(origin).netloc.lower() != host.lower():
            return "opened by another page"
        return "" if self._token is None or self._is_known(connection) else "no valid token"

    def _is_known(self, connection: HTTPConnection) -> bool:
        """Return whether a request carries the token, or the cookie that stands for it."""
        token = self._token or ""
        if is_equal(token_of(connection.headers, connection.url.query), token):
            return True
        name, value = session_of(token, self._application)
        return is_equal(connection.cookies.get(name, ""), value)

    async def _login(self, request: Request) -> Response | None:
        """Return the response to a login, by the form or by the address `/?token=`; None for any other request."""
        if self._token is None:
            return None
        if request.url.path == LOGIN and request.method == "POST":
            given = await _form_token(request)
            if not is_equal(given, self._token):
                return self._unauthorized(request, "This is not the token.")
        elif not (request.url.path == "/" and is_equal(token_of({}, request.url.query), self._token)):
            return None
        response = RedirectResponse("./", 303)
        name, value = session_of(self._token, self._application)
        response.set_cookie(name, value, httponly=True, samesite="lax")
        return response

    def _rejection(self, request: Request) -> Response | None:
        if self._token is None or request.url.path in OPEN_PATHS:
            return None
        return None if self._is_known(request) else self._unauthorized(request)

    def _unauthorized(self, request: Request, message: str = "") -> Response:
        """Return 401: to a browser as the login form."""
        challenge = {"WWW-Authenticate": "Bearer"}
        if request.url.path in ("/", LOGIN) and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._login_page(message), 401, challenge)
        return PlainTextResponse(
            "no valid token; send the header Authorization: Bearer TOKEN, or open / in a browser\n", 401, challenge
        )


async def _form_token(request: Request) -> str:
    """Return the field `token` of a form; empty if there is none or the form is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
