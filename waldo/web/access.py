"""Access control of a web server: Host and Origin, who a visitor is, pairing, login, and security headers.

Programs send the token as `Authorization: Bearer`. A browser sends a PIN or the token once, in the body of a form, and
receives a cookie: neither is in an address that a browser, a proxy or a log could store.

A Host header must name this machine. Otherwise a web page whose domain resolves to this machine's address (DNS
rebinding) could read the robots through the browser of a local user. A WebSocket, and every request that changes
something, must come from a page of the server itself: browsers let any page send them, with the user's cookies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from waldo.web.browsers import BrowserPages
from waldo.web.hosts import host_of
from waldo.web.page_files import page_file, reload_source
from waldo.web.pairing import PairingError
from waldo.web.roles import Role, Visitor
from waldo.web.security import Security, is_encrypted, session_of
from waldo.web.visits import VISITOR, Visits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'self'; script-src 'self' {reload_source()}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, the origin of a form would be null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response."""

LOGIN, PAIR = "/login", "/pair"
"""Paths to which the forms with the token and with the PIN are sent."""
FILES: Mapping[str, str] = {"/pair.js": "text/javascript", "/stop.js": "text/javascript", "/login.css": "text/css"}
"""Path -> media type of the files that all applications share: of the login form, and for stops."""
OPEN_PATHS = ("/style.css", "/icon.svg", "/pair.js", "/login.css")
"""Paths that every visitor may read: the files of the login form."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
MAX_FORM_BYTES = 4096
"""Maximum size of a form's content [bytes]."""
SESSION_S = 30 * 86400
"""How long a browser keeps the cookie of its pairing [s]."""
PACKAGE = "waldo.web"
"""Package with the files that all applications share."""


class LoginPage(Protocol):
    """Returns the HTML of the login form."""

    def __call__(self, message: str, *, pin: bool, token: bool) -> str:
        """Return the page with a message, and with the forms of those that are in use."""
        ...


def _no_page(message: str, *, pin: bool, token: bool) -> str:
    del pin, token
    return message


