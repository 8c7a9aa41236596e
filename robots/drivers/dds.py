"""Joining a DDS domain with Eclipse Cyclone DDS, on one network interface."""

from __future__ import annotations

from typing import Any

from waldo.errors import HardwareError, MissingExtraError

LOOPBACK = """<CycloneDDS><Domain Id="any"><General><Interfaces>
<NetworkInterface name="lo" priority="default" multicast="default"/>
</Interfaces></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer Address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
"""Configuration for the loopback interface: peers are discovered by multicast, as Unitree's SDK does there too, and at
the interface's address, for kernels that carry no multicast on it."""
NAMED = """<CycloneDDS><Domain Id="any"><General><Interfaces>
<NetworkInterface name="{name}" priority="default" multicast="default"/>
</Interfaces></General></Domain></CycloneDDS>"""
"""Configuration for a named interface, as in unitree_sdk2_python (core/channel_config.py)."""
ANY = '<CycloneDDS><Domain Id="any"></Domain></CycloneDDS>'
"""Configuration that leaves the choice of the interface to Cyclone DDS."""

_domains: dict[int, tuple[str, Any]] = {}
"""Domain id -> interface and domain: a process can create a domain only once."""


def join_domain(domain: int, interface: str = "") -> Any:
    """Return a new participant of a domain.

    Args:
        domain: Id of the domain.
        interface: Network interface, such as eth0 or lo; empty to let Cyclone DDS choose.

    Raises:
        HardwareError: If the domain cannot be joined on this interface, or was joined on another one.
    """
    try:
        from cyclonedds.core import DDSException
        from cyclonedds.domain import Domain, DomainParticipant
    except ImportError:
        raise MissingExtraError("cyclonedds", "unitree") from None
    try:
        if domain not in _domains:
            config = ANY if not interface else LOOPBACK if interface == "lo" else NAMED.format(name=interface)
            _domains[domain] = (interface, Domain(domain, config))
        if _domains[domain][0] != interface:
            raise HardwareError(
                f"DDS domain {domain} is already joined on interface {_domains[domain][0] or 'any'!r}, "
                f"not {interface or 'any'!r}; use one interface per process"
            )
        return DomainParticipant(domain)
    except DDSException as error:
        raise HardwareError(
            f"DDS domain {domain} cannot be joined on {interface or 'any interface'} ({' '.join(str(error).split())}); "
            "check that the network interface is up and has an address in 192.168.123.0/24"
        ) from error
