"""The web application of the headset server: its page, and the WebSockets of each page."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from waldo.collect.headset.operator import OperatorStation
from waldo.collect.headset.pose_message import MAX_BYTES
from waldo.collect.headset.session import MAX_TEXT, HeadsetSession, ImageSession
from waldo.web.access import AccessControl, visitor_of
from waldo.web.page_files import login_page, page_routes
from waldo.web.security import Security
from waldo.web.stops import STOP_PATH, StopLine

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

LOGIN_PAGE = functools.partial(login_page, "headset", "waldo teleop headset")
"""The login form of this application."""
PACKAGE = "waldo.collect.headset"
"""Package with the files of the page."""
PAGE_FILES: Mapping[str, str] = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
    "/link.js": "text/javascript",
    "/poses.js": "text/javascript",
    "/immersive.js": "text/javascript",
    "/panels.js": "text/javascript",
    "/cameras.js": "text/javascript",
    "/icon.svg": "image/svg+xml",
}
"""Path -> media type of the page's files other than `/`."""
MAX_PAGES = 10
"""Number of pages that may be open."""
MAX_MESSAGE = max(MAX_BYTES, 4 * MAX_TEXT)
"""Largest message of a page [bytes]."""


def create_app(station: OperatorStation, security: Security) -> Starlette:
    """Return the web application.

    Args:
        station: What its pages share with the device.
        security: Who may do what.
    """
    pages = set[int]()
    wakes = set[asyncio.Event]()
    stops = StopLine(station.stop, security.audit, limit=2 * MAX_PAGES)

    async def refused(socket: WebSocket, count: int) -> bool:
        if count < MAX_PAGES:
            await socket.accept()
            return False
        security.audit.refuse("too many pages", visitor=visitor_of(socket), path=socket.url.path)
        await socket.close(4429, f"{MAX_PAGES} pages are open; close one")
        return True

    async def session(socket: WebSocket) -> None:
        if await refused(socket, len(pages)):
            return
        # Random: a page proves with it, on its other connection, that the images that it has drawn are its own.
        number = secrets.randbelow(2**52)
        pages.add(number)
        try:
            await socket.send_json({"kind": "page", "number": number})
            await HeadsetSession(socket, station, number, security.audit).run()
        finally:
            pages.discard(number)

    async def images(socket: WebSocket) -> None:
        if await refused(socket, len(wakes)):
            return
        line, loop = ImageSession(socket, station), asyncio.get_running_loop()

        def wake_all() -> None:
            with contextlib.suppress(RuntimeError):  # the server has been stopped
                loop.call_soon_threadsafe(lambda: [one.set() for one in wakes])

        wakes.add(line.new)
        station.video.on_image = wake_all
        try:
            await line.run()
        finally:
            wakes.discard(line.new)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            *page_routes(PACKAGE, PAGE_FILES),
            Route("/healthz", health),
            WebSocketRoute("/session", session),
            WebSocketRoute("/images", images),
            WebSocketRoute(STOP_PATH, stops.serve),
            Route(STOP_PATH, stops.post, methods=["POST"]),
        ],
        middleware=[
            Middleware(AccessControl, security=security, login_page=LOGIN_PAGE),
        ],
    )
