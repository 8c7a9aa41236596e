"""A policy server over loopback: answers, refusals, and a connection that continues after either."""

import datetime
import http.client
import ipaddress
import logging
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from policy_server import FRONT, METADATA, STATE, WAIT_S, Serving, chunk, observation, serving
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from waldo.train.serving import server as server_module
from waldo.train.serving.client import PolicyClient, ServerError
from waldo.train.serving.server import tls_context
from waldo.train.serving.wire import pack, unpack

SECRET = "s3cret"


@pytest.fixture
def served() -> Iterator[Serving]:
    with serving() as served:
        yield served


def dial(served: Serving, **headers: str) -> ClientConnection:
    """Connect as any program may; the first message is not yet received."""
    return connect(served.url, compression=None, proxy=None, additional_headers=headers)


def ask(connection: ClientConnection, message: Mapping[str, Any] | bytes | str) -> Any:
    """Return the answer to a message: a map, or the text of a refusal."""
    connection.send(message if isinstance(message, bytes | str) else pack(dict(message)))
    answer = connection.recv(timeout=WAIT_S)
    return answer if isinstance(answer, str) else unpack(answer)


def refusal(served: Serving, **headers: str) -> tuple[int, str]:
    """Return the status and the text with which a connection is refused."""
    with pytest.raises(InvalidStatus) as caught, dial(served, **headers):
        pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


def test_the_metadata_are_the_first_message(served: Serving) -> None:
    with dial(served) as connection:
        assert msgpack.unpackb(connection.recv(timeout=WAIT_S)) == METADATA


def test_a_client_receives_the_metadata_and_the_actions_of_the_policy(served: Serving) -> None:
    client = PolicyClient(served.url)
    assert client.metadata == METADATA
    for number in (0.1, -3.0, 1e-7):
        actions = client.infer(observation(number))
        assert actions.dtype == np.float64
        np.testing.assert_array_equal(actions, chunk(float(np.float32(number))).astype(np.float32))
    client.close()
    assert (served.server.answered, served.server.refused) == (3, 0)


def test_an_answer_contains_what_openpi_s_contains(served: Serving) -> None:
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        answer = ask(connection, observation(2.0))
    assert set(answer) == {"actions", "server_timing"}
    assert answer["actions"].dtype == np.float32
    np.testing.assert_array_equal(answer["actions"], chunk(2.0))
    assert list(answer["server_timing"]) == ["infer_ms"]
    assert answer["server_timing"]["infer_ms"] > 0


@pytest.mark.parametrize("number", [0, 7, "a1", None])
def test_the_number_of_a_request_is_repeated(served: Serving, number: object) -> None:
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        assert ask(connection, {**observation(), "request_id": number})["request_id"] == number


def test_clients_at_once_receive_the_actions_of_their_own_observations(served: Serving) -> None:
    start = threading.Barrier(8)

    def run(client: int) -> None:
        connection = PolicyClient(served.url)
        start.wait(WAIT_S)
        for step in range(20):
            number = float(100 * client + step)
            np.testing.assert_array_equal(connection.infer(observation(number)), chunk(number))
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert served.server.answered == sum(served.policy.batches) == 160


