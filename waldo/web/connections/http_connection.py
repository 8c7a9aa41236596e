"""One HTTP connection of the server, with deadlines and a limit of their number, which uvicorn does not have.

A client must send its whole request, headers included, within `REQUEST_S`, and must read what it receives: a
connection whose output stands still for `STALL_S` is closed. Otherwise slow clients would hold connections
indefinitely.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import h11
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from waldo.web.attempts import network_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

REQUEST_S = 10.0
"""Time in which a connection must deliver a whole request [s]."""

STALL_S = 30.0
"""Time after which a connection is closed if the client reads nothing [s]."""


LINGER = struct.pack("ii", 1, 0)
"""Socket option: close at once, without the output that the client has not read."""


class Connection(H11Protocol):
    """An HTTP/1.1 connection with deadlines."""

    def __init__(
        self,
        *args: Any,
        max_connections: int,
        per_network: int | None = None,
        urgent: Collection[str] = (),
        request_s: float = REQUEST_S,
        stall_s: float = STALL_S,
        **options: Any,
    ) -> None:
        """Build the connection.

        Args:
            *args: Arguments of uvicorn's protocol.
            max_connections: Connections beyond this number are answered with 503, beyond twice this number closed.
            per_network: The same limit for the connections of one address; None for none.
            urgent: Paths of requests that are answered beyond the maximum, too: a stop.
            request_s: Time in which a whole request must arrive [s].
            stall_s: Time after which a client that reads nothing is disconnected [s].
            **options: Further arguments of uvicorn's protocol.
        """
        super().__init__(*args, **options)
        self._max_connections, self._per_network, self._urgent = max_connections, per_network, urgent
        self._request_s, self._stall_s = request_s, stall_s
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        excess = self._excess()
        if excess > 2:
            transport.abort()
            return
        if excess > 1:
            self._answer: Any = self.app
            self.app = self._refuse
        self._watch()

    def _excess(self) -> float:
        """Return the ratio of the open connections to their maximum: of all of them or, if higher, of this address."""
        excess = len(self.connections) / self._max_connections
        if self._per_network is None or self.client is None:
            return excess
        network = network_of(self.client[0])
        # Connections that have become WebSockets are among them.
        clients = [getattr(one, "client", None) for one in self.connections]
        own = sum(client is not None and network_of(client[0]) == network for client in clients)
        return max(excess, own / self._per_network)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Pass the connection to the WebSocket's protocol: its request is complete, however long it stays open."""
        self._cancel()
        self._is_upgraded = True
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Start the deadline of the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        super().connection_lost(exc)
        self._cancel()

    def _cancel(self) -> None:
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes: start the deadline of its reading."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._stall_s, self._reset)

    def resume_writing(self) -> None:
        """The client has read: cancel that deadline."""
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()

    def _watch(self) -> None:
        """Start the deadline of a request, or cancel it once the request is complete."""
        incomplete = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self._is_upgraded
        if incomplete and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._request_s, self.transport.abort)
        elif not incomplete and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _reset(self) -> None:
        """Close the connection and discard its output, which the system would otherwise keep until it is read."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.transport.abort()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") in self._urgent:
            await self._answer(scope, receive, send)
            return
        response = PlainTextResponse(
            f"the maximum of connections is reached ({self._max_connections}); close pages, or try again later\n",
            503,
            {"Connection": "close", "Retry-After": "5"},
        )
        await response(scope, receive, send)
