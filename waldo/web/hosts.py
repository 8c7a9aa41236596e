"""Names and addresses of hosts, and the tokens that clients send to them."""

from __future__ import annotations

import ipaddress
import re

TOKEN_FORM = "printable ASCII characters without a space at the start or end"
"""What a token is, for messages."""


def is_token(text: str) -> bool:
    """Return whether a text can be sent as a token in an HTTP header."""
    return bool(re.fullmatch(r"[!-~]([ -~]*[!-~])?", text))


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the host of a Host header without its port and without the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
