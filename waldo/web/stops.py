"""Stops of the pages and of programs, on connections that carry nothing else.

A page keeps a WebSocket to `/stop` open beside its session: neither an image nor a state can be queued before a stop.
A program sends POST. Every visitor may stop the robot: no role, rate limit, age or other page's control refuses a stop.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocketDisconnect

from waldo.web.access import visitor_of
from waldo.web.audit import Audit
from waldo.web.rate_limit import RateLimit
from waldo.web.roles import Visitor

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

STOP_PATH = "/stop"
"""Path of stops: a WebSocket of each page, and POST for programs."""
AUDITS_HZ, AUDITS_BURST = 1.0, 20
"""Rate of stops that are logged [1/s], and how many at once; every stop is carried out."""


class StopLine:
    """Receives stops; used on the event loop of the server only."""

    def __init__(self, stop: Callable[[], object], audit: Audit, *, limit: int) -> None:
        """Initialize.

        Args:
            stop: Stops the robot.
            audit: The audit log.
            limit: Number of WebSockets that are open at a time.
        """
        self._stop, self._audit, self._limit = stop, audit, limit
        self._open = 0
        self._logged = RateLimit(AUDITS_HZ, AUDITS_BURST)

    async def serve(self, socket: WebSocket) -> None:
        """Stop the robot at each message of a page, whatever it contains, and confirm it."""
        if self._open >= self._limit:
            await socket.close(4429, "too many pages are open")
            return
        await socket.accept()
        self._open += 1
        try:
            with contextlib.suppress(WebSocketDisconnect):
                while (await socket.receive())["type"] == "websocket.receive":
                    self.stop(visitor_of(socket))
                    await socket.send_text(json.dumps({"kind": "stopped"}))
        finally:
            self._open -= 1

    async def post(self, request: Request) -> Response:
        """Stop the robot."""
        self.stop(visitor_of(request))
        return PlainTextResponse("stopped\n")

    def stop(self, visitor: Visitor) -> None:
        """Stop the robot, and log who did."""
        self._stop()
        if self._logged.allow():
            self._audit.record("request", visitor, request="stop_motion")
