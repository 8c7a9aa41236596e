"""The web server: the page, its live events, JSON for scripts and Prometheus metrics, over one store."""

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

from waldo.fleet.auth import Guard
from waldo.fleet.metrics import FleetCollector
from waldo.fleet.serialization import fleet_json

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request

    from waldo.fleet.store import FleetStore

EVENT_PERIOD_S = 0.5
"""How often the page is told what changed [s]."""

PAGE_FILES = {
    "/style.css": "text/css",
    "/page.js": "text/javascript",
    "/robot.js": "text/javascript",
    "/format.js": "text/javascript",
    "/chart.js": "text/javascript",
    "/icon.svg": "image/svg+xml",
}
"""Path -> media type of what the page consists of beside `/`."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the server shows and to whom."""

    store: FleetStore
    """The robots."""
    error: Callable[[], str | None] = lambda: None
    """Says why nothing is heard, None while all is well."""
    clock: Callable[[], float] = time.monotonic
    """The store's clock [s]."""
    epoch: Callable[[], float] = time.time
    """The clock of timestamps [s since the epoch]."""
    token: str | None = None
    """What a reader must show; None for no check."""
    loopback: bool = True
    """Whether only this machine can reach the server: then the Host header must say so too."""
    name: str = ""
    """Where the robots stand: the label `site` of the metrics."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server ends, so that open event streams end with it."""


def page_file(name: str, query: str) -> str:
    """Return a file of the page; its links to the others carry the query that authorises them."""
    text = importlib.resources.files("waldo.fleet").joinpath("page", name).read_text("utf-8")
    return text.replace("?{query}", query)


def event_text(data: Any, name: str) -> str:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n"


async def events(site: Site) -> AsyncIterator[str]:
    """Yield everything at once, then twice a second the robots that were heard since; a message even if none was."""
    version = -1
    while not site.stopping.is_set():
        now = site.clock()
        robots = site.store.robots(now, history=version < 0)
        yield event_text(fleet_json(robots, now, site.error(), version), "all" if version < 0 else "heard")
        version = max([version, 0, *(robot.version for robot in robots)])
        await asyncio.sleep(EVENT_PERIOD_S)


def create_app(site: Site) -> Starlette:
    """Return the web application over a site."""
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
        middleware=[Middleware(Guard, token=site.token, loopback=site.loopback)],
    )


class Server(uvicorn.Server):
    """uvicorn that ends at once on Ctrl-C or SIGTERM, open event streams included, and then simply returns."""

    def __init__(self, site: Site) -> None:
        """Take what is to be served."""
        super().__init__(
            uvicorn.Config(
                create_app(site), lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
        )
        self._site = site

    def stop(self) -> None:
        """End the server from another thread."""
        self._site.stopping.set()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take the signals that end a program; uvicorn's own version raises them again when it is done."""
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
