"""`waldo operate` records episodes like `waldo record`, with a console in the browser."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from waldo import console
from waldo.cli.record import Record
from waldo.errors import InvalidValueError, MissingExtraError
from waldo.web.listening import listen, url_of
from waldo.web.options import WebOptions

if TYPE_CHECKING:
    from waldo.collect.console.view import ConsoleView
    from waldo.robots.description import Robot
    from waldo.web.pairing_display import PairingDisplay


@dataclass(frozen=True, kw_only=True)
class Operate(WebOptions, Record):
    """Record a robot from a console in the browser: cameras, heat, streams, and the recorder's requests by key.

    The keys of the terminal work as in `waldo record`. Of several pages one operates, the others watch, and each of
    them may stop the robot.
    """

    APPLICATION: ClassVar[str] = "console"
    """Name of the application, in its cookies and files."""
    TOKEN_VARIABLE: ClassVar[str] = "WALDO_CONSOLE_TOKEN"
    """Environment variable with the token, which keeps it out of the process list."""

    port: int = 8652
    """Port to listen on; 0 selects a free port."""
    max_request_age_s: float = 1.0
    """Age from which a page's request is dropped [s]; a stop never is."""

    def __post_init__(self) -> None:
        """Validate the options."""
        super().__post_init__()
        if not self.max_request_age_s > 0:
            raise InvalidValueError("--max-request-age-s", self.max_request_age_s, "a number of seconds above 0")

    def run(self) -> int:
        """Record until SIGINT, SIGTERM, or escape."""
        from waldo.web.pairing_display import shows_pins

        self.require_login(shows_pins=shows_pins())
        displays: list[PairingDisplay] = []

        def on_key(key: str) -> bool:
            return any(display.press(key) for display in displays)

        return self._record(lambda robot: self._open_console(robot, displays), on_key)

    @contextmanager
    def _open_console(self, robot: Robot, displays: list[PairingDisplay]) -> Generator[ConsoleView]:
        """Serve the console of a robot while the block runs; the display of its PINs is added to `displays`."""
        try:
            from waldo.collect.console.server import ConsoleServer
        except ImportError:
            raise MissingExtraError("uvicorn", "console") from None
        from waldo.collect.console.body_map import body_map
        from waldo.collect.console.review import EpisodeReview
        from waldo.collect.console.view import ConsoleView
        from waldo.web.pairing_display import USAGE, PairingDisplay
        from waldo.web.roles import Role

        listening = listen(self.host, self.port)
        port: int = listening.getsockname()[1]
        security = self.security(port)
        view = ConsoleView(
            self.namespace or robot.name,
            robot.joint_names,
            self.episodes,
            body=body_map(robot),
            max_request_age_s=self.max_request_age_s,
        )
        address = url_of(self.host, port, encrypted=security.certificate is not None)
        login = "" if self.secret is None else "; log in with the token"
        display = PairingDisplay(security, address)
        console.err().print(f"console of {view.robot} on {address}{login}", markup=False)
        display.show_certificate()
        if display.is_active:
            console.err().print(USAGE, markup=False)
            display.show(Role.OPERATE)
        displays.append(display)
        with closing(security.audit), ConsoleServer(view, listening, security, EpisodeReview(self.dataset)):
            yield view
