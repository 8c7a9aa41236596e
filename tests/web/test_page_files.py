"""Pages load again if a part of them does not arrive."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import waldo.collect.console.app
import waldo.collect.headset.app
import waldo.fleet.server
from waldo.web.access import AccessControl
from waldo.web.listening import listen
from waldo.web.page_files import page_routes
from waldo.web.security import Security
from waldo.web.server import ServerThread, WebServer

PAGES = {
    "waldo.collect.console": waldo.collect.console.app.PAGE_FILES,
    "waldo.collect.headset": waldo.collect.headset.app.PAGE_FILES,
    "waldo.fleet": waldo.fleet.server.PAGE_FILES,
}


class Interrupted:
    """ASGI middleware that breaks the connection of the first request of a path."""

    def __init__(self, app: ASGIApp, path: str, requests: Counter[str]) -> None:
        self._app, self._path, self._requests = app, path, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests[scope["path"]] += 1
        if scope["path"] == self._path and self._requests[scope["path"]] == 1:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9999")]})
            return  # the server closes the connection
        await self._app(scope, receive, send)


@pytest.mark.parametrize(("package", "files"), PAGES.items(), ids=PAGES)
@pytest.mark.parametrize("kind", ["text/javascript", "text/css"])
def test_a_page_of_which_a_part_does_not_arrive_loads_again(
    browser: webdriver.Chrome, package: str, files: Mapping[str, str], kind: str
) -> None:
    """Without a script its button could not stop the robot, and it would never show that it is not connected."""
    last = [path for path, found in files.items() if found.startswith(kind)][-1]
    requests = Counter[str]()
    security = Security()
    app = Starlette(
        routes=page_routes(package, files),
        middleware=[
            Middleware(Interrupted, path=last, requests=requests),
            Middleware(AccessControl, security=security),
        ],
    )
    server = WebServer(app, security, max_connections=20)
    with contextlib.closing(listen("127.0.0.1", 0)) as listening, ServerThread(server, listening, name="web"):
        browser.get(f"http://127.0.0.1:{listening.getsockname()[1]}")
        # The page's script follows all others on which it depends.
        WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: requests[last] == 2)
        assert requests["/"] == 2
        browser.get("about:blank")
        browser.get_log("browser"), browser.get_log("performance")
