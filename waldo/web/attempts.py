"""Increasing delays for addresses that send wrong secrets."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_ADDRESSES = 10_000
"""Number of addresses that are remembered; the oldest ones are forgotten first."""


class Attempts:
    """Counts failures of each address; after some of them every further one doubles the time until the next try."""

    def __init__(
        self, *, free: int, first_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Initialize.

        Args:
            free: Number of failures without a delay.
            first_s: Delay after the next failure [s].
            longest_s: Longest delay [s].
            clock: Returns a time [s].
        """
        self._free, self._first_s, self._longest_s, self._clock = free, first_s, longest_s, clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Network -> number of failures, and the time from which it may try again [s]."""

    def wait_s(self, address: str) -> float:
        """Return how long an address must wait until it may try again [s]; 0 if it may."""
        _, from_s = self._failures.get(network_of(address), (0, float("-inf")))
        return max(0.0, from_s - self._clock())

    def fail(self, address: str) -> None:
        """Count a failure of an address."""
        network = network_of(address)
        count = self._failures.pop(network, (0, 0.0))[0] + 1
        doublings = min(count - self._free - 1, 64)
        delay_s = min(self._first_s * 2.0**doublings, self._longest_s) if doublings >= 0 else 0.0
        self._failures[network] = count, self._clock() + delay_s
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def succeed(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(network_of(address), None)


def network_of(address: str) -> str:
    """Return the address itself, or the /64 network of an IPv6 address, all of which one machine may own."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
