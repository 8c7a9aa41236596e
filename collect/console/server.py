"""The console's server, on a thread of its own beside the recorder."""

from __future__ import annotations

import functools
import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

from waldo.collect.console.app import MAX_TEXT, create_app
from waldo.collect.console.view import ConsoleView
from waldo.web.connection import Connection
from waldo.web.hosts import is_loopback

MAX_CONNECTIONS = 100
"""Connections beyond this number are refused: slow or hostile clients must not exhaust the server."""


class ConsoleServer:
    """Serves a console while the `with` block runs."""

    def __init__(self, view: ConsoleView, listening: socket.socket, *, host: str, token: str | None = None) -> None:
        """Initialize.

        Args:
            view: What the pages show.
            listening: The listening socket.
            host: Address on which it listens.
            token: Token that every page must log in with; None only on the loopback interface.
        """
        app = create_app(view, token=token, loopback=is_loopback(host))
        protocol: Any = functools.partial(Connection, max_connections=MAX_CONNECTIONS)
        self._listening = listening
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="websockets-sansio",
                ws_max_size=4 * MAX_TEXT,
                lifespan="off",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="console", daemon=True
        )

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
