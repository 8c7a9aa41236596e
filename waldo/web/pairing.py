"""Pairing of a browser by a PIN that the terminal shows.

A PIN is used once, expires, and is void after a few wrong attempts from anywhere: of 10^8 PINs an attacker tries
`MAX_WRONG`, and then waits until a person asks for another one. An address that fails waits longer each time.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from waldo.errors import WaldoError
from waldo.web.attempts import Attempts
from waldo.web.roles import Role

PIN_DIGITS = 8
"""Number of digits of a PIN."""
VALID_S = 300.0
"""Time for which a PIN is valid [s]."""
MAX_WRONG = 5
"""Number of wrong attempts, from all addresses together, after which a PIN is void."""
FIRST_DELAY_S = 1.0
"""Time that an address waits after its first wrong attempt [s]; each further one doubles it."""
LONGEST_DELAY_S = 300.0
"""Longest time that an address waits [s]."""


class PairingError(WaldoError):
    """A pairing that is refused."""

    def __init__(self, wait_s: float = 0.0) -> None:
        """Build the message; `wait_s` is the time until the address may try again [s], 0 if its PIN is wrong."""
        self.wait_s = wait_s
        # Wrong, used and expired PINs are not distinguished: an attacker must not learn which PINs exist.
        invalid = "this PIN is not valid; get another one where the server runs"
        super().__init__(f"too many attempts; try again in {wait_s:.0f} s" if wait_s else invalid)


@dataclass(slots=True)
class _Pin:
    value: str
    until_s: float
    wrong: int = 0


def random_pin() -> str:
    """Return a random PIN."""
    return f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}d}"


class Pairing:
    """The PINs that are valid now, at most one of each role; its methods may be called from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Initialize without a PIN; `clock` returns a time [s]."""
        self._clock = clock
        self._lock = threading.Lock()
        self._pins: dict[Role, _Pin] = {}
        self._attempts = Attempts(free=0, first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S, clock=clock)

    def offer(self, role: Role) -> str:
        """Return a new PIN for a role; the role's former one is void."""
        with self._lock:
            taken = {pin.value for pin in self._pins.values()}
            while (value := random_pin()) in taken:
                pass
            self._pins[role] = _Pin(value, self._clock() + VALID_S)
        return value

    def is_offered(self) -> bool:
        """Return whether any PIN is valid."""
        with self._lock:
            self._drop_void()
            return bool(self._pins)

    def redeem(self, given: str, address: str) -> Role:
        """Use up a PIN and return its role.

        Args:
            given: What the browser sent; spaces and hyphens are ignored.
            address: Address of the browser.

        Raises:
            PairingError: If it is not a valid PIN, or the address must wait.
        """
        digits = "".join(given.split()).replace("-", "")
        with self._lock:
            if wait_s := self._attempts.wait_s(address):
                raise PairingError(wait_s)
            self._drop_void()
            # All are compared, each in constant time: the duration reveals nothing.
            equal = [r for r, pin in self._pins.items() if hmac.compare_digest(pin.value.encode(), digits.encode())]
            if not equal:
                self._attempts.fail(address)
                for pin in self._pins.values():
                    pin.wrong += 1
                raise PairingError
            del self._pins[equal[0]]
            self._attempts.succeed(address)
            return equal[0]

    def _drop_void(self) -> None:
        """Remove PINs that have expired or been guessed at too often."""
        now_s = self._clock()
        self._pins = {r: pin for r, pin in self._pins.items() if now_s < pin.until_s and pin.wrong < MAX_WRONG}
