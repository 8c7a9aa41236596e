"""The clutch: a hand moves its arm relative to where the operator engaged, in the operator's directions."""

from __future__ import annotations

import numpy as np

from waldo.collect.retargeting.frames import pose_to_operator, yaw_rotation
from waldo.typing import Array


class Clutch:
    """The relation between one hand and one end effector while the operator is engaged.

    Engaging moves nothing: the first target is the pose of the end effector. Forward is where the operator looks at
    that moment, however the tracking frame or the operator has turned since the last time.
    """

    def __init__(self, scale: float) -> None:
        """Initialize released.

        Args:
            scale: Motion of the end effector over that of the hand; rotations are not scaled.
        """
        self._scale = scale
        self._anchor: tuple[Array, Array, Array] | None = None

    @property
    def engaged(self) -> bool:
        """Whether the hand moves its arm."""
        return self._anchor is not None

    def engage(self, hand: Array, effector: Array, yaw_rad: float) -> None:
        """Couple a hand to an end effector.

        Args:
            hand: Pose of the hand in WebXR's frame, shape (4, 4) [m].
            effector: Pose of the end effector in the MJCF's world, shape (4, 4) [m].
            yaw_rad: Angle about the vertical from the tracking frame's forward to the x axis of the MJCF's world [rad].
        """
        self._anchor = pose_to_operator(hand), effector.copy(), yaw_rotation(yaw_rad)

    def release(self) -> None:
        """Let go of the arm."""
        self._anchor = None

    def target(self, hand: Array) -> Array:
        """Return the pose (4, 4) that the end effector is to have, for a pose of the hand in WebXR's frame (4, 4) [m].

        Raises:
            RuntimeError: If the hand is not engaged.
        """
        if self._anchor is None:
            raise RuntimeError("the clutch is released: call engage first")
        start, effector, turn = self._anchor
        now = pose_to_operator(hand)
        found = np.eye(4)
        found[:3, 3] = effector[:3, 3] + self._scale * turn @ (now[:3, 3] - start[:3, 3])
        found[:3, :3] = turn @ now[:3, :3] @ start[:3, :3].T @ turn.T @ effector[:3, :3]
        return found
