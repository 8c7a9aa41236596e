"""The requests that are being answered, so that those of a revoked browser can be cut at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from waldo.web.roles import Visitor

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

VISITOR = "waldo.visitor"
"""Key of the scope with the visitor of a request."""
REVOKED = 4401
"""Code with which the WebSocket of a revoked browser is closed."""
CLOSE_S = 2.0
"""Time in which a revoked browser must read that it is, before its connection is dropped [s]."""


class Visits:
    """Runs an application for its visitors; used on the event loop of the server only."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app
        self._running: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)

    async def run(self, visitor: Visitor, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; that of a paired browser ends when the browser is revoked."""
        scope[VISITOR] = visitor
        if not visitor.browser:
            await self.app(scope, receive, send)
            return
        is_started, is_complete = False, False

        async def forward(message: Message) -> None:
            nonlocal is_started
            is_started |= message["type"] in ("websocket.accept", "http.response.start")
            await send(message)

        async def answer() -> None:
            nonlocal is_complete
            await self.app(scope, receive, forward)
            is_complete = True

        task = asyncio.create_task(answer())
        self._running[visitor.browser].add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # the server stops
            self._running[visitor.browser].discard(task)
            if not self._running[visitor.browser]:
                del self._running[visitor.browser]
        with contextlib.suppress(asyncio.CancelledError):
            task.result()
        if not is_complete:
            with contextlib.suppress(Exception):  # the browser has closed the connection meanwhile
                await asyncio.wait_for(_end(scope, send, is_started=is_started), CLOSE_S)

    def cut(self, browser: str) -> None:
        """End the requests of a browser."""
        for task in self._running.get(browser, ()):
            task.cancel()

    def browsers(self) -> set[str]:
        """Return the browsers whose requests are being answered."""
        return set(self._running)


async def _end(scope: Scope, send: Send, *, is_started: bool) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": REVOKED, "reason": "this browser is not paired any more"})
        return
    if not is_started:
        await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
