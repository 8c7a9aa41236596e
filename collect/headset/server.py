"""The headset server: a source of tracked hands for the device `headset`, over WebXR in the headset's browser."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waldo import console
from waldo.collect.devices.tracking import Side, Tracking
from waldo.collect.headset.operator import OperatorStation
from waldo.collect.headset.video import Video
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition
from waldo.errors import InvalidValueError, MissingExtraError
from waldo.robots.cameras.ros_images import Image
from waldo.robots.description import Robot
from waldo.robots.diagnostics import OK
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.web.listening import listen, url_of
from waldo.web.options import WebOptions
from waldo.web.pairing_display import PairingDisplay, pair_by_lines, shows_pins
from waldo.web.roles import Role

if TYPE_CHECKING:
    from waldo.web.server import ServerThread

MAX_CONNECTIONS = 60
"""Connections beyond this number are refused."""
MAX_PER_NETWORK = 40
"""Connections of one address beyond this number are refused."""


@dataclass(frozen=True, kw_only=True)
class HeadsetWebOptions(WebOptions):
    """Where the headset server listens, and whom it lets in."""

    APPLICATION = "headset"
    TOKEN_VARIABLE = "WALDO_HEADSET_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsetServerOptions(TypedOptions):
    """Options of the headset server."""

    host: str = "127.0.0.1"
    """Address to listen on: 0.0.0.0 for headsets. On any other than the loopback the page is encrypted, which WebXR
    requires, and browsers are paired by a PIN that the terminal shows."""
    port: int = 8653
    """Port to listen on; 0 selects a free port."""
    token: str = ""
    """Token of programs; default: the environment variable WALDO_HEADSET_TOKEN."""
    server_name: str = ""
    """Further names under which browsers reach this server, with commas."""
    certificate: str = ""
    """PEM file with a TLS certificate of your own, instead of the one that is made at the first start."""
    key: str = ""
    """PEM file with its key."""
    audit_log: str = ""
    """File of the audit log; default: a file in the user's data folder."""
    view: str = ""
    """Camera whose age stops the robot when it is too old; empty for the oldest of all cameras."""
    needs_video: bool = True
    """Whether an operator who does not see the robot itself must see its cameras' images."""
    drop_after_s: float = 0.2
    """Age of a pose from which it is dropped [s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for values that cannot work."""
        TypedOptions.__post_init__(self)
        self.require_positive("drop_after_s")

    def web(self) -> WebOptions:
        """Return the options of the web server."""
        return HeadsetWebOptions(
            host=self.host,
            port=self.port,
            token=self.token or os.environ.get(HeadsetWebOptions.TOKEN_VARIABLE) or None,
            server_name=tuple(filter(None, self.server_name.split(","))),
            certificate=Path(self.certificate) if self.certificate else None,
            key=Path(self.key) if self.key else None,
            audit_log=Path(self.audit_log) if self.audit_log else None,
        )


class HeadsetServer:
    """A TrackingSource: serves a page that sends the poses of head and hands, and shows the robot's cameras."""

    Options = HeadsetServerOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize without serving.

        Args:
            robot: The robot; one without cameras needs no video.
            options: Those of `HeadsetServerOptions`.
        """
        self.options = build_options(HeadsetServerOptions, options)
        cameras = [camera.name for camera in robot.cameras]
        if self.options.view and cameras and self.options.view not in cameras:
            raise InvalidValueError("view", self.options.view, f"a camera of {robot.name}: {', '.join(cameras)}")
        self._robot, self._web = robot, self.options.web()
        needed = self.options.needs_video and bool(cameras)
        self.station = OperatorStation(
            video=Video(checked=self.options.view, needed=needed), drop_after_s=self.options.drop_after_s
        )
        self.url = ""
        """Address of the page, once the server is open."""
        self._stack: contextlib.ExitStack | None = None
        self._server: ServerThread | None = None

    def open(self) -> None:
        """Serve the page, and print its address and a PIN.

        Raises:
            ConfigError: If the address cannot be used, or no headset could log in.
            MissingExtraError: If the packages of the web server are not installed.
        """
        if importlib.util.find_spec("uvicorn") is None:
            raise MissingExtraError("uvicorn", "headset")
        from waldo.collect.headset.app import MAX_MESSAGE, create_app
        from waldo.web.server import ServerThread, WebServer
        from waldo.web.stops import STOP_PATH

        self._web.require_login(shows_pins=shows_pins())
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(contextlib.closing(listen(self._web.host, self._web.port)))
            port: int = listening.getsockname()[1]
            security = self._web.security(port)
            stack.enter_context(contextlib.closing(security.audit))
            server = WebServer(
                create_app(self.station, security),
                security,
                max_connections=MAX_CONNECTIONS,
                per_network=None if security.loopback else MAX_PER_NETWORK,
                urgent=(STOP_PATH,),
                max_message=MAX_MESSAGE,
            )
            self._server = stack.enter_context(ServerThread(server, listening, name="headset"))
            self.url = url_of(self._web.host, port, encrypted=security.certificate is not None)
            self._stack = stack.pop_all()
        console.err().print(f"headset page of {self._robot.name} on {self.url}", markup=False)
        display = PairingDisplay(security, self.url)
        display.show_certificate()
        pair_by_lines(display, Role.OPERATE)

    def latest(self) -> Tracking | None:
        """Return the newest sample; None before the first one."""
        return self.station.latest()

    def notify(self, text: str, level: int = OK) -> None:
        """Show a line of text in the headset, in the color of its diagnostic level."""
        self.station.notify(Notice(level=level, text=text))

    def haptics(self, side: Side, amplitude: float, duration_s: float) -> None:
        """Vibrate the controller of a side with an amplitude from 0 to 1 for a duration [s]; a bare hand ignores it."""
        self.station.pulse(side, min(max(amplitude, 0.0), 1.0), min(max(duration_s, 0.0), 5.0))

    def image(self, stream: str, image: bytes | Image, stamp_ns: int) -> None:
        """Show an image of a camera's stream in the headset; depth is not shown."""
        self.station.video.add(stream, image, stamp_ns)

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition in the headset."""
        self.station.condition(condition)

    def take_requests(self) -> list[str]:
        """Return the services that the pages requested since the last call: stops."""
        return self.station.take_requests()

    @property
    def finished(self) -> bool:
        """Whether the server has ended."""
        return self._server is not None and not self._server.is_running

    def close(self) -> None:
        """Stop to serve; may be called more than once, and without `open`."""
        if self._stack is not None:
            self._stack.close()
            self._stack = self._server = None