def test_observations_of_clients_that_wait_share_a_call(served: Serving) -> None:
    clients = [PolicyClient(served.url) for _ in range(4)]
    submitted = threading.Semaphore(0)
    submit = served.server._batcher.submit

    def counted(found: Mapping[str, Any]) -> Any:
        try:
            return submit(found)
        finally:
            submitted.release()

    served.server._batcher.submit = counted
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(clients[0].infer, observation(9.0, task="wait"))
        assert served.policy.waiting.wait(WAIT_S)
        others = [pool.submit(client.infer, observation(float(k))) for k, client in enumerate(clients[1:])]
        assert all(submitted.acquire(timeout=WAIT_S) for _ in range(4))
        served.policy.resume.set()
        np.testing.assert_array_equal(first.result(WAIT_S), chunk(9.0))
        for number, other in enumerate(others):
            np.testing.assert_array_equal(other.result(WAIT_S), chunk(float(number)))
    for client in clients:
        client.close()
    assert served.policy.batches == [1, 3]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("lift it", "a request is text, expected a msgpack map in a binary message"),
        ("", "a request is text, expected a msgpack map in a binary message"),
        (b"", "a message is not msgpack: ValueError: Unpack failed: incomplete input"),
        (b"\xc1", "a message is not msgpack: FormatError"),
        (b"\x03", "a message is a int, expected a map"),
        ({}, f"an observation lacks {STATE}, {FRONT}; it contains nothing"),
        ({**observation(), STATE: np.zeros(2)}, f"{STATE} has the shape (2,), expected (3,)"),
        (observation(np.nan), f"{STATE} contains a value that is not finite"),
        (observation(task="raise"), "RuntimeError: the policy failed"),
        (observation(task="nan"), "action 2 of the policy is not finite"),
    ],
)
def test_a_refusal_is_a_text_after_which_the_connection_continues(
    served: Serving, message: Mapping[str, Any] | bytes | str, text: str
) -> None:
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        assert ask(connection, message) == text
        np.testing.assert_array_equal(ask(connection, observation(3.0))["actions"], chunk(3.0))
    assert (served.server.answered, served.server.refused) == (1, 1)


def test_a_number_of_a_request_that_cannot_be_repeated_is_a_refusal(served: Serving) -> None:
    extended = {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f16"}
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        text = ask(connection, {**observation(), "request_id": extended})
        assert text == "a message cannot be packed: recursion limit exceeded."
        np.testing.assert_array_equal(ask(connection, observation())["actions"], chunk())
    assert (served.server.answered, served.server.refused) == (1, 1)


def test_the_text_of_a_refusal_has_a_limited_length(served: Serving) -> None:
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        text = ask(connection, {"k" * 100_000: 1})
    start = f"an observation lacks {STATE}, {FRONT}; it contains "
    assert text == start + "k" * (2000 - len(start))


def test_fuzzed_messages_do_not_end_the_connection_or_the_server(served: Serving) -> None:
    rng = np.random.default_rng(0)
    valid = pack(observation())
    with dial(served) as connection:
        connection.recv(timeout=WAIT_S)
        for number in range(500):
            data = bytearray(valid)
            if number % 3 == 0:
                data = bytearray(rng.bytes(int(rng.integers(1, 300))))
            elif number % 3 == 1:
                del data[int(rng.integers(1, len(data))) :]
            else:
                for place in rng.integers(0, len(data), 4):
                    data[place] = rng.integers(0, 256)
            ask(connection, bytes(data))
        np.testing.assert_array_equal(ask(connection, observation(5.0))["actions"], chunk(5.0))
    assert served.server.answered + served.server.refused == 501
    assert served.server.refused > 300
    client = PolicyClient(served.url)
    np.testing.assert_array_equal(client.infer(observation(6.0)), chunk(6.0))
    client.close()


def test_a_message_beyond_the_limit_ends_its_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_BYTES", 1000)
    with serving() as served, dial(served) as connection, dial(served) as other:
        connection.send(bytes(1001))
        connection.recv(timeout=WAIT_S)
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv(timeout=WAIT_S)
        assert caught.value.sent is not None
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        other.recv(timeout=WAIT_S)
        np.testing.assert_array_equal(ask(other, observation())["actions"], chunk())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": SECRET},
        {"Authorization": "Api-Key"},
        {"Authorization": "Api-Key wrong"},
        {"Authorization": f"Api-Key {SECRET}x"},
        {"Authorization": f"Api-Key {SECRET.upper()}"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Api-Key s\u00e9cret"},
        {"X-Api-Key": SECRET},
    ],
    ids=str,
)
def test_a_missing_or_wrong_token_is_refused(headers: dict[str, str]) -> None:
    with serving(token=SECRET) as served:
        assert refusal(served, **headers) == (401, "the token is missing or wrong\n")
        assert served.server.refused == 1


