"""The frame of an operator's hand: a mirrored, turned or scrambled hand is refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from human_hand import joints_of, tracked_hand
from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.devices.tracking import TrackedHand
from waldo.collect.retargeting.frames import rotation_matrix
from waldo.collect.retargeting.hand_frame import canonical_rotation, finger_fold, frame_fault, pinch_distance

SIDES = st.sampled_from(["left", "right"])
CURLS = st.floats(0, 1)
VECTORS = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)


def posed(side: str, vector: np.ndarray, curl: float = 0.0) -> TrackedHand:
    """Return a hand in any orientation."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_matrix(vector), (0.1, 1.0, -0.4)
    return tracked_hand(side, pose=pose, curl=curl)


def mirrored(hand: TrackedHand, axis: int) -> TrackedHand:
    """Return a hand as a mirror shows it, with a frame that is still a rotation."""
    flip = np.ones(3)
    flip[axis] = -1
    pose = hand.pose.copy()
    pose[:3, :3] = flip[:, None] * pose[:3, :3] * np.array([-1, 1, 1])
    pose[:3, 3] *= flip
    return replace(hand, pose=pose, joints=hand.joints * flip)


@given(SIDES, VECTORS, CURLS)
def test_a_hand_in_any_orientation_is_accepted(side: str, vector: np.ndarray, curl: float) -> None:
    assert frame_fault(posed(side, vector, curl)) == ""


@given(SIDES, VECTORS, CURLS, st.integers(0, 2))
def test_a_mirrored_hand_is_refused(side: str, vector: np.ndarray, curl: float, axis: int) -> None:
    expected = f"the {side} hand is mirrored: its palm is where the headset reports the back of the hand"
    assert frame_fault(mirrored(posed(side, vector, curl), axis)) == expected


@given(SIDES, VECTORS, CURLS)
def test_a_hand_with_the_wrong_side_is_refused(side: str, vector: np.ndarray, curl: float) -> None:
    hand = posed(side, vector, curl)
    other = "left" if side == "right" else "right"
    assert "is mirrored" in frame_fault(replace(hand, side=other))


@given(SIDES, VECTORS, st.integers(0, 2), st.sampled_from([-1, 1]))
def test_a_frame_that_is_turned_by_a_quarter_is_refused(side: str, vector: np.ndarray, axis: int, sign: int) -> None:
    hand = posed(side, vector)
    quarter = rotation_matrix(sign * np.pi / 2 * np.eye(3)[axis])
    pose = hand.pose.copy()
    pose[:3, :3] = pose[:3, :3] @ quarter
    assert "frame is turned by " in frame_fault(replace(hand, pose=pose))


def test_a_frame_that_is_turned_by_a_half_about_the_fingers_is_refused() -> None:
    hand = tracked_hand("left")
    pose = hand.pose.copy()
    pose[:3, :3] = pose[:3, :3] @ np.diag([-1, -1, 1])
    assert frame_fault(replace(hand, pose=pose)) != ""


@pytest.mark.parametrize("joints", [True, False])
def test_a_frame_that_is_not_a_rotation_is_refused(joints: bool) -> None:
    hand = tracked_hand("left") if joints else replace(tracked_hand("left"), joints=None)
    pose = hand.pose.copy()
    pose[:3, 0] *= -1
    assert frame_fault(replace(hand, pose=pose)) == "the left hand's frame is mirrored"
    pose[:3, :3] = np.eye(3) * 1.2
    assert frame_fault(replace(hand, pose=pose)) == "the left hand's frame is not a rotation"


def test_joints_in_another_unit_or_order_are_refused() -> None:
    hand = tracked_hand("right")
    wrist = hand.joints[0]
    assert "the right palm is 920.5 cm long" in frame_fault(replace(hand, joints=wrist + 100 * (hand.joints - wrist)))
    joints = hand.joints.copy()
    joints[1:5, 0] = 2 * wrist[0] - joints[1:5, 0]  # the thumb on the other side of the palm
    assert "the right thumb is at the little finger" in frame_fault(replace(hand, joints=joints))
    reverse = np.vstack([hand.joints[:1], hand.joints[1:5], hand.joints[:4:-1]])
    assert frame_fault(replace(hand, joints=reverse)) != ""


def test_the_canonical_axes_point_along_the_fingers_and_out_of_the_palm() -> None:
    for side in ("left", "right"):
        axes = canonical_rotation(joints_of(side), side)
        assert axes[:, 0] @ [0, 0, -1] > 0.99  # the fingers point along -z
        assert axes[:, 2] @ [0, -1, 0] > 0.99  # the back of the hand is up


def test_folded_fingers_and_a_pinch_are_measured() -> None:
    assert finger_fold(joints_of(curl=0.0)) == 0
    assert finger_fold(joints_of(curl=1.0)) == 1
    assert finger_fold(joints_of(pinch=1.0)) == 0
    assert pinch_distance(joints_of(pinch=1.0)) < 0.015 < 0.09 < pinch_distance(joints_of())
