"""The access rules of a server, which its parts share: who is a visitor, and what is recorded about it.

* On the loopback interface without a token, every visitor is a user of this machine and may do everything.
* A program with the token may do everything.
* A paired browser has the role of the PIN that it was paired with.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waldo.web.addresses import Hosts
from waldo.web.attempts import Attempts
from waldo.web.audit import Audit
from waldo.web.paired import PairedBrowsers
from waldo.web.pairing import Pairing
from waldo.web.roles import Role, Visitor

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from waldo.web.tls.certificate import ServerCertificate

FREE_TOKENS = 100
"""Number of wrong tokens from an address without a delay: a program may start with an old one."""
LONGEST_TOKEN_DELAY_S = 60.0
"""Longest time that an address with wrong tokens waits [s]."""


@dataclass(kw_only=True)
class Security:
    """Access rules; by default those of the loopback interface without a token."""

    application: str = "console"
    """Name of the application, in the names of its cookies."""
    token: str | None = None
    """Token of programs; None if there is none."""
    loopback: bool = True
    """Whether the server listens on the loopback interface only."""
    port: int = 0
    """Port of the server: cookies are shared between the ports of a host, so their names differ."""
    hosts: Hosts | None = None
    """Hosts that a request may name; by default this machine's."""
    pairing: Pairing | None = None
    """PINs of browsers; None if browsers are not paired."""
    paired: PairedBrowsers = field(default_factory=PairedBrowsers)
    """The paired browsers."""
    certificate: ServerCertificate | None = None
    """Certificate of the server; None for plain HTTP."""
    audit: Audit = field(default_factory=Audit)
    """The audit log."""
    on_paired: Callable[[Visitor], None] = lambda visitor: None
    """Called with each browser that has been paired."""
    on_renewed: Callable[[str], None] = lambda fingerprint: None
    """Called with the fingerprint of a certificate that has been renewed while the server runs."""
    tokens: Attempts = field(
        default_factory=lambda: Attempts(free=FREE_TOKENS, first_s=1.0, longest_s=LONGEST_TOKEN_DELAY_S)
    )
    """Delays of addresses that send wrong tokens."""

    def __post_init__(self) -> None:
        """Accept this machine's names unless others are given."""
        self.hosts = self.hosts or Hosts(loopback=self.loopback)

    @property
    def is_open(self) -> bool:
        """Whether every request is accepted: on the loopback interface without a token."""
        return self.token is None and self.pairing is None and self.loopback

    def accepts_host(self, host: str) -> bool:
        """Return whether a request may name a host."""
        return self.hosts is not None and self.hosts.accept(host)

    def visitor(self, connection: HTTPConnection) -> Visitor | None:
        """Return who sends a request; None for an unknown visitor."""
        address = connection.client.host if connection.client else ""
        if self.is_open or self._has_token(connection, address):
            return Visitor(role=Role.ADMINISTER, address=address)
        found = self.paired.find(connection.cookies.get(self.cookie(connection), ""))
        if found is None:
            return None
        return Visitor(role=found.role, address=address, name=found.name, browser=found.browser)

    def cookie(self, connection: HTTPConnection) -> str:
        """Return the name of a paired browser's cookie."""
        name = f"waldo_{self.application}_{self.port}"
        # Only this host, over TLS, can set a cookie of this prefix (RFC 6265bis, 4.1.3.2).
        return f"__Host-{name}" if is_encrypted(connection) else name

    def _has_token(self, connection: HTTPConnection, address: str) -> bool:
        if self.token is None:
            return False
        name, value = session_of(self.token, self.application)
        if is_equal(connection.cookies.get(name, ""), value):
            return True
        given = bearer_of(connection.headers)
        return bool(given) and self.check_token(given, address)

    def check_token(self, given: str, address: str) -> bool:
        """Return whether a client sends the token; after many wrong ones its address must wait."""
        if self.token is None or self.tokens.wait_s(address):
            return False
        if is_equal(given, self.token):
            self.tokens.succeed(address)
            return True
        self.tokens.fail(address)
        return False


def bearer_of(headers: Mapping[str, str]) -> str:
    """Return the token of `Authorization: Bearer`; empty if there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def session_of(token: str, application: str) -> tuple[str, str]:
    """Return the name and value of the cookie that stands for a token of an application.

    Both depend on the token: servers on other ports of a host share its cookies, and none reveals a token.
    """
    key = token.encode()
    name, value = (hmac.new(key, text, hashlib.sha256).hexdigest() for text in (b"name", b"session"))
    return f"waldo_{application}_{name[:8]}", value


def is_equal(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())


def is_encrypted(connection: HTTPConnection) -> bool:
    """Return whether a connection uses TLS, here or at a proxy."""
    return connection.url.scheme in ("https", "wss")
