"""The clutch: engaging moves nothing, and a hand moves its arm in the operator's directions."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.collect.retargeting.clutch import Clutch
from waldo.collect.retargeting.frames import rotation_matrix, rotation_vector


def pose(position: tuple[float, float, float], turn: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rotation_matrix(np.array(turn, dtype=float)), position
    return found


HAND, EFFECTOR = pose((0.2, 1.1, -0.4), (0.3, 0.2, 0.1)), pose((0.3, -0.2, 0.8), (1.0, -0.5, 0.4))


def test_the_first_target_is_the_pose_of_the_end_effector() -> None:
    clutch = Clutch(0.5)
    assert not clutch.engaged
    clutch.engage(HAND, EFFECTOR, 0.7)
    assert clutch.engaged
    np.testing.assert_allclose(clutch.target(HAND), EFFECTOR, atol=1e-12)


def test_a_motion_forward_of_the_operator_is_one_forward_of_the_robot() -> None:
    clutch = Clutch(1.0)
    clutch.engage(HAND, EFFECTOR, 0.0)
    moved = HAND.copy()
    moved[:3, 3] += 0, 0, -0.1  # forward in WebXR
    np.testing.assert_allclose(clutch.target(moved)[:3, 3] - EFFECTOR[:3, 3], [0.1, 0, 0], atol=1e-12)


def test_an_operator_who_has_turned_still_moves_the_robot_forward() -> None:
    clutch = Clutch(1.0)
    # The operator looks along WebXR's -x, a quarter turn to the left.
    clutch.engage(HAND, EFFECTOR, -np.pi / 2)
    moved = HAND.copy()
    moved[:3, 3] += -0.1, 0, 0
    np.testing.assert_allclose(clutch.target(moved)[:3, 3] - EFFECTOR[:3, 3], [0.1, 0, 0], atol=1e-12)


def test_positions_are_scaled_and_rotations_are_not() -> None:
    clutch = Clutch(0.5)
    clutch.engage(HAND, EFFECTOR, 0.0)
    moved = HAND.copy()
    moved[:3, 3] += 0, 0.2, 0  # up
    moved[:3, :3] = rotation_matrix(np.array([0, 0.4, 0])) @ HAND[:3, :3]  # about WebXR's vertical
    target = clutch.target(moved)
    np.testing.assert_allclose(target[:3, 3] - EFFECTOR[:3, 3], [0, 0, 0.1], atol=1e-12)
    np.testing.assert_allclose(rotation_vector(target[:3, :3] @ EFFECTOR[:3, :3].T), [0, 0, 0.4], atol=1e-9)


def test_a_released_clutch_has_no_target_and_engages_elsewhere() -> None:
    clutch = Clutch(1.0)
    clutch.engage(HAND, EFFECTOR, 0.0)
    clutch.release()
    with pytest.raises(RuntimeError, match=r"^the clutch is released: call engage first$"):
        clutch.target(HAND)
    elsewhere = pose((1.0, 1.5, 0.0))
    clutch.engage(elsewhere, EFFECTOR, 0.0)
    np.testing.assert_allclose(clutch.target(elsewhere), EFFECTOR, atol=1e-12)
