"""When a message was made, sent and received, and which one of its publisher's it is."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Stamps(TypedDict):
    """Times [ns since 1970-01-01 UTC] and number of one message."""

    header_ns: int
    """The publisher's stamp."""
    receipt_ns: int
    """The recorder's stamp."""
    publish_ns: NotRequired[int]
    """When the middleware sent it; -1: unknown."""
    sequence: int
    """The publisher's count, -1 if it has none."""
