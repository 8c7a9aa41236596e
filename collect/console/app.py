"""The web application of the console: its page, and one WebSocket for each page.

A page receives its state as JSON whenever something changes, at most ten times a second, and images as binary messages:
the length of the camera's name, the name, the time of the image [ns, int64, little-endian], and the JPEG. It
acknowledges each image when it has drawn it. The next one of that camera is sent then: a slow page shows fewer images,
not older ones. The time from the image's stamp to its acknowledgement is the latency that the page shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import struct
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from waldo.collect.console.view import ConsoleView
from waldo.web.access import AccessControl
from waldo.web.page_files import login_page, page_file

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

PACKAGE = "waldo.collect.console"
"""Package with the files of the page."""
PAGE_FILES: Mapping[str, str] = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
    "/show.js": "text/javascript",
    "/input.js": "text/javascript",
    "/icon.svg": "image/svg+xml",
}
"""Path -> media type of the page's files other than `/`."""
STATE_S = 0.1
"""Shortest interval between two states [s]."""
REPEAT_S = 1.0
"""Longest interval between two states [s], by which a page notices that the connection is lost."""
SHOWN_TIMEOUT_S = 2.0
"""Time after which an image that was not acknowledged is followed by another one [s]."""
MAX_PAGES = 20
"""Number of pages that may be open."""
MAX_TEXT = 4096
"""Largest message of a page [characters]."""
LATENCIES = 30
"""Number of images over which the latency is stated."""


class Session:
    """One page: what it has been sent, and what it requests."""

    def __init__(self, socket: WebSocket, view: ConsoleView, number: int) -> None:
        """Serve an accepted WebSocket; `number` identifies the page."""
        self._socket, self._view, self.number = socket, view, number
        self._changed, self._new_image = asyncio.Event(), asyncio.Event()
        self._sent: dict[str, int] = {}
        """Camera -> number of the last image that was sent."""
        self._open: dict[str, tuple[int, float]] = {}
        """Camera -> stamp of an image that is not acknowledged yet [ns], and the time it was sent [s]."""
        self._latencies: dict[str, deque[float]] = {}
        self._replies: list[str] = []

    async def run(self) -> None:
        """Serve the page until it is closed."""
        loop = asyncio.get_running_loop()

        def wake(is_image: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the server has been stopped
                loop.call_soon_threadsafe((self._new_image if is_image else self._changed).set)

        client = self._socket.client
        self._view.open_page(self.number, client.host if client else "", wake)
        sending = [asyncio.create_task(self._send_states()), asyncio.create_task(self._send_images())]
        try:
            with contextlib.suppress(WebSocketDisconnect):
                while True:
                    self._receive(await self._socket.receive_text())
        finally:
            self._view.close_page(self.number)
            for task in sending:
                task.cancel()
            # Sending to a page that has just been closed fails.
            await asyncio.gather(*sending, return_exceptions=True)

    def _receive(self, text: str) -> None:
        """Handle a message of the page; one that is not understood is answered."""
        try:
            parsed = json.loads(text) if len(text) <= MAX_TEXT else None
        except ValueError:
            parsed = None
        message: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
        kind = message.get("kind")
        if kind == "shown":
            self._shown(str(message.get("camera")), message.get("stamp_ns"))
        elif kind == "request":
            sent_s = message.get("server_s")
            age_s = time.time() - sent_s if isinstance(sent_s, int | float) else float("inf")
            if reason := self._view.request(self.number, str(message.get("name")), age_s):
                self._replies.append(reason)
                self._changed.set()
        elif kind == "take_control":
            self._view.take_control(self.number)
        elif kind == "hand_over":
            self._view.hand_over(self.number)
        else:
            self._replies.append("a message that is not understood was dropped; reload the page")
            self._changed.set()

    def _shown(self, camera: str, stamp: object) -> None:
        expected = self._open.get(camera)
        if expected is None or str(expected[0]) != stamp:
            return
        del self._open[camera]
        latency_s = time.time() - expected[0] / 1e9
        self._latencies.setdefault(camera, deque(maxlen=LATENCIES)).append(latency_s)
        self._new_image.set()

    async def _send_states(self) -> None:
        while True:
            state = self._view.state(self.number)
            replies, self._replies = self._replies, []
            latency = {name: sorted(found)[len(found) // 2] for name, found in self._latencies.items() if found}
            state |= {"server_s": time.time(), "latency_s": latency, "replies": replies}
            await self._socket.send_text(json.dumps(state, allow_nan=False))
            await asyncio.sleep(STATE_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPEAT_S - STATE_S)
            self._changed.clear()

    async def _send_images(self) -> None:
        while True:
            for image in self._view.images():
                open_since = self._open.get(image.camera)
                is_waiting = open_since is not None and time.monotonic() - open_since[1] < SHOWN_TIMEOUT_S
                if is_waiting or self._sent.get(image.camera) == image.number:
                    continue
                self._sent[image.camera] = image.number
                self._open[image.camera] = image.stamp_ns, time.monotonic()
                name = image.camera.encode()
                head = struct.pack("<H", len(name)) + name + struct.pack("<q", image.stamp_ns)
                await self._socket.send_bytes(head + await asyncio.to_thread(image.jpeg))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._new_image.wait(), SHOWN_TIMEOUT_S)
            self._new_image.clear()


def create_app(view: ConsoleView, *, token: str | None = None, loopback: bool = True) -> Starlette:
    """Return the web application.

    Args:
        view: What it shows.
        token: Token that every page must log in with; None on the loopback interface.
        loopback: Whether the server listens on the loopback interface.
    """
    numbers, pages = itertools.count(1), set[int]()

    async def page(request: Request) -> Response:
        name = request.url.path.lstrip("/") or "index.html"
        return Response(page_file(PACKAGE, name), media_type=PAGE_FILES.get(request.url.path, "text/html"))

    async def session(socket: WebSocket) -> None:
        if len(pages) >= MAX_PAGES:
            await socket.close(4429, f"{MAX_PAGES} pages are open; close one")
            return
        await socket.accept()
        number = next(numbers)
        pages.add(number)
        try:
            await Session(socket, view, number).run()
        finally:
            pages.discard(number)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    options: dict[str, Any] = {
        "token": token,
        "loopback": loopback,
        "login_page": functools.partial(login_page, PACKAGE),
    }
    return Starlette(
        routes=[
            *(Route(path, page) for path in ("/", *PAGE_FILES)),
            Route("/healthz", health),
            WebSocketRoute("/session", session),
        ],
        middleware=[Middleware(AccessControl, application="console", **options)],
    )
