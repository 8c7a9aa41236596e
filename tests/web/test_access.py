import pytest

from waldo.web.hosts import host_of, is_loopback
from waldo.web.security import bearer_of


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST", "localhost."])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.4", "localhost.evil.example", "127.0.0.1.nip.io", "2130706433"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "host"),
    [("localhost:8650", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]:8650", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_host_of(header: str, host: str) -> None:
    assert host_of(header) == host


def test_bearer_of() -> None:
    assert bearer_of({"authorization": "Bearer s3cret"}) == "s3cret"
    assert bearer_of({"authorization": "bearer s3cret"}) == "s3cret"
    assert bearer_of({"authorization": "Basic s3cret"}) == ""
    assert bearer_of({}) == ""
