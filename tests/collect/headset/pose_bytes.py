"""Pose messages as the page writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""Position and quaternion (x, y, z, w) of the origin."""


def hand_bytes(
    side: int = 1,
    flags: int = 1,
    buttons: int = 0,
    trigger: float = 0.0,
    squeeze: float = 0.0,
    pose: Sequence[float] = IDENTITY,
    joints: Sequence[float] = (),
) -> bytes:
    """Return a hand of a message."""
    data = struct.pack("<BBH2f7f", side, flags | (2 if joints else 0), buttons, trigger, squeeze, *pose)
    return data + struct.pack(f"<{len(joints)}f", *joints)


def pose_bytes(
    *hands: bytes,
    number: int = 0,
    page_ms: float = 1000.0,
    flags: int = 1,
    head: Sequence[float] = IDENTITY,
    version: int = 1,
    count: int | None = None,
) -> bytes:
    """Return a message."""
    start = struct.pack("<BBHId7f", version, flags, len(hands) if count is None else count, number, page_ms, *head)
    return start + b"".join(hands)
