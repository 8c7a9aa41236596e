"""A WebSocket of a page, for tests without asyncio.

websockets' own synchronous client reads and writes a TLS socket in two threads at a time, which Python 3.12's `ssl`
does not allow: now and then the connection breaks. Here an event loop does both.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, Self

import websockets.asyncio.client


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all pages, on a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pages", daemon=True).start()
    return loop


def _wait[T](work: Coroutine[Any, Any, T], timeout_s: float = 120.0) -> T:
    return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), _loop()).result()


class PageSocket:
    """An open WebSocket; exceptions are those of websockets."""

    def __init__(self, address: str, **options: Any) -> None:
        """Open it; `options` are those of `websockets.connect`."""

        async def opened() -> websockets.asyncio.client.ClientConnection:
            return await websockets.asyncio.client.connect(address, open_timeout=60, **options)

        self._socket = _wait(opened())

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        _wait(self._socket.send(message))

    def recv(self, timeout: float = 60.0) -> str | bytes:
        """Return the next message; raises TimeoutError after a time [s]."""
        return _wait(self._socket.recv(), timeout)

    def close(self) -> None:
        """Close it."""
        _wait(self._socket.close())

    def __enter__(self) -> Self:
        """Return the open socket."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
