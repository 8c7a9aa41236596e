"""A web server: uvicorn with limits of connections and TLS, in the main thread or on a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import threading
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from waldo.errors import WaldoError
from waldo.web.connections.http_connection import Connection
from waldo.web.security import Security
from waldo.web.tls.certificate import CHECK_S
from waldo.web.tls.handshakes import Handshakes

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOG = logging.getLogger("waldo.web")

TICK_S = 0.1
"""Interval at which uvicorn calls `on_tick` [s]."""


class WebServer(uvicorn.Server):
    """A uvicorn server with TLS if the security has a certificate, which is renewed while the server runs."""

    def __init__(
        self,
        app: ASGIApp,
        security: Security,
        *,
        max_connections: int,
        per_network: int | None = None,
        urgent: Collection[str] = (),
        max_message: int | None = None,
    ) -> None:
        """Initialize.

        Args:
            app: The application.
            security: Its access rules.
            max_connections: Number of connections; further ones are refused.
            per_network: Number of connections of one address; None for no limit of its own.
            urgent: Paths that are answered beyond these limits, too.
            max_message: Largest message of a WebSocket [bytes]; None if the application has none.
        """
        make: Any = functools.partial(
            Connection, max_connections=max_connections, per_network=per_network, urgent=urgent
        )
        protocol: Any = Handshakes(security.certificate.context, make) if security.certificate else make
        sockets: Any = "none"
        if max_message is not None:
            # Imported here because the dashboards, which have no WebSockets, do not depend on the library.
            from waldo.web.connections.socket_connection import SocketConnection

            sockets = SocketConnection
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws=sockets,
                # uvloop reads before a new connection's protocol can pause it: the start of a handshake would be lost.
                loop="asyncio" if security.certificate else "auto",
                ws_max_size=max_message or 0,
                lifespan="off",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._security = security

    async def on_tick(self, counter: int) -> bool:
        """Renew the certificate from time to time, and return whether the server stops."""
        certificate = self._security.certificate
        if certificate is not None and counter % round(CHECK_S / TICK_S) == 1:
            await asyncio.to_thread(self._renew)
        return await super().on_tick(counter)

    def _renew(self) -> None:
        certificate = self._security.certificate
        try:
            if certificate is not None and certificate.renew():
                self._security.on_renewed(certificate.fingerprint())
        except (OSError, WaldoError) as error:  # on a full disk the server keeps the old one
            LOG.error("the certificate cannot be renewed: %s", error)


class ServerThread:
    """Serves while the `with` block runs, on a thread of its own."""

    def __init__(self, server: WebServer, listening: socket.socket, *, name: str) -> None:
        """Initialize; `name` is that of the thread."""
        self._server, self._listening = server, listening
        run: Callable[..., None] = server.run
        self._thread = threading.Thread(target=run, kwargs={"sockets": [listening]}, name=name, daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the pages' connections and stop."""
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()
