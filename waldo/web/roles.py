"""What a browser or program may do at a server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """Rights of a visitor; each role includes the ones below it. Every role may stop the robot."""

    WATCH = 1
    """Look, and stop the robot."""
    OPERATE = 2
    """Also request: record, enable, and control the robot."""
    ADMINISTER = 3
    """Also list and revoke paired browsers, and take control from another page."""

    @property
    def word(self) -> str:
        """Its name in messages and files: "watch", "operate" or "administer"."""
        return self.name.lower()


def role_named(word: object) -> Role | None:
    """Return the role of a name; None if there is none."""
    return next((role for role in Role if role.word == word), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who sends a request."""

    role: Role
    """Rights."""
    address: str = ""
    """Address of the client."""
    name: str = ""
    """Name that a paired browser has been given; empty otherwise."""
    browser: str = ""
    """Identity of a paired browser; empty for a program with the token, and on the loopback interface."""

    @property
    def label(self) -> str:
        """Its name and address, for other visitors."""
        return f"{self.name} ({self.address})" if self.name else self.address
