"""`waldo operate` records episodes like `waldo record`, with a console in the browser."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waldo import console
from waldo.cli.record import Record
from waldo.cli.support.listening import listen, require_token, url_of
from waldo.errors import MissingExtraError

if TYPE_CHECKING:
    from waldo.collect.console.view import ConsoleView
    from waldo.robots.description import Robot

TOKEN_VARIABLE = "WALDO_CONSOLE_TOKEN"
"""Environment variable with the token, which keeps it out of the process list."""


@dataclass(frozen=True, kw_only=True)
class Operate(Record):
    """Record a robot from a console in the browser: cameras, heat, streams, and the recorder's requests by key.

    The keys of the terminal work as in `waldo record`. Of several pages one operates, the others watch, and each of
    them may stop the robot.
    """

    host: str = "127.0.0.1"
    """Address to listen on; an address other than the loopback requires a token."""
    port: int = 8652
    """Port to listen on; 0 selects a free port."""
    token: str | None = None
    """Token that every page must log in with; default: the environment variable WALDO_CONSOLE_TOKEN, which other users
    of this machine cannot see."""

    def __post_init__(self) -> None:
        """Raise unless there is a token for any address other than the loopback."""
        require_token(self.host, self.port, self.secret)

    @property
    def secret(self) -> str | None:
        """The token from the option or the environment."""
        return self.token if self.token is not None else os.environ.get(TOKEN_VARIABLE)

    def run(self) -> int:
        """Record until SIGINT, SIGTERM, or escape."""
        return self._record(self._open_console)

    @contextmanager
    def _open_console(self, robot: Robot) -> Generator[ConsoleView]:
        """Serve the console of a robot while the block runs."""
        try:
            from waldo.collect.console.server import ConsoleServer
        except ImportError:
            raise MissingExtraError("uvicorn", "console") from None
        from waldo.collect.console.view import ConsoleView

        listening = listen(self.host, self.port)
        view = ConsoleView(self.namespace or robot.name, robot.joint_names, self.episodes)
        address = url_of(self.host, listening.getsockname()[1])
        login = "" if self.secret is None else "; log in with the token"
        console.err().print(f"console of {view.robot} on {address}{login}", markup=False)
        with ConsoleServer(view, listening, host=self.host, token=self.secret):
            yield view
