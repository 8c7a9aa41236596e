"""The web server: the page, its event stream, JSON for scripts and Prometheus metrics."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from waldo.fleet.auth import AccessControl
from waldo.fleet.metrics import FleetCollector
from waldo.fleet.serialization import fleet_json

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request

    from waldo.fleet.store import FleetStore

EVENT_PERIOD_S = 0.5
"""Interval between two events of the event stream [s]."""

PAGE_FILES = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
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
    token: str | None = None
    """Token that every request must carry; None to accept every request."""
    loopback: bool = True
    """Whether the server listens on the loopback; the Host header must then name the loopback."""
    name: str = ""
    """Location of the robots: the label `site` of `waldo_robot_info`; empty to omit the label."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server stops; open event streams then end."""


def page_file(name: str, query: str) -> str:
    """Return a file of the page, with the query that carries the token appended to its links to the other files."""
    text = importlib.resources.files("waldo.fleet").joinpath("page", name).read_text("utf-8")
    return text.replace("?{query}", query)


def event_text(data: Any, name: str) -> str:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n"


async def events(site: Site) -> AsyncIterator[str]:
    """Yield the whole fleet, then every `EVENT_PERIOD_S` the robots that have changed; an event even if none has."""
    version = -1
    while not site.stopping.is_set():
        now = site.clock()
        robots = site.store.robots(now, history=version < 0)
        yield event_text(fleet_json(robots, now, site.error(), version), "all" if version < 0 else "update")
        version = max([version, 0, *(robot.version for robot in robots)])
        await asyncio.sleep(EVENT_PERIOD_S)


def create_app(site: Site) -> Starlette:
    """Return the web application of a site."""
    registry = CollectorRegistry()
    FleetCollector(site.store, clock=site.clock, epoch=site.epoch, site=site.name, registry=registry)
    query = "" if site.token is None else "?token=" + quote(site.token, safe="")

    async def page(request: Request) -> Response:
        name = request.url.path.lstrip("/") or "index.html"
        return Response(page_file(name, query), media_type=PAGE_FILES.get(request.url.path, "text/html"))

    async def robots(_: Request) -> Response:
        now = site.clock()
        return JSONResponse(fleet_json(site.store.robots(now), now, site.error()))

    async def stream(_: Request) -> Response:
        return StreamingResponse(events(site), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_: Request) -> Response:
        error = site.error()
        return PlainTextResponse("ok\n" if error is None else f"{error}\n", 200 if error is None else 503)

    return Starlette(
        routes=[
            *(Route(path, page) for path in ("/", *PAGE_FILES)),
            Route("/api/robots", robots),
            Route("/events", stream),
            Route("/metrics", metrics),
            Route("/healthz", health),
        ],
        middleware=[Middleware(AccessControl, token=site.token, loopback=site.loopback)],
    )


class Server(uvicorn.Server):
    """A uvicorn server that closes open event streams on Ctrl-C or SIGTERM and then returns."""

    def __init__(self, site: Site) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(site), lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
        )
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


def serve(site: Site, listening: socket.socket) -> None:
    """Serve until Ctrl-C, SIGTERM or `site.stopping`."""
    Server(site).run(sockets=[listening])
