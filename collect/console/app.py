"""The web application of the console: its page, and the WebSockets of each page.

A page opens two. `/session` carries its state as JSON whenever something changes, at most ten times a second, and
images as binary messages, little-endian:

| type | content |
|---|---|
| uint16 | length of the camera's name [bytes] |
| | the name, UTF-8 |
| int64 | time of the image [ns] |
| uint8 | format: 0 JPEG, 1 an access unit of H.264, 2 one that is a key frame |
| | the JPEG, or the access unit in Annex B; that of a key frame contains its parameter sets |

When it opens, and if its decoder fails, a page states whether it decodes H.264: `{"kind": "decodes", "h264": true}`.
Cameras that publish H.264 are then passed through to it from a key frame on; to other pages they are sent as JPEG.

The page acknowledges each image when it has drawn it. The next JPEG of that camera is sent then: a slow page shows
fewer images, not older ones. A page that does not acknowledge H.264 in time is sent none until the next key frame. The
time from the image's stamp to its acknowledgment is the latency that the page shows.

`/stop` carries stops and nothing else, so that nothing can be queued before one; see `waldo.web.stops`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from waldo.collect.console.review import EpisodeReview
from waldo.collect.console.review_routes import review_routes
from waldo.collect.console.session import Session
from waldo.collect.console.view import STOP, ConsoleView
from waldo.web.access import AccessControl, visitor_of
from waldo.web.page_files import login_page, page_routes
from waldo.web.security import Security
from waldo.web.stops import STOP_PATH, StopLine

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

LOGIN_PAGE = functools.partial(login_page, "console", "waldo operate")
"""The login form of this application."""
PACKAGE = "waldo.collect.console"
"""Package with the files of the page."""
PAGE_FILES: Mapping[str, str] = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
    "/show.js": "text/javascript",
    "/video.js": "text/javascript",
    "/input.js": "text/javascript",
    "/review.js": "text/javascript",
    "/body.js": "text/javascript",
    "/curves.js": "text/javascript",
    "/uPlot.js": "text/javascript",
    "/uPlot.css": "text/css",
    "/icon.svg": "image/svg+xml",
}
"""Path -> media type of the page's files other than `/`."""
MAX_PAGES = 20
"""Number of pages that may be open."""
MAX_TEXT = 4096
"""Largest message of a page [characters]."""


def create_app(view: ConsoleView, security: Security, review: EpisodeReview | None = None) -> Starlette:
    """Return the web application.

    Args:
        view: What it shows.
        security: Who may do what.
        review: The recorded episodes; None without a review of them.
    """
    numbers, pages = itertools.count(1), set[int]()
    stops = StopLine(lambda: view.request(0, STOP, 0.0), security.audit, limit=2 * MAX_PAGES)

    async def session(socket: WebSocket) -> None:
        if len(pages) >= MAX_PAGES:
            security.audit.refuse("too many pages", visitor=visitor_of(socket), path="/session")
            await socket.close(4429, f"{MAX_PAGES} pages are open; close one")
            return
        await socket.accept()
        number = next(numbers)
        pages.add(number)
        try:
            await Session(socket, view, number, stops, security.audit, review=review, max_text=MAX_TEXT).run()
        finally:
            pages.discard(number)

    async def body(_: Request) -> Response:
        return JSONResponse(view.body)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            *page_routes(PACKAGE, PAGE_FILES),
            Route("/healthz", health),
            Route("/body.json", body),
            *(review_routes(review) if review is not None else []),
            WebSocketRoute("/session", session),
            WebSocketRoute(STOP_PATH, stops.serve),
            Route(STOP_PATH, stops.post, methods=["POST"]),
        ],
        middleware=[
            Middleware(AccessControl, security=security, login_page=LOGIN_PAGE),
        ],
    )
