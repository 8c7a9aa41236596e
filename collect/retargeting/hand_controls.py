"""The fingers of a robot's arm: a hand whose vectors follow the operator's, or a gripper that opens and closes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.collect.retargeting.arms import Arm
from waldo.collect.retargeting.engine import mujoco
from waldo.collect.retargeting.hand_description import HandDescription, load_hand
from waldo.collect.retargeting.hand_frame import pinch_distance
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.collect.retargeting.tasks import HandTask
from waldo.errors import UnknownNameError
from waldo.typing import Array

GAP_LIMIT_M = 1.0
"""Distance beyond which MuJoCo stops measuring between the pads of a gripper [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingers:
    """The commanded joints of an arm's fingers. Joints are indices in `robot.joints`."""

    hand: HandDescription
    joints: NDArray[np.intp]
    open: Array
    """Joint positions of the open fingers, shape (n,) [rad or m]."""
    closed: Array
    """Joint positions of the closed fingers, shape (n,) [rad or m]."""
    task: HandTask | None
    """Follows the operator's fingers; None for a gripper."""

    def closing(self, joints: Array) -> float:
        """Return how far the operator's hand, joints of shape (25, 3) [m], is closed: 0 open, 1 closed."""
        hand = self.hand
        opening = (pinch_distance(joints) - hand.pinch_closed_m) / (hand.pinch_open_m - hand.pinch_closed_m)
        return float(1 - np.clip(opening, 0.0, 1.0))

    def positions(self, closing: float) -> Array:
        """Return the joint positions (n,) [rad or m] of fingers that are closed by a fraction, 0 open to 1 closed."""
        return self.open + np.clip(closing, 0.0, 1.0) * (self.closed - self.open)


def load_fingers(model: RobotModel, arm: Arm, *, hand: str = "") -> Fingers | None:
    """Return the fingers of an arm; None if it has none.

    Args:
        model: The robot.
        arm: One of its arms.
        hand: Name or path of the description; by default the arm's own, or else `gripper`.

    Raises:
        UnknownNameError: If the description does not exist, or names joints that the robot does not have.
    """
    description = load_hand(hand or arm.hand or "gripper", arm.side)
    if not description.joints:
        return None if arm.pads is None or not arm.grippers else _gripper(model, arm, description)
    names = model.robot.joint_names
    for name in description.joints:
        if name not in names:
            raise UnknownNameError("joint", name, names)
    joints = np.array([names.index(name) for name in description.joints])
    mapped = model.velocity_map(joints, model.robot.home)
    return Fingers(
        hand=description,
        joints=joints,
        open=_within(model, joints, description.open),
        closed=_within(model, joints, description.closed),
        task=HandTask(model, description, np.flatnonzero(mapped.any(axis=1))),
    )


def _gripper(model: RobotModel, arm: Arm, description: HandDescription) -> Fingers:
    """Return a gripper, which is open at the limit of its joint at which the pads are farther apart."""
    joint = arm.grippers[0]
    limits = np.array([model.robot.lower[joint], model.robot.upper[joint]])
    gaps = [_gap(model, arm, joint, limit) for limit in limits]
    closed = int(np.argmin(gaps))
    return Fingers(
        hand=description,
        joints=np.array([joint]),
        open=limits[[1 - closed]],
        closed=limits[[closed]],
        task=None,
    )


def _gap(model: RobotModel, arm: Arm, joint: int, position: float) -> float:
    """Return the distance between the pads of a gripper at a position of its joint [m]."""
    posture = model.robot.home.copy()
    posture[joint] = position
    model.update(posture)
    pads = [int(model.model.geom(name).id) for name in arm.pads or ()]
    data = model.configuration.data
    return float(mujoco.mj_geomDistance(model.model, data, *pads, GAP_LIMIT_M, np.empty(6)))


def _within(model: RobotModel, joints: NDArray[np.intp], positions: tuple[float, ...]) -> Array:
    return np.clip(np.array(positions, dtype=float), model.robot.lower[joints], model.robot.upper[joints])
