"""The headset server over real sockets: who may send poses, and what a broken page costs."""

from __future__ import annotations

import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.collect.headset.pose_bytes import hand_bytes, pose_bytes
from waldo.collect.headset.app import MAX_PAGES, PAGE_FILES
from waldo.collect.headset.server import HeadsetServer
from waldo.collect.headset.session import MESSAGES_BURST, TOO_MANY
from waldo.errors import InvalidValueError, MissingOptionError, UnknownNameError
from waldo.robots.description import load_robot

ROBOT = load_robot("so101")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeadsetServer]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("WALDO_HEADSET_TOKEN", raising=False)
    found = HeadsetServer(ROBOT, port=0, audit_log=str(tmp_path / "audit.log"), drop_after_s=60.0)
    found.open()
    yield found
    found.close()


class Page:
    """A page that answers the round trips, so that its clock is known: it is this machine's monotonic clock."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.number = socket, 0
        self.until(lambda message: message["kind"] == "ping")

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message that is wanted, and answer those before and after it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = json.loads(self.socket.recv(60))
            if message["kind"] == "ping":
                self.send({"kind": "pong", "number": message["number"], "page_ms": 1000 * time.monotonic()})
            if wanted(message):
                return dict(message)
        raise AssertionError("the message did not arrive")

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def pose(self, **options: Any) -> None:
        self.socket.send(pose_bytes(hand_bytes(), number=self.number, page_ms=1000 * time.monotonic(), **options))
        self.number += 1


def opened(server: HeadsetServer, path: str = "session", **options: Any) -> ClientConnection:
    return connect(server.url.replace("http", "ws") + path, **options)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def hands(server: HeadsetServer) -> int:
    tracking = server.latest()
    return -1 if tracking is None else len(tracking.hands)


def test_poses_arrive_and_a_lost_connection_empties_the_hands(server: HeadsetServer) -> None:
    with opened(server) as socket:
        page = Page(socket)
        page.send({"kind": "claim"})
        page.pose()
        until(lambda: hands(server) == 1)
        # A connection that breaks off, without a closing handshake.
        socket.socket.close()
        until(lambda: hands(server) == 0)
    assert not server.station.is_operated()


def test_a_second_page_watches(server: HeadsetServer) -> None:
    with opened(server) as one, opened(server) as two:
        first, second = Page(one), Page(two)
        first.send({"kind": "claim"})
        assert first.until(lambda m: m.get("role") == "operator")["taken"] is False
        second.send({"kind": "claim"})
        assert second.until(lambda m: m.get("taken") is True)["role"] == "watcher"
        second.pose()
        first.pose()
        until(lambda: hands(server) == 1)
        until(lambda: server.station.dropped == 1)
        first.send({"kind": "end"})
        second.until(lambda m: m.get("taken") is False)
        second.send({"kind": "claim"})
        second.until(lambda m: m.get("role") == "operator")


@pytest.mark.parametrize("damaged", [b"", b"\0" * 40, pose_bytes(head=(0.0,) * 7), pose_bytes(count=2)])
def test_a_damaged_pose_empties_the_hands_and_is_logged(server: HeadsetServer, damaged: bytes, tmp_path: Path) -> None:
    with opened(server) as socket:
        page = Page(socket)
        page.send({"kind": "claim"})
        page.pose()
        until(lambda: hands(server) == 1)
        socket.send(damaged)
        until(lambda: hands(server) == 0)
        page.pose()
        until(lambda: hands(server) == 1)
    assert "pose message with" in (tmp_path / "audit.log").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kind": 3}',
        '{"kind": "pong"}',
        "[" * 1500,
        "9" * 1500,
        '{"kind": "pong", "number": 1e999, "page_ms": 1}',
        '{"kind": "pong", "number": NaN, "page_ms": NaN}',
        "x" * 3000,
    ],
)
def test_messages_that_make_no_sense_do_no_harm(server: HeadsetServer, text: str) -> None:
    with opened(server) as socket:
        page = Page(socket)
        page.send({"kind": "claim"})
        socket.send(text)
        page.pose()
        until(lambda: hands(server) == 1)


def test_a_page_that_floods_is_disconnected(server: HeadsetServer) -> None:
    with opened(server) as socket:
        page = Page(socket)
        page.send({"kind": "claim"})
        with pytest.raises(ConnectionClosed) as caught:
            flood(page)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == TOO_MANY
    assert not server.station.is_operated()


def flood(page: Page) -> None:
    for _ in range(100 * MESSAGES_BURST):
        page.send({"kind": "blur"})
    page.until(lambda _: False)


@pytest.mark.parametrize("path", ["session", "images", "stop"])
def test_other_pages_cannot_connect(server: HeadsetServer, path: str) -> None:
    origin: Any = "http://evil.example"
    with pytest.raises(InvalidStatus), opened(server, path, origin=origin):
        pass


def test_a_stop_of_a_watcher_and_of_a_program(server: HeadsetServer) -> None:
    with opened(server, "stop") as line:
        line.send("stop")
        assert json.loads(line.recv(60)) == {"kind": "stopped"}
    assert server.take_requests() == ["stop_motion"]
    assert httpx.post(f"{server.url}stop", timeout=60).status_code == 200
    assert server.take_requests() == ["stop_motion"]


def test_files_have_the_security_headers(server: HeadsetServer) -> None:
    for path in ("", *(one[1:] for one in PAGE_FILES), "stop.js", "pair.js"):
        answer = httpx.get(server.url + path, timeout=60)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert httpx.get(f"{server.url}server.py", timeout=60).status_code == 404


def test_only_so_many_pages_can_be_open(server: HeadsetServer) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_PAGES):
            stack.enter_context(opened(server))
        with pytest.raises(InvalidStatus), opened(server):
            pass


def test_an_image_counts_once_the_operating_page_has_drawn_it(server: HeadsetServer) -> None:
    def drawn(line: ClientConnection, page: int, stamp: int) -> None:
        line.send(json.dumps({"camera": "front", "stamp_ns": str(stamp), "page": page}))

    with opened(server) as socket, opened(server, "images") as line:
        number = json.loads(socket.recv(60))["number"]
        page = Page(socket)
        page.send({"kind": "claim"})
        page.until(lambda m: m.get("role") == "operator")
        for claimed in (number + 1, number):
            stamp = time.time_ns()
            server.image("cameras/front", b"\xff\xd8\xff", stamp)
            assert line.recv(60)[-3:] == b"\xff\xd8\xff"
            drawn(line, claimed, stamp + 1)  # not an image that was sent
            drawn(line, claimed, stamp)
            server.image("cameras/front", b"\xff\xd8\xff", time.time_ns())
            line.recv(60)  # sent since the one before is confirmed
            ages = page.until(lambda m: "front" in m.get("ages_s", {}))["ages_s"]
            drawn(line, number + 1, server.station.video.images()[0].stamp_ns)
            assert (server.station.video.ages_s(time.time_ns())["front"] < 60) == (claimed == number)
        assert set(ages) == {"front"}


def test_the_number_of_a_page_cannot_be_guessed(server: HeadsetServer) -> None:
    """Another page that knew it could confirm images, so that a video that stands still would count as seen."""
    numbers: list[int] = []
    for _ in range(3):
        with opened(server) as socket:
            numbers.append(json.loads(socket.recv(60))["number"])
    assert min(abs(a - b) for a, b in itertools.combinations(numbers, 2)) > 2**20
    assert max(numbers) < 2**53  # which JavaScript represents


def test_vibrations_are_limited_and_sent_to_the_operator(server: HeadsetServer) -> None:
    with opened(server) as socket:
        page = Page(socket)
        server.haptics("left", 0.5, 0.1)
        page.send({"kind": "claim"})
        page.until(lambda m: m.get("role") == "operator")
        server.haptics("right", 7.0, 60.0)
        found = page.until(lambda m: m["kind"] == "pulse")
        assert (found["side"], found["amplitude"], found["duration_ms"]) == ("right", 1.0, 5000.0)


def test_options_are_checked() -> None:
    with pytest.raises(InvalidValueError, match="view is 'ceiling', expected a camera of so101"):
        HeadsetServer(ROBOT, view="ceiling")
    with pytest.raises(InvalidValueError, match="drop_after_s"):
        HeadsetServer(ROBOT, drop_after_s=0.0)
    with pytest.raises(InvalidValueError, match="--port is 70000"):
        HeadsetServer(ROBOT, port=70000)
    with pytest.raises(UnknownNameError, match="did you mean 'host'"):
        HeadsetServer(ROBOT, hots="0.0.0.0")


def test_on_a_network_it_needs_a_terminal_or_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("WALDO_HEADSET_TOKEN", raising=False)
    monkeypatch.setattr("waldo.collect.headset.server.shows_pins", lambda: False)
    with pytest.raises(MissingOptionError, match=r"--host 0\.0\.0\.0 requires --token"):
        HeadsetServer(ROBOT, host="0.0.0.0", port=0).open()
    found = HeadsetServer(ROBOT, host="0.0.0.0", port=0, token="s3cret")
    found.open()
    try:
        assert found.url.startswith("https://")
        port = found.url.rstrip("/").rpartition(":")[2]
        certificate = str(tmp_path / "waldo" / "web" / "server.pem")
        tls = ssl.create_default_context(cafile=certificate)
        assert httpx.get(f"https://localhost:{port}/", verify=tls, timeout=60).status_code == 401
        headers = {"Authorization": "Bearer s3cret"}
        assert httpx.get(f"https://localhost:{port}/", verify=tls, headers=headers, timeout=60).status_code == 200
    finally:
        found.close()


def test_it_can_be_closed_twice_and_unopened() -> None:
    found = HeadsetServer(ROBOT, port=0)
    found.close()
    found.open()
    assert not found.finished
    found.close()
    found.close()
    assert not found.finished
