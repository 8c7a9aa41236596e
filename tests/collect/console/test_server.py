"""The console's server over real sockets: who may open a page, and what a page receives."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.collect.console.console_bench import Console, jpeg, requests, running, status
from waldo.collect.console.app import MAX_PAGES, MAX_TEXT, PAGE_FILES
from waldo.collect.console.server import MAX_CONNECTIONS
from waldo.collect.console.view import STOP
from waldo.collect.notice import Notice
from waldo.web.security import Security


def opened(console: Console, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{console.port}/session", **options)


def states(page: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first state that is wanted; images are skipped."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = page.recv(60)
        if isinstance(message, str) and wanted(state := json.loads(message)):
            return dict(state)
    raise AssertionError("the state did not arrive")


def image(page: ClientConnection) -> tuple[str, int, bytes]:
    """Return the camera, stamp and JPEG of the next image."""
    while isinstance(message := page.recv(60), str):
        pass
    (length,) = struct.unpack_from("<H", message)
    (stamp_ns,) = struct.unpack_from("<q", message, 2 + length)
    return message[2 : 2 + length].decode(), stamp_ns, message[11 + length :]


def request(page: ClientConnection, name: str, age_s: float = 0.0) -> None:
    page.send(json.dumps({"kind": "request", "name": name, "server_s": time.time() - age_s}))


def get(
    console: Console, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_a_page_shows_the_recorder_and_makes_requests() -> None:
    with running() as console, opened(console) as page:
        state = states(page, lambda _: True)
        assert (state["robot"], state["role"], state["condition"]["word"]) == ("arm", "operator", "FOLLOWING")
        assert abs(state["server_s"] - time.time()) < 30
        console.view.notice(Notice(text="camera front stopped"))
        assert states(page, lambda one: bool(one["notices"]))["notices"][0]["text"] == "camera front stopped"
        console.view.status(status("recording"))
        states(page, lambda one: one["recorder"]["state"] == "recording")
        request(page, "save")
        request(page, STOP, age_s=60.0)
        assert requests(console, 2) == ["save", STOP]
        request(page, "start", age_s=5.0)
        assert "late and was dropped" in states(page, lambda one: bool(one["replies"]))["replies"][0]
        assert console.view.take_requests() == []


def test_a_second_page_watches_until_it_is_given_control() -> None:
    with running() as console, opened(console) as first:
        states(first, lambda one: one["role"] == "operator")
        with opened(console) as second:
            states(second, lambda one: one["role"] == "watcher")
            request(second, "start")
            assert "another page operates" in states(second, lambda one: bool(one["replies"]))["replies"][0]
            second.send(json.dumps({"kind": "take_control"}))
            states(first, lambda one: one["asking"] == "127.0.0.1")
            first.send(json.dumps({"kind": "hand_over"}))
            states(second, lambda one: one["role"] == "operator")
            request(second, "start")
            assert requests(console, 1) == ["start"]
        first.send(json.dumps({"kind": "take_control"}))
        states(first, lambda one: one["role"] == "operator")


def test_the_next_image_of_a_camera_is_sent_once_the_one_before_is_shown() -> None:
    with running() as console, opened(console) as page:
        stamp = time.time_ns()
        console.view.image("cameras/front", jpeg(10), stamp)
        assert image(page) == ("front", stamp, jpeg(10))
        for number in range(5):
            console.view.image("cameras/front", jpeg(20 + number), stamp + number + 1)
        console.view.image("cameras/wrist", jpeg(99), stamp)
        assert image(page)[0] == "wrist"
        page.send(json.dumps({"kind": "shown", "camera": "front", "stamp_ns": str(stamp)}))
        # The newest one: those in between are left out.
        assert image(page) == ("front", stamp + 5, jpeg(24))
        latency = states(page, lambda one: "front" in one["latency_s"])["latency_s"]["front"]
        assert 0 < latency < 60


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"kind": 3}', '{"kind": "request"}', '{"kind": "shown", "camera": 1}', "x" * MAX_TEXT],
)
def test_messages_that_make_no_sense_do_no_harm(text: str) -> None:
    with running() as console, opened(console) as page:
        page.send(text)
        page.send('{"kind": "request", "name": "start", "server_s": "now"}')
        request(page, "save")
        assert requests(console, 1) == ["save"]


def test_a_message_that_is_too_long_closes_the_page_alone() -> None:
    with running() as console, opened(console) as page, opened(console) as other:
        page.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            states(page, lambda _: False)
        console.view.notice(Notice(text="still here"))
        states(other, lambda one: bool(one["notices"]))


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"])
def test_other_pages_cannot_open_a_session(origin: Any) -> None:
    with running() as console:
        with pytest.raises(InvalidStatus) as error, opened(console, origin=origin):
            pass
        assert error.value.response.status_code == 403
        with opened(console, origin=f"http://127.0.0.1:{console.port}") as page:
            states(page, lambda one: one["role"] == "operator")


def test_a_name_that_resolves_to_this_machine_is_refused() -> None:
    """DNS rebinding: the page of another site reads the console through the user's browser."""
    with running() as console:
        assert get(console, "/", Host="evil.example")[0] == 421
        foreign = f"ws://evil.example:{console.port}/session"
        with (
            socket.create_connection(("127.0.0.1", console.port)) as line,
            pytest.raises(InvalidStatus),
            connect(foreign, sock=line, origin=f"http://evil.example:{console.port}"),
        ):
            pass


def test_beyond_the_loopback_a_page_needs_the_token() -> None:
    with running(Security(token="s3cret", loopback=False)) as console:
        assert get(console, "/")[0] == 401
        assert get(console, "/page.js")[0] == 401
        assert get(console, "/style.css")[0] == 200
        with pytest.raises(InvalidStatus), opened(console):
            pass
        with pytest.raises(InvalidStatus), opened(console, additional_headers={"Authorization": "Bearer wrong"}):
            pass
        assert get(console, "/login", "POST", "token=wrong")[0] == 401
        answer, headers, _ = get(console, "/login", "POST", "token=s3cret")
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert answer == 303
        assert "s3cret" not in cookie
        assert "httponly" in headers["Set-Cookie"].lower()
        with opened(console, additional_headers={"Cookie": cookie}) as page:
            states(page, lambda one: one["role"] == "operator")
        with opened(console, additional_headers={"Authorization": "Bearer s3cret"}) as page:
            states(page, lambda one: one["role"] == "operator")


def test_files_have_the_security_headers() -> None:
    with running() as console:
        for path in ("/", *PAGE_FILES, "/healthz"):
            code, headers, _ = get(console, path)
            assert code == 200, path
            assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert get(console, "/record.py")[0] == 404


def test_only_so_many_pages_can_be_open() -> None:
    with running() as console, ExitStack() as stack:
        for _ in range(MAX_PAGES):
            states(stack.enter_context(opened(console)), lambda _: True)
        with pytest.raises(InvalidStatus), opened(console):
            pass


def test_hundreds_of_connections_do_not_disturb_an_open_page() -> None:
    with running() as console, opened(console) as page, ExitStack() as stack:
        states(page, lambda _: True)
        for _ in range(3 * MAX_CONNECTIONS):
            with suppress(OSError):
                line = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
                line.sendall(b"GET / HTTP/1.1\r\nHost: ")
        # Further ones are refused: without a limit they would use up the files that a process may open.
        with suppress(OSError, http.client.HTTPException):
            assert get(console, "/")[0] == 503
        console.view.notice(Notice(text="still here"))
        states(page, lambda one: bool(one["notices"]))
        request(page, "save")
        assert requests(console, 1) == ["save"]
