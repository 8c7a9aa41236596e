import pytest

from waldo.web import attempts
from waldo.web.attempts import Attempts, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_network_of(address: str, network: str) -> None:
    assert network_of(address) == network


def test_delays_start_after_the_free_failures_and_double_up_to_the_longest() -> None:
    now = [0.0]
    found = Attempts(free=2, first_s=1.0, longest_s=5.0, clock=lambda: now[0])
    waits = []
    for _ in range(7):
        found.fail("a")
        waits.append(found.wait_s("a"))
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert found.wait_s("b") == 0
    now[0] += 4
    assert found.wait_s("a") == 1.0
    found.succeed("a")
    assert found.wait_s("a") == 0
    found.fail("a")
    assert found.wait_s("a") == 0


def test_the_oldest_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 2)
    found = Attempts(free=0, first_s=1.0, longest_s=5.0, clock=lambda: 0.0)
    for address in ("a", "b", "a", "c"):
        found.fail(address)
    assert [found.wait_s(one) for one in ("a", "b", "c")] == [2.0, 0.0, 1.0]
