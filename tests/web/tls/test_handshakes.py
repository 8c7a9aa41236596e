"""Handshakes: their number is limited, each has a deadline, and nothing that follows one is lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from waldo.web.tls.certificate import create_pem
from waldo.web.tls.handshakes import Handshakes

LIMIT = 3


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    path.write_bytes(create_pem(["localhost"], time.time()))
    return path


@pytest.fixture
def start(certificate: Path) -> Iterator[Callable[..., int]]:
    """Return a function that serves an echo with TLS and returns its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ExitStack() as stack:

        def serve(**options: float) -> int:
            loop = asyncio.new_event_loop()
            handshakes = Handshakes(context, Echo, **options)  # type: ignore[arg-type]
            server = loop.run_until_complete(loop.create_server(handshakes, "127.0.0.1", 0))
            thread = threading.Thread(target=loop.run_forever)
            thread.start()

            def end() -> None:
                loop.call_soon_threadsafe(loop.stop)
                thread.join(60)
                server.close()
                loop.run_until_complete(cancel_all(loop))
                loop.close()

            stack.callback(end)
            return int(server.sockets[0].getsockname()[1])

        yield serve


async def cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def plain(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def echo(port: int, certificate: Path, data: bytes = b"hello") -> bytes:
    """Return what comes back; the data follows the client's end of the handshake at once."""
    tls = ssl.create_default_context(cafile=certificate)
    with plain(port) as line, tls.wrap_socket(line, server_hostname="localhost") as encrypted:
        encrypted.sendall(data)
        found = b""
        while len(found) < len(data):
            found += encrypted.recv(65536)
        return found


def test_data_right_after_the_handshake_is_not_lost(start: Callable[..., int], certificate: Path) -> None:
    """The end of the client's handshake and its first data are in one packet, as browsers send them."""
    tls = ssl.create_default_context(cafile=certificate)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with plain(start()) as line:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                line.sendall(outgoing.read())
                incoming.write(line.recv(65536))
        client.write(b"hello")
        line.sendall(outgoing.read())
        while True:
            incoming.write(line.recv(65536))
            try:
                assert client.read() == b"hello"
                return
            except ssl.SSLWantReadError:  # the server's session tickets come first
                continue


def test_handshakes_beyond_the_limit_are_closed(start: Callable[..., int], certificate: Path) -> None:
    port = start(limit=LIMIT, per_network=100, handshake_s=600)
    with ExitStack() as stack:
        waiting = [stack.enter_context(plain(port)) for _ in range(LIMIT)]
        time.sleep(0.2)  # the server has accepted them
        with plain(port) as further:
            assert further.recv(1) == b""
        # One that ends makes room.
        waiting[0].close()
        while True:
            try:
                assert echo(port, certificate) == b"hello"
                return
            except (OSError, ssl.SSLError):
                time.sleep(0.01)


def test_one_address_cannot_use_all_of_them(start: Callable[..., int]) -> None:
    port = start(limit=100, per_network=LIMIT, handshake_s=600)
    with ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(plain(port))
        time.sleep(0.2)
        with plain(port) as further:
            assert further.recv(1) == b""


def test_a_client_that_sends_nothing_is_disconnected(start: Callable[..., int]) -> None:
    with plain(start(handshake_s=0.2)) as line:
        assert line.recv(1) == b""


def test_a_client_without_tls_is_disconnected(start: Callable[..., int], certificate: Path) -> None:
    port = start()
    with plain(port) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in b"".join(iter(lambda: line.recv(4096), b""))
    assert echo(port, certificate) == b"hello"
