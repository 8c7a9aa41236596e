"""A DDS domain through Eclipse Cyclone DDS, on one network interface."""

from __future__ import annotations

from typing import Any

from waldo.errors import HardwareError, MissingExtraError

LOOPBACK = """<CycloneDDS><Domain Id="any">
<General><Interfaces><NetworkInterface name="lo"/></Interfaces><AllowMulticast>false</AllowMulticast></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer Address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
"""The loopback has no multicast: peers are looked for at its address."""
NAMED = """<CycloneDDS><Domain Id="any"><General><Interfaces>
<NetworkInterface name="{name}" priority="default" multicast="default"/>
</Interfaces></General></Domain></CycloneDDS>"""
"""As unitree_sdk2_python does (core/channel_config.py)."""
ANY = '<CycloneDDS><Domain Id="any"></Domain></CycloneDDS>'

_domains: dict[int, tuple[str, Any]] = {}
"""A process can create a domain once; it lives as long as the process."""


def join_domain(domain: int, interface: str = "") -> Any:
    """Return a new participant of a domain; `interface` is eth0, lo ..., or "" for what Cyclone DDS takes."""
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
                f"not {interface or 'any'!r}; use one interface a process"
            )
        return DomainParticipant(domain)
    except DDSException as error:
        raise HardwareError(
            f"DDS domain {domain} cannot be joined on {interface or 'any interface'} ({' '.join(str(error).split())}); "
            "is the robot's network interface up, with an address in 192.168.123.0/24?"
        ) from error
