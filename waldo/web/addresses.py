"""The names and addresses under which this machine is reached."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable

from waldo.web.hosts import is_loopback

REFRESH_S = 10.0
"""Interval at which the machine's addresses are read again when a request names an unknown one [s]."""


def machine_names() -> list[str]:
    """Return the names of this machine: its host name, the one of multicast DNS, and localhost."""
    name = normalized(socket.gethostname())
    short = name.partition(".")[0]
    return list(dict.fromkeys(one for one in (name, f"{short}.local" if short else "", "localhost") if one))


def machine_addresses() -> list[str]:
    """Return the addresses of this machine's network interfaces, without zones, the loopback included."""
    import psutil

    found = [
        normalized(entry.address.partition("%")[0])
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(["127.0.0.1", "::1", *found]))


def network_address() -> str:
    """Return the address under which other machines reach this one; its host name if there is none.

    An IPv4 address of a private or public network is preferred, since every phone reaches it.
    """
    addresses = [ipaddress.ip_address(one) for one in machine_addresses()]
    usable = [one for one in addresses if not one.is_loopback and not one.is_link_local]
    routed = _route_source()
    best = sorted(usable, key=lambda one: (str(one) != routed, one.version, int(one)))
    return str(best[0]) if best else socket.gethostname()


def _route_source() -> str:
    """Return the source address of the default route; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def normalized(host: str) -> str:
    """Return a host name in lower case without a final dot, or an address in its shortest form."""
    host = host.rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


class Hosts:
    """The hosts that a Host header may name; otherwise a page of another site could read a server by DNS rebinding."""

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        loopback: bool = False,
        addresses: Callable[[], list[str]] = machine_addresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Initialize.

        Args:
            names: Further names under which the server is reached.
            loopback: Whether the server listens on the loopback interface only.
            addresses: Returns the machine's addresses.
            clock: Returns a time [s].
        """
        self.names = [normalized(name) for name in names]
        self._loopback, self._addresses, self._clock = loopback, addresses, clock
        self._known: frozenset[str] = frozenset()
        self._read_s = float("-inf")

    def all(self) -> list[str]:
        """Return the names and addresses for a certificate."""
        return list(dict.fromkeys([*self.names, *machine_names(), *self._addresses()]))

    def accept(self, host: str) -> bool:
        """Return whether a host is this machine."""
        name = normalized(host)
        if is_loopback(name) or name in self.names:
            return True
        if self._loopback:
            return False
        if name not in self._known and self._clock() - self._read_s >= REFRESH_S:
            self._known = frozenset(self.all())
            self._read_s = self._clock()
        return name in self._known
