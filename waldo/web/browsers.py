"""The page on which an administrator sees the paired browsers and revokes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from waldo.web.page_files import page_file
from waldo.web.roles import Role, Visitor

if TYPE_CHECKING:
    from starlette.requests import Request

    from waldo.web.security import Security
    from waldo.web.visits import Visits

PACKAGE = "waldo.web"
"""Package with the files of the page."""
PAGE, SCRIPT, LIST = "/browsers", "/browsers.js", "/browsers/list"
"""Paths of the page, its script, and the browsers as JSON; DELETE /browsers/ID revokes one."""


class BrowserPages:
    """Lists and revokes paired browsers."""

    def __init__(self, security: Security, visits: Visits) -> None:
        """Initialize; the requests of a revoked browser are cut in `visits`."""
        self._security, self._visits = security, visits

    def respond(self, request: Request, visitor: Visitor) -> Response | None:
        """Return the response to a request for these paths; None for any other one."""
        path = request.url.path
        if not (path in (PAGE, SCRIPT) or path.startswith(f"{PAGE}/")):
            return None
        if visitor.role < Role.ADMINISTER:
            self._security.audit.refuse("not an administrator", visitor=visitor, path=path)
            return PlainTextResponse("only an administrator may see the paired browsers\n", 403)
        if request.method == "DELETE":
            found = self.revoke(path.removeprefix(f"{PAGE}/"), visitor)
            return Response(status_code=204) if found else PlainTextResponse("no such browser\n", 404)
        if request.method != "GET":
            return PlainTextResponse("expected GET or DELETE\n", 405)
        if path == LIST:
            return JSONResponse(self._list(visitor))
        if path == SCRIPT:
            return Response(page_file(PACKAGE, "browsers.js"), media_type="text/javascript")
        return Response(page_file(PACKAGE, "browsers.html"), media_type="text/html") if path == PAGE else None

    def revoke(self, browser: str, visitor: Visitor) -> bool:
        """Revoke a browser and cut its connections; return whether it was paired."""
        found = self._security.paired.revoke(browser)
        if found is None:
            return False
        self._security.audit.record("revoked", visitor, revoked=found.browser, revoked_name=found.name)
        self._visits.cut(found.browser)
        return True

    def _list(self, visitor: Visitor) -> list[dict[str, Any]]:
        connected = self._visits.browsers()
        return [
            {
                "browser": one.browser,
                "name": one.name,
                "role": one.role.word,
                "created_s": one.created_s,
                "seen_s": one.seen_s,
                "connected": one.browser in connected,
                "is_this": one.browser == visitor.browser,
            }
            for one in self._security.paired.all()
        ]
