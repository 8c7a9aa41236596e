"""The files of a page, which are in the folder `page` of its package."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import importlib.resources
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def page_file(package: str, name: str) -> str:
    """Return a file of the page of a package, such as "style.css"."""
    return importlib.resources.files(package).joinpath("page", name).read_text("utf-8")


@functools.cache
def reload_script() -> str:
    """Return the script that loads a page again of which a part did not arrive.

    It is a part of the page itself: a file of its own could be the one that is missing.
    """
    return page_file("waldo.web", "reload.js")


def reload_source() -> str:
    """Return that script's source expression for a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(reload_script().encode()).digest()).decode()}'"


def page_routes(package: str, files: Mapping[str, str]) -> list[Route]:
    """Return the routes of a page: "/" for its `index.html`, and those of its further files.

    Args:
        package: Contains the page.
        files: Path, such as "/style.css", -> media type of each further file.
    """

    async def page(request: Request) -> Response:
        path = request.url.path
        if path in files:
            return Response(page_file(package, path[1:]), media_type=files[path])
        return Response(page_file(package, "index.html").replace("{reload}", reload_script()), media_type="text/html")

    return [Route(path, page) for path in ("/", *files)]


def login_page(title: str, command: str, message: str, *, pin: bool = False, token: bool = True) -> str:
    """Return the login form, whose colors are those of the application's `style.css`.

    Args:
        title: Name of the application, such as "console".
        command: The command that serves it.
        message: Why the last login was refused; empty at first.
        pin: Whether browsers are paired by a PIN.
        token: Whether there is a token.
    """
    text = page_file("waldo.web", "login.html").replace("{title}", title).replace("{command}", command)
    text = text.replace("{pin}", "" if pin else "hidden").replace("{token}", "" if token else "hidden")
    return text.replace("{message}", html.escape(message))
