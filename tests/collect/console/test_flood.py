"""The console under load and hostile input: connections, messages, and a stop among images."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.collect.console.console_bench import Console, requests, running
from tests.collect.console.network_bench import request, states, station
from tests.collect.console.test_server import opened
from waldo.collect.console.server import MAX_PER_NETWORK
from waldo.collect.console.session import MESSAGES_BURST, REQUESTS_BURST, TOO_MANY
from waldo.collect.console.view import REQUESTS, STOP
from waldo.collect.notice import Notice
from waldo.web.roles import Role
from waldo.web.tls.handshakes import MAX_PER_NETWORK as HANDSHAKES

CONNECTIONS = 1000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from(["request", "shown", "take_control", "hand_over", "state", ""])
NAMES = st.sampled_from([one for one in REQUESTS if one != STOP]) | st.text(max_size=10)
"""Names other than that of the stop, which is obeyed however it arrives."""
MESSAGES = (
    st.text(max_size=200)
    | st.binary(max_size=200)
    | JSON.map(json.dumps)
    | st.fixed_dictionaries(
        {"kind": KINDS | JSON},
        optional={"name": NAMES | JSON, "server_s": JSON, "camera": JSON, "stamp_ns": JSON, "force": JSON},
    ).map(json.dumps)
    | st.sampled_from(
        ["[" * 4000, '{"a":' * 600, "9" * 4000, f'{{"kind": "request", "name": "start", "server_s": {"9" * 3900}}}']
    )
)


def test_a_thousand_connections_neither_stop_the_page_nor_a_stop(tmp_path: Path) -> None:
    """Clients that connect over TCP and send nothing, or a part of a handshake or request, from one address."""
    with station(tmp_path) as found, ExitStack() as stack:
        operator = found.pair(Role.OPERATE)
        page = stack.enter_context(found.open(operator))
        line = stack.enter_context(found.open(operator, "/stop"))
        states(page, lambda one: one["role"] == "operator")
        tls = found.tls
        for number in range(CONNECTIONS):
            with suppress(OSError):
                flood = stack.enter_context(socket.create_connection(("127.0.0.1", found.console.port), 10))
                if number % 10 == 0:
                    flood.settimeout(5)
                    flood = stack.enter_context(tls.wrap_socket(flood, server_hostname="localhost"))
                    flood.sendall(b"GET / HTTP/1.1\r\nHost: ")
                elif number % 3 == 0:
                    flood.sendall(b"\x16\x03\x01\x02\x00")
        found.console.view.notice(Notice(text="still here"))
        states(page, lambda one: bool(one["notices"]))
        request(page, "save")
        assert requests(found.console, 1) == ["save"]
        line.send("stop")
        assert json.loads(line.recv(60)) == {"kind": "stopped"}
        assert found.console.view.take_requests() == [STOP]


def test_a_thousand_encrypted_connections_are_limited(tmp_path: Path) -> None:
    with station(tmp_path) as found, ExitStack() as stack:
        tls, opened = found.tls, list[ssl.SSLSocket]()
        for _ in range(CONNECTIONS):
            with suppress(OSError, ssl.SSLError):
                plain = stack.enter_context(socket.create_connection(("127.0.0.1", found.console.port), 10))
                opened.append(stack.enter_context(tls.wrap_socket(plain, server_hostname="localhost")))
        # Those beyond the limit are answered with 503, those beyond twice the limit closed, at once or a little later.
        assert opened
        deadline = time.monotonic() + 60
        while len(opened) > 2 * MAX_PER_NETWORK + HANDSHAKES:
            assert time.monotonic() < deadline
            opened = [one for one in opened if is_silent(one)]


def is_silent(connection: ssl.SSLSocket) -> bool:
    """Return whether a connection is open, and has not been answered."""
    connection.settimeout(0.01)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def test_a_stop_of_a_program_is_answered_beyond_the_limit_of_connections() -> None:
    with running() as console, ExitStack() as stack:
        for _ in range(120):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
            line.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert httpx.get(console.url, timeout=60).status_code == 503
        assert httpx.post(f"{console.url}stop", timeout=60).status_code == 200
        assert requests(console, 1) == [STOP]


@pytest.fixture(scope="module")
def fuzzed():
    with running() as console:
        yield console


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(messages=st.lists(MESSAGES, min_size=1, max_size=8))
def test_no_message_does_harm(fuzzed: Console, messages: list[str | bytes]) -> None:
    with opened(fuzzed) as page:
        for message in messages:
            page.send(message)
        # The page is still served, and what was sent was no request that is obeyed: none had an age.
        page.send(json.dumps({"kind": "take_control"}))
        request(page, "save")
        assert requests(fuzzed, 1)[-1:] == ["save"]


def test_messages_that_make_no_sense_are_logged(tmp_path: Path) -> None:
    with station(tmp_path) as found, found.open(found.pair(Role.OPERATE, "Quest")) as page:
        page.send(b"\x00\x01")
        entry = found.logged(event="refused", path="/session", name="Quest")
        assert "not understood" in entry["reason"]
        request(page, "save")
        assert requests(found.console, 1) == ["save"]


def test_too_many_requests_are_dropped_and_a_stop_among_them_is_not() -> None:
    with running() as console, opened(console) as page:
        for _ in range(2 * REQUESTS_BURST):
            page.send(json.dumps({"kind": "hand_over"}))
        request(page, STOP)
        assert requests(console, 1) == [STOP]
        states(page, lambda one: "too many requests; this one was dropped" in one["replies"])


def test_a_page_that_floods_is_disconnected_alone() -> None:
    with running() as console, opened(console) as other, opened(console) as page:
        with pytest.raises(ConnectionClosed) as caught:
            flood(page)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == TOO_MANY
        console.view.notice(Notice(text="still here"))
        states(other, lambda one: bool(one["notices"]))


def flood(page) -> None:
    """Send faster than any page does until the connection is closed."""
    text = json.dumps({"kind": "shown", "camera": "x", "stamp_ns": "1"})
    for _ in range(100 * MESSAGES_BURST):
        page.send(text)
    states(page, lambda _: False)


def test_a_stop_arrives_while_images_saturate_the_connection(tmp_path: Path) -> None:
    """The page's session is full of images that it does not read; the stop has a connection of its own."""
    with station(tmp_path) as found:
        browser = found.pair(Role.WATCH)
        with found.open(browser) as page, found.open(browser, "/stop") as line:
            states(page, lambda _: True)
            done = threading.Event()

            def publish() -> None:
                while not done.is_set():
                    for number in range(20):
                        found.console.view.image(f"cameras/{number}", b"\xff\xd8" + bytes(4_000_000), time.time_ns())
                    time.sleep(0.01)

            publisher = threading.Thread(target=publish)
            publisher.start()
            try:
                for _ in range(20):
                    line.send("stop")
                    assert json.loads(line.recv(60)) == {"kind": "stopped"}
                    assert found.console.view.take_requests() == [STOP]
            finally:
                done.set()
                publisher.join(60)
