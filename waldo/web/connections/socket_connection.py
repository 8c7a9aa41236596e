"""One WebSocket of the server: uvicorn's protocol, which ends a server's shutdown at a connection that is closing."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState


class SocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that a server can shut down at any time."""

    def shutdown(self) -> None:
        """Close the connection, even if the client has just begun to close it."""
        try:
            super().shutdown()
        except InvalidState:  # the connection is closing
            self.transport.close()