class AccessControl:
    """ASGI middleware in front of every route."""

    def __init__(self, app: ASGIApp, *, security: Security, login_page: LoginPage = _no_page) -> None:
        """Wrap an application.

        Args:
            app: The application to protect.
            security: Who may do what.
            login_page: Returns the login form.
        """
        self._security, self._login_page = security, login_page
        self._visits = Visits(app)
        self._browsers = BrowserPages(security, self._visits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or answer it with the login form, 401, 403 or 421."""
        if scope["type"] == "websocket":
            await self._open_socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._visits.app(scope, receive, send)

    async def _open_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        visitor = self._security.visitor(connection)
        reason = self._foreign(connection) or ("" if visitor else "no valid token, and not paired")
        if visitor is None or reason:
            self._refuse(connection, reason, visitor)
            await send({"type": "websocket.close", "code": 4403, "reason": reason})
        else:
            await self._visits.run(visitor, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        request = Request(scope, receive)
        response = self._wrong_host(request) or await self._login(request)
        visitor = None if response else self._security.visitor(request)
        if response is None and visitor is None and request.url.path not in OPEN_PATHS:
            response = self._unauthorized(request)
        if response is None and request.url.path in FILES:
            response = Response(page_file(PACKAGE, request.url.path[1:]), media_type=FILES[request.url.path])
        if response is None and visitor is not None:
            response = self._browsers.respond(request, visitor)
        if response is not None:
            await response(scope, receive, send_with_headers)
        else:
            await self._visits.run(visitor or Visitor(role=Role.WATCH), scope, receive, send_with_headers)

    def _wrong_host(self, request: Request) -> Response | None:
        """Return why a request is refused by its Host or Origin; None if it is not."""
        if reason := self._foreign_host(request):
            self._refuse(request, reason)
            return PlainTextResponse(f"{reason}\n", 421)
        if request.method not in SAFE_METHODS and (reason := self._foreign_origin(request)):
            self._refuse(request, reason)
            return PlainTextResponse(f"{reason}\n", 403)
        return None

    def _foreign_host(self, connection: HTTPConnection) -> str:
        host = host_of(connection.headers.get("host", ""))
        if self._security.accepts_host(host):
            return ""
        do = "open http://localhost instead" if self._security.loopback else "or pass --server-name"
        return f"Host header is {host!r}, expected this machine; {do}"

    def _foreign_origin(self, connection: HTTPConnection) -> str:
        """Return why a request of another page is refused; programs other than browsers send no origin."""
        origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
        if not origin:
            return ""
        parts = urlsplit(origin) if origin.isprintable() else urlsplit("")
        scheme = "https" if is_encrypted(connection) else "http"
        is_same = parts.scheme == scheme and parts.netloc.lower() == host.lower()
        return "" if is_same else "sent by another page"

    def _foreign(self, connection: HTTPConnection) -> str:
        return self._foreign_host(connection) or self._foreign_origin(connection)

    async def _login(self, request: Request) -> Response | None:
        """Return the response to a form with the token or a PIN; None for any other request."""
        if request.method != "POST":
            return None
        if request.url.path == LOGIN and self._security.token is not None:
            return self._log_in((await _form(request)).get("token", ""), request)
        if request.url.path == PAIR and self._security.pairing is not None:
            return self._pair(await _form(request), request)
        return None

    def _log_in(self, given: str, request: Request) -> Response:
        token = self._security.token or ""
        if not self._security.check_token(given, _address(request)):
            self._refuse(request, "wrong token")
            return self._unauthorized(request, "This is not the token.")
        name, value = session_of(token, self._security.application)
        return self._welcome(request, name, value, None)

    def _pair(self, form: Mapping[str, str], request: Request) -> Response:
        """Pair a browser that sends a valid PIN."""
        security, address = self._security, _address(request)
        assert security.pairing is not None
        try:
            role = security.pairing.redeem(form.get("pin", ""), address)
        except PairingError as error:
            self._refuse(request, "too many attempts" if error.wait_s else "wrong PIN")
            return self._unauthorized(request, f"{str(error)[0].upper()}{str(error)[1:]}.", wait_s=error.wait_s)
        if former := security.visitor(request):
            self._browsers.revoke(former.browser, former)
        found, secret = security.paired.add(form.get("name", ""), role)
        visitor = Visitor(role=role, address=address, name=found.name, browser=found.browser)
        security.audit.record("paired", visitor)
        security.on_paired(visitor)
        return self._welcome(request, security.cookie(request), secret, SESSION_S)

    def _welcome(self, request: Request, name: str, value: str, max_age_s: int | None) -> Response:
        response = RedirectResponse("./", 303)
        secure = is_encrypted(request)
        response.set_cookie(name, value, max_age=max_age_s, httponly=True, secure=secure, samesite="strict")
        return response

    def _refuse(self, connection: HTTPConnection, reason: str, visitor: Visitor | None = None) -> None:
        """Record that a request is refused."""
        path = str(connection.scope.get("path", ""))
        self._security.audit.refuse(reason, visitor=visitor, address=_address(connection), path=path)

    def _unauthorized(self, request: Request, message: str = "", *, wait_s: float = 0.0) -> Response:
        """Return 401 or, to an address that must wait, 429: to a browser as the login form."""
        status = 429 if wait_s else 401
        headers = {"Retry-After": f"{wait_s:.0f}"} if wait_s else {"WWW-Authenticate": "Bearer"}
        if request.url.path in ("/", LOGIN, PAIR) and "text/html" in request.headers.get("accept", ""):
            forms: dict[str, Any] = {
                "pin": self._security.pairing is not None,
                "token": self._security.token is not None,
            }
            return HTMLResponse(self._login_page(message, **forms), status, headers)
        if not message:
            self._refuse(request, "no valid token, and not paired")
        text = message or "no valid token; send the header Authorization: Bearer TOKEN, or open / in a browser"
        return PlainTextResponse(f"{text}\n", status, headers)


def visitor_of(connection: HTTPConnection) -> Visitor:
    """Return who sends a request that the access control has let through."""
    visitor = connection.scope[VISITOR]
    assert isinstance(visitor, Visitor)
    return visitor


def require(connection: HTTPConnection, role: Role) -> Response | None:
    """Return the response to a visitor who lacks a role; None if it has it."""
    visitor = visitor_of(connection)
    if visitor.role >= role:
        return None
    return PlainTextResponse(f"the role {role.word} is required; yours is {visitor.role.word}\n", 403)


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form; none if it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
