"""The frame of an operator's hand by its own geometry, and whether the reported frame agrees with it.

A headset, a browser or a page that confuses two frames reports a hand that is turned or mirrored; the robot would then
move in another direction than the operator. Two independent measurements of the same hand reveal that: the axes that
the headset reports for the wrist, and the positions of the knuckles. A mirrored hand has the wrong chirality: its palm,
computed for its side, is where the reported frame has the back of the hand.
"""

from __future__ import annotations

import numpy as np

from waldo.collect.devices.tracking import JOINT_NAMES, Side, TrackedHand
from waldo.collect.retargeting.frames import is_rotation
from waldo.typing import Array

WRIST, THUMB_BASE, THUMB_TIP = (JOINT_NAMES.index(name) for name in ("wrist", "thumb-metacarpal", "thumb-tip"))
"""Indices of joints of a hand."""

INDEX, MIDDLE, LITTLE = (
    JOINT_NAMES.index(f"{finger}-finger-phalanx-proximal") for finger in ("index", "middle", "pinky")
)
"""Indices of the knuckles of a hand."""

RING_TIP, LITTLE_TIP, INDEX_TIP = (JOINT_NAMES.index(f"{finger}-finger-tip") for finger in ("ring", "pinky", "index"))
"""Indices of fingertips of a hand."""

MIN_COSINE = 0.5
"""Cosine of the largest angle, 60 degrees, between a reported axis and the same axis by the hand's geometry; headsets
place the wrist's axes along the forearm or along the metacarpal bones, which differ by less."""

PALM_M = (0.05, 0.15)
"""Smallest and largest distance from the wrist to the middle knuckle [m]; adults have 0.08 to 0.11."""


def canonical_rotation(joints: Array, side: Side) -> Array:
    """Return the axes of a hand by its geometry: x to the middle knuckle, z out of the palm, y = z × x.

    Args:
        joints: Positions of the joints, shape (25, 3) [m].
        side: Side of the hand; the palm of a left hand is on the other side of the same knuckles.

    Returns:
        Rotation matrix, shape (3, 3), whose columns are the axes in the frame of the positions.
    """
    x = _unit(joints[MIDDLE] - joints[WRIST])
    across = np.cross(joints[INDEX] - joints[WRIST], joints[LITTLE] - joints[WRIST])
    palm = across if side == "right" else -across
    z = _unit(palm - (palm @ x) * x)
    return np.column_stack([x, np.cross(z, x), z]).astype(np.float64)


def frame_fault(hand: TrackedHand) -> str:
    """Return why the frame of a hand cannot be used, as a phrase for the operator; empty if it can.

    The values of the hand must be finite.
    """
    if not is_rotation(hand.pose[:3, :3]):
        mirrored = np.linalg.det(hand.pose[:3, :3]) < 0
        return f"the {hand.side} hand's frame is {'mirrored' if mirrored else 'not a rotation'}"
    if hand.joints is None:
        return ""
    joints = hand.joints
    length = float(np.linalg.norm(joints[MIDDLE] - joints[WRIST]))
    if not PALM_M[0] <= length <= PALM_M[1]:
        return f"the {hand.side} palm is {length * 100:.1f} cm long: its joints are not in meters or not in order"
    thumb = joints[THUMB_BASE]
    if np.linalg.norm(thumb - joints[INDEX]) > np.linalg.norm(thumb - joints[LITTLE]):
        return f"the {hand.side} thumb is at the little finger: the joints of the hand are not in order"
    canonical = canonical_rotation(joints, hand.side)
    fingers, palm = -hand.pose[:3, 2] @ canonical[:, 0], -hand.pose[:3, 1] @ canonical[:, 2]
    if palm < -MIN_COSINE and fingers > MIN_COSINE:
        return f"the {hand.side} hand is mirrored: its palm is where the headset reports the back of the hand"
    if min(fingers, palm) < MIN_COSINE:
        turned = np.degrees(np.arccos(np.clip(min(fingers, palm), -1, 1)))
        return f"the {hand.side} hand's frame is turned by {turned:.0f} degrees against its knuckles"
    return ""


def finger_fold(joints: Array) -> float:
    """Return how far ring and little finger are folded into the palm: 0 straight, 1 folded.

    Distance of the tips from the wrist over the length of the palm: 1.8 to 2 when straight, below 1 when folded.
    """
    palm = np.linalg.norm(joints[MIDDLE] - joints[WRIST])
    reach = max(float(np.linalg.norm(joints[tip] - joints[WRIST])) for tip in (RING_TIP, LITTLE_TIP))
    return float(np.clip((1.6 - reach / palm) / 0.6, 0.0, 1.0))


def pinch_distance(joints: Array) -> float:
    """Return the distance between the tips of thumb and index finger [m]."""
    return float(np.linalg.norm(joints[THUMB_TIP] - joints[INDEX_TIP]))


def _unit(vector: Array) -> Array:
    """Return a vector of length 1; a zero vector stays zero."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, dtype=np.float64)
