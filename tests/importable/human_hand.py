"""A synthetic hand of an operator in WebXR's frame, with adult proportions, for tests of retargeting."""

from __future__ import annotations

import numpy as np

from waldo.collect.devices.tracking import Side, TrackedHand

KNUCKLES = {
    "index": (-0.025, 0.0, -0.090),
    "middle": (-0.003, 0.0, -0.092),
    "ring": (0.018, 0.0, -0.085),
    "pinky": (0.036, 0.0, -0.076),
}
"""Knuckles of a right hand in its wrist's frame (-z to the fingers, y out of the back of the hand) [m]."""

PHALANGES_M = (0.042, 0.026, 0.020)
"""Lengths of the parts of a finger [m]."""

THUMB = np.array(
    [(-0.020, -0.010, -0.022), (-0.050, -0.018, -0.048), (-0.066, -0.024, -0.076), (-0.074, -0.030, -0.100)]
)
"""Joints of the open thumb of a right hand [m]."""


def finger(name: str, curl: float) -> np.ndarray:
    """Return the joints of a finger (5, 3) of a right hand, curled by 0 (straight) to 1 (into the palm)."""
    knuckle = np.array(KNUCKLES[name])
    joints, angle = [0.25 * knuckle, knuckle], 0.0
    for length, bend in zip(PHALANGES_M, (1.4, 1.7, 0.9), strict=True):
        angle += curl * bend
        joints.append(joints[-1] + length * np.array([0.0, -np.sin(angle), -np.cos(angle)]))
    return np.array(joints)


def joints_of(side: Side = "right", *, curl: float | dict[str, float] = 0.0, pinch: float = 0.0) -> np.ndarray:
    """Return the joints (25, 3) of a hand in its wrist's frame [m].

    Args:
        side: Side of the hand.
        curl: Curl of every finger, or of the named ones, 0 to 1.
        pinch: Closure of thumb and index finger: 0 open, 1 with the tips 1 cm apart.
    """
    curls = curl if isinstance(curl, dict) else dict.fromkeys(KNUCKLES, curl)
    fingers = {name: finger(name, curls.get(name, 0.0)) for name in KNUCKLES}
    if pinch:
        fingers["index"] = finger("index", 0.52 * pinch)
        fingers["middle"] = finger("middle", max(curls.get("middle", 0.0), 0.52 * pinch))
    tip = fingers["index"][-1] + np.array([-0.006, -0.006, 0.005])
    share = np.linspace(0, 1, 4)[:, None]
    thumb = THUMB + pinch * share * (tip - THUMB[-1])
    found = np.vstack([np.zeros(3), thumb, *fingers.values()])
    return found if side == "right" else found * (-1, 1, 1)


def tracked_hand(
    side: Side = "right",
    *,
    pose: np.ndarray | None = None,
    curl: float | dict[str, float] = 0.0,
    pinch: float = 0.0,
    tracked: bool = True,
) -> TrackedHand:
    """Return a hand whose wrist has a pose (4, 4), by default half a meter in front of the origin."""
    if pose is None:
        pose = np.eye(4)
        pose[:3, 3] = 0.2 if side == "right" else -0.2, 1.1, -0.5
    joints = joints_of(side, curl=curl, pinch=pinch) @ pose[:3, :3].T + pose[:3, 3]
    return TrackedHand(side=side, pose=pose, joints=joints, tracked=tracked)
