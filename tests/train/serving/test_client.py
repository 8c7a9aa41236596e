"""A client of any server with openpi's messages: late, wrong and missing answers never become actions."""

import base64
import hashlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_server import WAIT_S, chunk, observation
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from waldo.train.serving.client import PolicyClient, ServerError
from waldo.train.serving.wire import pack, unpack

IMPORTABLE = Path(__file__).parents[2] / "importable"


@contextmanager
def answering(handle: Callable[[ServerConnection], None]) -> Iterator[str]:
    """Serve each client with a function; return the address."""
    with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(WAIT_S)


@contextmanager
def repeating(*answers: Any) -> Iterator[PolicyClient]:
    """Return a client of a server whose answers are given, in order; the keyword `request_id` is added to maps."""

    def handle(connection: ServerConnection) -> None:
        connection.send(pack({}))
        for answer, message in zip(answers, connection, strict=False):
            request = unpack(message)
            wrapped = isinstance(answer, dict) and "request_id" not in answer
            sent = answer | {"request_id": request["request_id"]} if wrapped else answer
            connection.send(pack(sent) if isinstance(sent, dict) else sent)
        connection.recv()

    with answering(handle) as url:
        client = PolicyClient(url)
        yield client
        client.close()


def refusal(url: str, **options: Any) -> str:
    """Return why there is no connection, without the address."""
    with pytest.raises(ServerError) as caught:
        PolicyClient(url, **options)
    text = str(caught.value)
    assert text.startswith(f"{url}: ")
    return text.removeprefix(f"{url}: ")


def error_of(client: PolicyClient) -> str:
    """Return why there are no actions, without the address."""
    with pytest.raises(ServerError) as caught:
        client.infer(observation())
    return str(caught.value).removeprefix(f"{client.url}: ")


def wait_closed(client: PolicyClient) -> None:
    """Return once the client has noticed that its server is unavailable."""
    client._connection.recv_events_thread.join(WAIT_S)
    assert not client._connection.recv_events_thread.is_alive()


def test_a_late_answer_is_never_that_to_another_observation() -> None:
    late = threading.Event()

    def handle(connection: ServerConnection) -> None:
        connection.send(pack({}))
        connection.recv()
        assert late.wait(WAIT_S)
        connection.send(pack({"actions": chunk(1.0)}))

    with answering(handle) as url:
        client = PolicyClient(url, answer_s=0.05)
        assert error_of(client) == "no answer within 0.05 s"
        assert not client.is_open
        late.set()
        assert "actions" not in error_of(client)
        client.close()


def test_a_server_that_stops_reading_does_not_block_the_client() -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                lines = connection.recv(65536).decode().splitlines()
                key = next(line.split()[1] for line in lines if line.lower().startswith("sec-websocket-key:"))
                accept = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n\x82\x01\x80"
                )
                done.wait(WAIT_S)

        thread = threading.Thread(target=run)
        thread.start()
        client = PolicyClient(f"ws://127.0.0.1:{listener.getsockname()[1]}", answer_s=0.1)
        with pytest.raises(ServerError):
            client.infer({"observation.images.front": np.zeros((4000, 4000, 3), np.uint8)})
        assert not client.is_open
        done.set()
        thread.join(WAIT_S)
        client.close()


@pytest.mark.parametrize("number", [1, -1, "0", 0.5, None, [0], np.array([0, 0]), np.array([])], ids=repr)
def test_an_answer_to_another_request_closes_the_connection(number: object) -> None:
    with repeating({"actions": chunk(), "request_id": number}) as client:
        assert error_of(client) == f"answered request {unpack(pack({'n': number}))['n']!r}, asked was 0"
        assert not client.is_open


def test_requests_are_numbered() -> None:
    with repeating(*({"actions": chunk(), "request_id": number} for number in (0, 1, 2))) as client:
        for _ in range(3):
            np.testing.assert_array_equal(client.infer(observation()), chunk())


def test_an_answer_without_a_number_is_one_of_openpi_s_server() -> None:
    with repeating(pack({"actions": chunk(2.0), "server_timing": {"infer_ms": 1.0}})) as client:
        np.testing.assert_array_equal(client.infer(observation()), chunk(2.0))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4"])
