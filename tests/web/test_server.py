"""The web server: what must not end it."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import ssl
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from waldo.errors import FileError
from waldo.web.addresses import Hosts
from waldo.web.listening import listen
from waldo.web.security import Security
from waldo.web.server import ServerThread, WebServer
from waldo.web.tls.certificate import ServerCertificate

UPGRADE = (
    "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


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


def test_a_socket_that_is_closing_does_not_end_the_shutdown(tmp_path: Path) -> None:
    """The connections behind it would be left open."""

    async def page(connection: WebSocket) -> None:
        await connection.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await connection.receive_text()

    certificate = ServerCertificate(certificate=tmp_path / "server.pem", hosts=Hosts())
    security = Security(certificate=certificate)
    server = WebServer(Starlette(routes=[WebSocketRoute("/", page)]), security, max_connections=9, max_message=100)
    trusting = ssl.create_default_context(cafile=tmp_path / "server.pem")
    with contextlib.closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with (
            ServerThread(server, listening, name="web") as thread,
            trusting.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as half,
            connect(f"wss://localhost:{port}", ssl=trusting) as other,
        ):
            key = base64.b64encode(bytes(16)).decode()
            half.sendall(UPGRADE.format(port=port, key=key).encode())
            assert b" 101 " in half.recv(4096)
            half.sendall(b"\x88\x80" + bytes(4))  # a close frame, after which this client confirms nothing
            assert half.recv(4096)[0] == 0x88
            server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                other.recv(60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert not thread.is_running
