"""PINs: used once, expiring, limited in attempts, and addresses that must wait."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from waldo.web import pairing as module
from waldo.web.pairing import LONGEST_DELAY_S, MAX_WRONG, PIN_DIGITS, VALID_S, Pairing, PairingError
from waldo.web.roles import Role


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pairing(clock: Clock) -> Pairing:
    return Pairing(clock=clock)


def wrong(pin: str) -> str:
    return str((int(pin) + 1) % 10**PIN_DIGITS).zfill(PIN_DIGITS)


def test_a_pin_gives_its_role_once(pairing: Pairing, clock: Clock) -> None:
    watch, operate = pairing.offer(Role.WATCH), pairing.offer(Role.OPERATE)
    assert pairing.redeem(f"{operate[:4]} {operate[4:]}", "10.0.0.1") is Role.OPERATE
    with pytest.raises(PairingError, match=r"^this PIN is not valid; get another one where the server runs$"):
        pairing.redeem(operate, "10.0.0.1")
    clock.now_s += 10
    assert pairing.redeem(watch, "10.0.0.1") is Role.WATCH
    assert not pairing.is_offered()


def test_a_pin_expires(pairing: Pairing, clock: Clock) -> None:
    pin = pairing.offer(Role.OPERATE)
    clock.now_s += VALID_S
    with pytest.raises(PairingError):
        pairing.redeem(pin, "10.0.0.1")
    pin = pairing.offer(Role.OPERATE)
    clock.now_s += VALID_S - 1
    assert pairing.redeem(pin, "10.0.0.1") is Role.OPERATE


def test_a_new_pin_voids_the_former_one_of_its_role(pairing: Pairing) -> None:
    former = pairing.offer(Role.OPERATE)
    pairing.offer(Role.OPERATE)
    with pytest.raises(PairingError):
        pairing.redeem(former, "10.0.0.1")


def test_wrong_attempts_from_anywhere_void_every_pin(pairing: Pairing) -> None:
    pin = pairing.offer(Role.OPERATE)
    for number in range(MAX_WRONG):
        with pytest.raises(PairingError):
            pairing.redeem(wrong(pin), f"10.0.1.{number}")
    assert not pairing.is_offered()
    with pytest.raises(PairingError):
        pairing.redeem(pin, "10.0.0.1")
    assert pairing.redeem(pairing.offer(Role.OPERATE), "10.0.0.2") is Role.OPERATE


def test_one_attempt_less_does_not(pairing: Pairing) -> None:
    pin = pairing.offer(Role.OPERATE)
    for number in range(MAX_WRONG - 1):
        with pytest.raises(PairingError):
            pairing.redeem(wrong(pin), f"10.0.1.{number}")
    assert pairing.redeem(pin, "10.0.0.1") is Role.OPERATE


def test_an_address_waits_longer_after_each_wrong_attempt(pairing: Pairing, clock: Clock) -> None:
    waits = []
    for _ in range(12):
        pin = pairing.offer(Role.OPERATE)
        with pytest.raises(PairingError):
            pairing.redeem(wrong(pin), "10.0.0.1")
        # Even the right one is refused now.
        with pytest.raises(PairingError, match=r"^too many attempts; try again in \d+ s$") as refused:
            pairing.redeem(pin, "10.0.0.1")
        waits.append(refused.value.wait_s)
        clock.now_s += refused.value.wait_s
    assert waits == [min(2.0**n, LONGEST_DELAY_S) for n in range(12)]
    assert pairing.redeem(pairing.offer(Role.OPERATE), "10.0.0.2") is Role.OPERATE


def test_addresses_of_one_ipv6_network_wait_together(pairing: Pairing) -> None:
    pin = pairing.offer(Role.OPERATE)
    with pytest.raises(PairingError):
        pairing.redeem(wrong(pin), "2001:db8::1")
    with pytest.raises(PairingError, match="too many attempts"):
        pairing.redeem(pin, "2001:db8::ffff:2")
    assert pairing.redeem(pin, "2001:db8:0:1::1") is Role.OPERATE


@pytest.mark.parametrize("given", ["", "0", "9" * 100_000, "ä¹²", "\x00"])
def test_what_is_not_a_pin_is_wrong(pairing: Pairing, given: str) -> None:
    pairing.offer(Role.OPERATE)
    with pytest.raises(PairingError):
        pairing.redeem(given, "10.0.0.1")


def test_pins_are_compared_in_constant_time(pairing: Pairing, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append(first)
        return first == second

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    pins = [pairing.offer(role) for role in Role]
    pairing.redeem(pins[0], "10.0.0.1")
    # All of them, also after the one that is equal.
    assert [one.decode() for one in compared] == pins


def test_pins_are_random(pairing: Pairing) -> None:
    pins = {pairing.offer(Role.WATCH) for _ in range(200)}
    assert len(pins) > 190
    assert all(len(pin) == PIN_DIGITS and pin.isdecimal() for pin in pins)