def test_actions_of_any_numbers_are_float64(dtype: str) -> None:
    with repeating({"actions": chunk(2.0).astype(dtype)}) as client:
        actions = client.infer(observation())
    assert actions.dtype == np.float64
    np.testing.assert_array_equal(actions, chunk(2.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_actions_that_are_not_finite_are_refused(value: float) -> None:
    actions = chunk()
    actions[3, 2] = value
    with repeating({"actions": actions}, {"actions": chunk()}) as client:
        assert error_of(client) == "the actions are not finite"
        np.testing.assert_array_equal(client.infer(observation()), chunk())


@pytest.mark.parametrize(
    ("actions", "found"),
    [
        (np.zeros(3), "(3,)"),
        (np.zeros((1, 2, 3)), "(1, 2, 3)"),
        (np.zeros((0, 3)), "(0, 3)"),
        (np.zeros((2, 0)), "(2, 0)"),
        (np.zeros(()), "()"),
        ([[0.0]], "list"),
        ("open the gripper", "str"),
        (None, "NoneType"),
    ],
)
def test_actions_of_another_shape_are_refused(actions: object, found: str) -> None:
    with repeating({"actions": actions}, {"actions": chunk()}) as client:
        assert error_of(client) == f"the actions are {found}, expected an array (actions, joints)"
        np.testing.assert_array_equal(client.infer(observation()), chunk())


def test_an_answer_without_actions_is_refused() -> None:
    with repeating({"action": chunk()}) as client:
        assert error_of(client) == "the actions are NoneType, expected an array (actions, joints)"


def test_a_text_is_an_error_after_which_the_connection_continues() -> None:
    with repeating("Traceback:\n  line 1\n\nValueError: bad", "x" * 600 + "end", {"actions": chunk()}) as client:
        assert error_of(client) == "Traceback: line 1 ValueError: bad"
        assert error_of(client) == "x" * 497 + "end"
        np.testing.assert_array_equal(client.infer(observation()), chunk())


def test_an_answer_that_is_not_a_message_is_an_error() -> None:
    with repeating(b"\xc1", b"\x93\x01\x02\x03", {"actions": chunk()}) as client:
        assert error_of(client) == "a message is not msgpack: FormatError"
        assert error_of(client) == "a message is a list, expected a map"
        np.testing.assert_array_equal(client.infer(observation()), chunk())


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        ("not today", "not today"),
        (b"\xc1", "a message is not msgpack: FormatError"),
        (b"\x01", "a message is a int, expected a map"),
    ],
)
def test_a_greeting_that_is_not_metadata_is_an_error_and_closes_the_connection(
    greeting: str | bytes, reason: str
) -> None:
    closed = threading.Event()

    def handle(connection: ServerConnection) -> None:
        connection.send(greeting)
        with suppress(ConnectionClosed):
            list(connection)
        closed.set()

    with answering(handle) as url:
        assert refusal(url) == reason
        assert closed.wait(WAIT_S)


def test_a_server_without_a_greeting_is_an_error_and_closes_the_connection() -> None:
    closed = threading.Event()

    def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            list(connection)
        closed.set()

    with answering(handle) as url:
        assert refusal(url, connect_s=2.0) == "timed out; start a server with: waldo serve POLICY"
        assert closed.wait(WAIT_S)


def test_a_refused_connection_names_the_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
    assert refusal(url) == "[Errno 111] Connection refused; start a server with: waldo serve POLICY"


def test_an_address_that_is_not_a_websocket_is_an_error() -> None:
    expected = "http://127.0.0.1:1 isn't a valid URI: scheme isn't ws or wss; start a server with: waldo serve POLICY"
    assert refusal("http://127.0.0.1:1") == expected
    assert refusal("nonsense").endswith("; start a server with: waldo serve POLICY")


def test_a_certificate_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("none.pem", "empty.pem"):
        text = refusal("wss://127.0.0.1:1", ca_file=str(tmp_path / name))
        assert text.endswith("; start a server with: waldo serve POLICY")


@pytest.mark.parametrize("token", ["s3cret\n", "s3cret\r\nX: y", " s3cret", "\u65e5\u672c"])
def test_a_token_that_cannot_be_sent_is_not_printed(token: str) -> None:
    expected = "printable ASCII characters without a space at the start or end"
    text = refusal("ws://127.0.0.1:1", token=token)
    assert text == f"the token cannot be sent in a header, expected {expected}"


def test_another_web_server_is_an_error() -> None:
    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_error(404, "no such page")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert refusal(f"ws://127.0.0.1:{server.server_port}").startswith("HTTP 404: <!DOCTYPE HTML>")
        server.shutdown()


def test_closing_twice_and_asking_thereafter() -> None:
    with repeating({"actions": chunk()}) as client:
        client.close()
        client.close()
        assert not client.is_open
        assert error_of(client) == "sent 1000 (OK); then received 1000 (OK)"


def test_a_value_that_cannot_be_sent_leaves_the_connection_open() -> None:
    with repeating({"actions": chunk()}) as client:
        with pytest.raises(Exception, match="a message cannot be packed"):
            client.infer({"task": {1, 2}})
        np.testing.assert_array_equal(client.infer(observation()), chunk())


def test_a_killed_server_is_noticed_and_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(IMPORTABLE), prepend=":")
    with subprocess.Popen([sys.executable, "-m", "policy_server"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        idle = PolicyClient(f"ws://127.0.0.1:{int(process.stdout.readline())}")
        waiting = PolicyClient(idle.url)
        np.testing.assert_array_equal(idle.infer(observation(2.0)), chunk(2.0))
        assert idle.is_open
        waiting._connection.send(pack(observation(task="wait")))
        process.send_signal(signal.SIGKILL)
        for client in (idle, waiting):
            wait_closed(client)
            assert not client.is_open
            assert error_of(client) == "no close frame received or sent"
            client.close()
        assert process.wait(WAIT_S) == -signal.SIGKILL
