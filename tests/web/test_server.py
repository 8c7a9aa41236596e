"""The web server: what must not end it."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette

from waldo.errors import FileError
from waldo.web.security import Security
from waldo.web.server import WebServer


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FileError("server.pem", "is damaged")])
def test_a_certificate_that_cannot_be_renewed_does_not_end_the_server(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The robot could not be stopped from a page any more."""

    class Full:
        def renew(self) -> bool:
            raise error

    security = Security()
    server = WebServer(Starlette(), security, max_connections=1)
    security.certificate = Full()  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR, "waldo.web"):
        server._renew()
    assert "the certificate cannot be renewed" in caplog.text
