"""The web server: the page, its event stream, JSON for scripts and Prometheus metrics."""

from __future__ import annotations

import functools
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from waldo.fleet.feed import Feed, encode
from waldo.fleet.metrics import FleetCollector, metrics_text
from waldo.fleet.serialization import fleet_parts
from waldo.web.access import AccessControl, require
from waldo.web.page_files import login_page, page_routes
from waldo.web.roles import Role
from waldo.web.security import Security
from waldo.web.server import WebServer

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request

    from waldo.fleet.store import FleetStore

MAX_BROWSERS = 1000
"""Default maximum number of open pages."""

SWITCH_INTERVAL_S = 0.0005
"""Interval at which the threads of the server take turns; Python's default is 5 ms [s]."""

PACKAGE = "waldo.fleet"
"""Package with the files of the page."""
PAGE_FILES = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
    "/attention.js": "text/javascript",
    "/robot.js": "text/javascript",
    "/readings.js": "text/javascript",
    "/format.js": "text/javascript",
    "/chart.js": "text/javascript",
    "/icon.svg": "image/svg+xml",
}
"""Path -> media type of the page's files other than `/`."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The content of the server and its access rules."""

    store: FleetStore
    """The robots."""
    error: Callable[[], str | None] = lambda: None
    """Returns the reason why no messages are received; None if they are."""
    clock: Callable[[], float] = time.monotonic
    """The store's clock [s]."""
    epoch: Callable[[], float] = time.time
    """The clock of timestamps [s since the epoch]."""
    security: Security = field(default_factory=lambda: Security(application="fleet"))
    """Who may do what; by default every user of this machine everything."""
    max_browsers: int = MAX_BROWSERS
    """Maximum number of open pages; further ones receive 503."""
    name: str = ""
    """Location of the robots: the label `site` of `waldo_robot_info`; empty to omit the label."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server stops; open event streams then end."""


def accepts_gzip(request: Request) -> bool:
    """Return whether a client accepts gzip."""
    accepted = [one.strip().partition(";") for one in request.headers.get("accept-encoding", "").lower().split(",")]
    return any(name == "gzip" and options.replace(" ", "") != "q=0" for name, _, options in accepted)


def create_app(site: Site) -> Starlette:
    """Return the web application of a site."""
    feed = Feed(site.store, site.clock, site.error, site.stopping)
    collector = FleetCollector(site.store, clock=site.clock, epoch=site.epoch, site=site.name)

    async def robots(_: Request) -> Response:
        now = site.clock()
        document = await encode(fleet_parts(site.store.robots(now), now, site.error()))
        return Response(document.plain, media_type="application/json")

    async def forget(request: Request) -> Response:
        if refusal := require(request, Role.OPERATE):
            return refusal
        name = request.path_params["name"]
        if site.store.forget(name, site.clock()):
            return Response(status_code=204)
        if any(robot.name == name for robot in site.store.robots(site.clock(), history=False)):
            return PlainTextResponse(f"{name} is not stale; stop its robot node first\n", 409)
        return PlainTextResponse(f"no robot {name}; /api/robots lists them\n", 404)

    async def stream(request: Request) -> Response:
        if feed.browsers >= site.max_browsers:
            text = f"the maximum of open pages is reached ({site.max_browsers}); close one, or raise --max-browsers\n"
            return PlainTextResponse(text, 503, {"Retry-After": "5"})
        compressed = accepts_gzip(request)
        headers = {"X-Accel-Buffering": "no", "Vary": "Accept-Encoding"}
        return StreamingResponse(
            feed.stream(compressed=compressed),
            media_type="text/event-stream",
            headers=headers | ({"Content-Encoding": "gzip"} if compressed else {}),
        )

    async def metrics(_: Request) -> Response:
        return Response(await metrics_text(collector), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_: Request) -> Response:
        error = site.error()
        return PlainTextResponse("ok\n" if error is None else f"{error}\n", 200 if error is None else 503)

    return Starlette(
        routes=[
            *page_routes(PACKAGE, PAGE_FILES),
            Route("/api/robots", robots),
            Route("/api/robots/{name:path}", forget, methods=["DELETE"]),
            Route("/events", stream),
            Route("/metrics", metrics),
            Route("/healthz", health),
        ],
        middleware=[
            Middleware(
                AccessControl,
                security=site.security,
                login_page=functools.partial(login_page, "fleet", "waldo fleet"),
            )
        ],
    )


class Server(WebServer):
    """A server that closes open event streams on Ctrl-C or SIGTERM and then returns."""

    def __init__(self, site: Site) -> None:
        # A page loads its files over several connections at once, beside its stream.
        connections = 2 * site.max_browsers + 100
        allow_open_files(2 * connections)
        super().__init__(create_app(site), site.security, max_connections=connections)
        self._site = site

    def stop(self) -> None:
        """Stop the server; may be called from another thread."""
        self._site.stopping.set()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle SIGINT and SIGTERM; unlike in uvicorn, the signals are not raised again after the shutdown."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {sig: signal.signal(sig, lambda *_: self.stop()) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in previous.items():
                signal.signal(sig, handler)


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files to `count`, as far as the system allows it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(site: Site, listening: socket.socket) -> None:
    """Serve until Ctrl-C, SIGTERM or `site.stopping`."""
    # Each write to a browser releases the interpreter, which the thread of the ROS listener then holds for this long.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # The objects of the imported modules need no garbage collection, whose pauses would delay responses.
    gc.freeze()
    Server(site).run(sockets=[listening])
