"""Deadlines and limits of connections, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.sync.client import connect as websocket

from waldo.web.connections.http_connection import Connection
from waldo.web.listening import listen

LIMIT = 3


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def ticks(_: Request) -> StreamingResponse:
    async def content() -> Any:
        for n in range(20):
            yield f"{n}\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(content())


async def flood(_: Request) -> StreamingResponse:
    async def content() -> Any:
        while True:
            yield 65536 * "x"
            await asyncio.sleep(0)

    return StreamingResponse(content())


async def line(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(await socket.receive_text())


@pytest.fixture
def connect() -> Iterator[Callable[[], socket.socket]]:
    """Return a function that connects to a server whose deadlines are 0.5 s and which takes three connections."""
    app = Starlette(
        routes=[
            Route("/", echo, methods=["GET", "POST"]),
            Route("/ticks", ticks),
            Route("/flood", flood),
            WebSocketRoute("/line", line),
        ]
    )
    protocol: Any = functools.partial(Connection, max_connections=LIMIT, request_s=0.5, stall_s=0.5)
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, ws="websockets-sansio", log_level="error", timeout_graceful_shutdown=1)
    )
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(listening.getsockname(), timeout=60))
        return opened[-1]

    yield connect
    server.should_exit = True
    for one in opened:
        one.close()
    thread.join(timeout=60)
    assert not thread.is_alive()


def received(connection: socket.socket) -> bytes:
    """Return everything that arrives until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ],
)
def test_an_incomplete_request_is_disconnected(connect, sent: bytes) -> None:
    connection = connect()
    connection.sendall(sent)
    assert received(connection) == b""


def test_headers_that_arrive_one_by_one_do_not_extend_the_deadline(connect) -> None:
    connection = connect()
    connection.sendall(b"GET / HTTP/1.1\r\n")
    closed = threading.Event()
    sender = threading.Thread(target=drip, args=(connection, closed))
    sender.start()
    assert received(connection) == b""
    closed.set()
    sender.join(timeout=60)


def drip(connection: socket.socket, closed: threading.Event) -> None:
    while not closed.wait(0.05):
        try:
            connection.sendall(b"X: y\r\n")
        except OSError:
            return


def test_the_deadline_holds_for_the_second_request_of_a_connection_too(connect) -> None:
    connection = connect()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    connection.sendall(b"GET / HTTP/1.1\r\n")
    closed = threading.Event()
    sender = threading.Thread(target=drip, args=(connection, closed))
    sender.start()
    assert received(connection) in (b"", b"0 bytes")  # the body may be a packet of its own
    closed.set()
    sender.join(timeout=60)


def test_a_long_response_outlasts_the_deadlines(connect) -> None:
    connection = connect()
    connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert received(connection).endswith(b"3\r\n19\n\r\n0\r\n\r\n")


def test_a_websocket_outlasts_the_deadlines(connect) -> None:
    with websocket("ws://localhost/line", sock=connect()) as opened:
        for _ in range(4):
            time.sleep(0.4)  # the deadline of a request is 0.5 s
            opened.send("still here")
            assert opened.recv(60) == "still here"


def test_a_client_that_does_not_read_is_disconnected(connect) -> None:
    connection = connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
    # Nothing is read, but an error is reported once the server has reset the connection.
    waiter = select.poll()
    waiter.register(connection, 0)
    ((_, events),) = waiter.poll(60_000)
    assert events & (select.POLLERR | select.POLLHUP)


def test_connections_beyond_the_maximum_receive_503(connect) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    first = connect()
    first.sendall(b"GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert first.recv(100).startswith(b"HTTP/1.1 200 OK")
    others = [connect() for _ in range(LIMIT)]
    for one in others:
        one.sendall(request)
    answers = [one.recv(65536) for one in others]
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [
        *[b"HTTP/1.1 200 OK"] * (LIMIT - 1),
        b"HTTP/1.1 503 Service Unavailable",
    ]
    whole = answers[-1] + received(others[-1])
    assert b"Connection: close".lower() in whole.lower()
    assert whole.endswith(b"the maximum of connections is reached (3); close pages, or try again later\n")


def test_connections_beyond_twice_the_maximum_are_closed(connect) -> None:
    connections = [connect() for _ in range(2 * LIMIT + 1)]
    connections[-1].settimeout(60)
    connections[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert received(connections[-1]) == b""
