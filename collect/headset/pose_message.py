"""The page's pose messages: one for each frame of the headset, little-endian, as `page/poses.js` writes them.

| offset | type | content |
|---|---|---|
| 0 | uint8 | version |
| 1 | uint8 | flags: 1 visible, 2 the operator sees the robot itself (a phone, or passthrough) |
| 2 | uint16 | number of hands, 0 to 2 |
| 4 | uint32 | number of the message |
| 8 | float64 | time of the frame on the page's clock [ms] |
| 16 | float32 × 7 | pose of the head: position [m], quaternion (x, y, z, w) |
| 44 | | the hands |

A hand is

| offset | type | content |
|---|---|---|
| 0 | uint8 | side: 0 left, 1 right |
| 1 | uint8 | flags: 1 tracked, 2 with joints |
| 2 | uint16 | pressed buttons, one bit each |
| 4 | float32 × 2 | trigger, squeeze |
| 12 | float32 × 7 | pose of the grip or wrist |
| 40 | float32 × 75 | positions of the joints [m], if there are any |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from waldo.collect.devices.tracking import JOINT_NAMES, Side, TrackedHand
from waldo.errors import WaldoError
from waldo.typing import Array

VERSION = 1
"""Version of the format."""
HEAD = struct.Struct("<BBHId7f")
"""Start of a message."""
HAND = struct.Struct("<BBH2f7f")
"""Start of a hand."""
JOINTS = struct.Struct(f"<{3 * len(JOINT_NAMES)}f")
"""Joints of a hand."""
MAX_BYTES = HEAD.size + 2 * (HAND.size + JOINTS.size)
"""Size of the largest message [bytes]."""
VISIBLE, SEES_ROBOT = 1, 2
"""Flags of a message."""
TRACKED, WITH_JOINTS = 1, 2
"""Flags of a hand."""
SIDES: tuple[Side, Side] = ("left", "right")
"""Sides by their numbers in a message."""
BUTTONS = 8
"""Number of buttons of a hand."""
REACH_M = 20.0
"""Largest plausible distance from the origin of the tracking frame [m]."""
UNIT_TOLERANCE = 0.01
"""Largest deviation of a quaternion's length from 1."""


class PoseMessageError(WaldoError):
    """A pose message that is damaged, or contains implausible values."""

    def __init__(self, found: str, expected: str) -> None:
        """Build the message from what was found and what was expected."""
        super().__init__(f"pose message with {found}, expected {expected}; reload the page")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseMessage:
    """What a page has sent about one frame."""

    number: int
    """Number of the message; it increases."""
    page_ms: float
    """Time of the frame on the page's clock [ms]."""
    visible: bool
    """Whether the operator sees the page's scene, and nothing is in front of it."""
    sees_robot: bool
    """Whether the operator sees the robot itself rather than its cameras' images."""
    head: Array
    """Pose of the head in the tracking frame, shape (4, 4) [m]."""
    hands: dict[Side, TrackedHand]
    """The hands that the headset reports."""


def parse_pose_message(data: bytes) -> PoseMessage:
    """Return the content of a message.

    Raises:
        PoseMessageError: If it is damaged, or a value is not finite, out of range, or no rotation.
    """
    if len(data) < HEAD.size:
        raise PoseMessageError(f"{len(data)} bytes", f"at least {HEAD.size}")
    version, flags, count, number, page_ms, *head = HEAD.unpack_from(data)
    if version != VERSION:
        raise PoseMessageError(f"version {version}", f"{VERSION}")
    if count > len(SIDES):
        raise PoseMessageError(f"{count} hands", "2 at most")
    if not np.isfinite(page_ms):
        raise PoseMessageError(f"the time {page_ms}", "a finite number")
    hands: dict[Side, TrackedHand] = {}
    offset = HEAD.size
    for _ in range(count):
        hand, offset = _parse_hand(data, offset)
        if hand.side in hands:
            raise PoseMessageError(f"the {hand.side} hand twice", "each hand once")
        hands[hand.side] = hand
    if offset != len(data):
        raise PoseMessageError(f"{len(data)} bytes", f"{offset}")
    return PoseMessage(
        number=number,
        page_ms=page_ms,
        visible=bool(flags & VISIBLE),
        sees_robot=bool(flags & SEES_ROBOT),
        head=_pose(head, "head"),
        hands=hands,
    )


def _parse_hand(data: bytes, offset: int) -> tuple[TrackedHand, int]:
    """Return the hand at an offset, and the offset behind it."""
    if len(data) < offset + HAND.size:
        raise PoseMessageError(f"{len(data)} bytes", f"at least {offset + HAND.size}")
    number, flags, buttons, trigger, squeeze, *pose = HAND.unpack_from(data, offset)
    offset += HAND.size
    if number >= len(SIDES):
        raise PoseMessageError(f"a hand of side {number}", "0 (left) or 1 (right)")
    side = SIDES[number]
    for name, value in (("trigger", trigger), ("squeeze", squeeze)):
        if not 0 <= value <= 1:
            raise PoseMessageError(f"a {name} of {value}", "0 to 1")
    joints = None
    if flags & WITH_JOINTS:
        if len(data) < offset + JOINTS.size:
            raise PoseMessageError(f"{len(data)} bytes", f"at least {offset + JOINTS.size}")
        joints = np.array(JOINTS.unpack_from(data, offset)).reshape(-1, 3)
        offset += JOINTS.size
        if not (np.abs(joints) <= REACH_M).all():  # also false for NaN
            raise PoseMessageError(f"joints of the {side} hand out of range", f"within {REACH_M:.0f} m")
    hand = TrackedHand(
        side=side,
        pose=_pose(pose, f"{side} hand"),
        joints=joints,
        trigger=trigger,
        squeeze=squeeze,
        buttons=tuple(bool(buttons >> n & 1) for n in range(BUTTONS)),
        tracked=bool(flags & TRACKED),
    )
    return hand, offset


def _pose(values: list[float], name: str) -> Array:
    """Return the matrix (4, 4) of a position and a unit quaternion (x, y, z, w)."""
    position, quaternion = np.array(values[:3]), np.array(values[3:])
    if not (np.abs(position) <= REACH_M).all():
        raise PoseMessageError(f"the {name} at {position.tolist()}", f"a position within {REACH_M:.0f} m")
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) <= UNIT_TOLERANCE:
        raise PoseMessageError(f"a quaternion of length {length:.3g} of the {name}", "a rotation (length 1)")
    x, y, z, w = quaternion / length
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = position
    return pose
