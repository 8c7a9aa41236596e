"""The console's server, on a thread of its own beside the recorder."""

from __future__ import annotations

import socket

from waldo.collect.console.app import MAX_TEXT, create_app
from waldo.collect.console.review import EpisodeReview
from waldo.collect.console.view import ConsoleView
from waldo.web.security import Security
from waldo.web.server import ServerThread, WebServer
from waldo.web.stops import STOP_PATH

MAX_CONNECTIONS = 100
"""Connections beyond this number are refused: slow or hostile clients must not exhaust the server."""
MAX_PER_NETWORK = 60
"""Connections of one address beyond this number are refused; the others remain for other addresses."""


class ConsoleServer(ServerThread):
    """Serves a console while the `with` block runs."""

    def __init__(
        self,
        view: ConsoleView,
        listening: socket.socket,
        security: Security | None = None,
        review: EpisodeReview | None = None,
    ) -> None:
        """Initialize.

        Args:
            view: What the pages show.
            listening: The listening socket.
            security: Who may do what; by default every user of this machine everything.
            review: The recorded episodes; None without a review of them.
        """
        security = security or Security()
        server = WebServer(
            create_app(view, security, review),
            security,
            max_connections=MAX_CONNECTIONS,
            per_network=None if security.loopback else MAX_PER_NETWORK,
            urgent=(STOP_PATH,),
            max_message=4 * MAX_TEXT,
        )
        super().__init__(server, listening, name="console")