@pytest.mark.parametrize("header", [f"Api-Key {SECRET}", f"Bearer {SECRET}", f"bearer {SECRET}", f"api-key  {SECRET} "])
def test_the_token_is_accepted_in_both_schemes(header: str) -> None:
    with serving(token=SECRET) as served, dial(served, Authorization=header) as connection:
        assert unpack(connection.recv(timeout=WAIT_S)) == METADATA


def test_a_client_sends_its_token() -> None:
    with serving(token=SECRET) as served:
        client = PolicyClient(served.url, token=SECRET)
        np.testing.assert_array_equal(client.infer(observation()), chunk())
        client.close()
        for token in (None, "wrong"):
            with pytest.raises(ServerError) as caught:
                PolicyClient(served.url, token=token)
            assert str(caught.value) == f"{served.url}: HTTP 401: the token is missing or wrong"


def test_a_web_page_is_refused_even_with_the_token() -> None:
    with serving(token=SECRET) as served:
        expected = (403, "connections from web pages are refused\n")
        for origin in ("https://example.com", served.url.replace("ws:", "http:"), "null"):
            assert refusal(served, Origin=origin, Authorization=f"Api-Key {SECRET}") == expected


def test_the_health_of_a_server_needs_neither_a_token_nor_a_websocket() -> None:
    with serving(token=SECRET) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=WAIT_S)
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"OK\n")
        connection.close()
        assert served.server.refused == 0


class Closed(logging.Handler):
    """Sets an event when the server logs that a connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith(" closed"):
            self.seen.set()


def test_clients_beyond_the_limit_are_refused_until_one_disconnects(caplog: pytest.LogCaptureFixture) -> None:
    closed = Closed()
    caplog.set_level(logging.INFO, server_module.LOG.name)
    server_module.LOG.addHandler(closed)
    with serving(max_clients=2) as served, dial(served) as first, dial(served) as second:
        first.recv(timeout=WAIT_S)
        second.recv(timeout=WAIT_S)
        assert refusal(served) == (503, "2 clients are connected already\n")
        first.close()
        assert closed.seen.wait(WAIT_S)
        with dial(served) as third:
            third.recv(timeout=WAIT_S)
            np.testing.assert_array_equal(ask(third, observation())["actions"], chunk())
    server_module.LOG.removeHandler(closed)


def test_the_end_of_the_server_closes_the_connections_after_their_answers() -> None:
    with serving() as served, ThreadPoolExecutor(1) as pool:
        idle, busy = PolicyClient(served.url), PolicyClient(served.url)
        answer = pool.submit(busy.infer, observation(task="wait"))
        assert served.policy.waiting.wait(WAIT_S)
        served.policy.resume.set()
        np.testing.assert_array_equal(answer.result(WAIT_S), chunk())
    for client in (idle, busy):
        client._connection.recv_events_thread.join(WAIT_S)
        assert not client.is_open
        client.close()
    assert not served.server._batcher._thread.is_alive()


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[str, str]:
    """Create a certificate for an address and its key; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_actions_over_tls_from_a_server_whose_certificate_is_trusted(tmp_path: Path) -> None:
    trusted, key = certificate(tmp_path)
    with serving(tls=tls_context(trusted, key), token=SECRET) as served:
        client = PolicyClient(served.url, token=SECRET, ca_file=trusted)
        np.testing.assert_array_equal(client.infer(observation()), chunk())
        client.close()
        with pytest.raises(ServerError, match="certificate verify failed: self-signed certificate"):
            PolicyClient(served.url, token=SECRET)
        with pytest.raises(ServerError):
            PolicyClient(served.url.replace("wss:", "ws:"), token=SECRET, connect_s=5.0)


def test_a_certificate_of_another_address_is_refused(tmp_path: Path) -> None:
    trusted, key = certificate(tmp_path, "192.0.2.1")
    context = tls_context(trusted, key)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with serving(tls=context) as served, pytest.raises(ServerError, match="IP address mismatch"):
        PolicyClient(served.url, ca_file=trusted)
