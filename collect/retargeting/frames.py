"""Frames: from WebXR's tracking frame to the operator's, and rotations as vectors.

Names read from left to right: `a_from_b` transforms coordinates in frame b into coordinates in frame a.
"""

from __future__ import annotations

import numpy as np

from waldo.typing import Array

OPERATOR_FROM_WEBXR = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Rotation from WebXR's axes (x right, y up, -z forward) to a robot's (x forward, y left, z up)."""

ROTATION_TOLERANCE = 0.01
"""Largest deviation of the entries of RᵀR from the identity, with which a matrix counts as a rotation."""


def to_operator(points: Array) -> Array:
    """Return points or directions (..., 3) of WebXR's frame with a robot's axes (x forward, y left, z up)."""
    return points @ OPERATOR_FROM_WEBXR.T


def pose_to_operator(pose: Array) -> Array:
    """Return a pose (4, 4) of WebXR's frame in a frame with a robot's axes; the pose's own axes are unchanged."""
    found = np.eye(4)
    found[:3] = OPERATOR_FROM_WEBXR @ pose[:3]
    return found


def yaw_rotation(yaw_rad: float) -> Array:
    """Return the rotation matrix (3, 3) by an angle about z [rad]."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def heading(head: Array) -> float:
    """Return the direction in which a head looks, as an angle about the vertical [rad]; 0 is WebXR's forward.

    Args:
        head: Pose in WebXR's frame, shape (4, 4).
    """
    forward, up = to_operator(-head[:3, 2]), to_operator(head[:3, 1])
    # When the operator looks at the floor, the top of the head points forward, and backward for the ceiling.
    level = forward if np.hypot(forward[0], forward[1]) > np.abs(forward[2]) * 0.2 else -np.sign(forward[2]) * up
    return float(np.arctan2(level[1], level[0]))


def is_rotation(matrix: Array) -> bool:
    """Return whether a matrix (3, 3) is a rotation: orthonormal, and not mirrored."""
    return bool(
        np.isfinite(matrix).all()
        and np.abs(matrix.T @ matrix - np.eye(3)).max() < ROTATION_TOLERANCE
        and np.linalg.det(matrix) > 0
    )


def rotation_vector(rotation: Array) -> Array:
    """Return the rotation vector (3,), axis times angle [rad], of a rotation matrix (3, 3)."""
    skew = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine, cosine = float(np.linalg.norm(skew)), float(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    angle = float(np.arctan2(sine, cosine))
    if sine > 1e-6:
        return skew * (angle / sine)
    if cosine > 0:
        return skew
    # Half a turn: the symmetric part is 2 a aᵀ - 1.
    axis = rotation[:, int(np.argmax(np.diag(rotation)))] + np.eye(3)[int(np.argmax(np.diag(rotation)))]
    return np.pi * axis / np.linalg.norm(axis)


def rotation_matrix(vector: Array) -> Array:
    """Return the rotation matrix (3, 3) of a rotation vector (3,) [rad] (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sinc(angle / np.pi) * skew + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * skew @ skew
