"""Timestamps and sequence number of a message."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Stamps(TypedDict):
    """Timestamps [ns since 1970-01-01 UTC] and sequence number of one message."""

    header_ns: int
    """Stamp in the message's header, set by the publisher."""
    receipt_ns: int
    """When the recorder received it."""
    publish_ns: NotRequired[int]
    """When the middleware sent it; -1: unknown."""
    sequence: int
    """The publisher's sequence number; -1 if it does not count."""
