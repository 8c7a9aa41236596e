"""Checks of samples: each fault is found and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tracking_source import START_NS, TestedSource

from waldo.collect.devices.tracking import TrackedHand, Tracking
from waldo.collect.retargeting.frames import rotation_matrix
from waldo.collect.retargeting.tracking_checks import hands_fault, motion_fault, sample_fault

LIMITS = {"max_age_s": 1 / 30, "max_video_age_s": 0.5}


def sample(bare: bool = False) -> Tracking:
    found = TestedSource(bare=bare).sample
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("fields", "late_ns", "expected"),
    [
        ({}, 0, ""),
        ({}, 33_000_000, ""),
        ({}, 34_000_000, "the headset's last pose is 34 ms old, more than 33 ms"),
        ({}, -2_000_000_000, "the headset's last pose is 2000 ms in the future: its clock is wrong"),
        ({"video_age_s": 0.5}, 0, ""),
        ({"video_age_s": 0.61}, 0, "the video is 0.6 s old, more than 0.5 s"),
        ({"video_age_s": np.nan}, 0, "the video is nan s old, more than 0.5 s"),
        ({"head": np.full((4, 4), np.nan)}, 0, "the pose of the head is not a rotation"),
        ({"head": np.diag([1.0, 1, -1, 1])}, 0, "the pose of the head is not a rotation"),
    ],
)
def test_a_sample_that_may_not_move_the_robot_is_named(fields: dict, late_ns: int, expected: str) -> None:
    assert sample_fault(replace(sample(), **fields), START_NS + late_ns, **LIMITS) == expected


def test_without_a_sample_there_is_nothing_to_follow() -> None:
    assert sample_fault(None, START_NS, **LIMITS) == "the headset has sent no pose yet"


def test_hands_that_are_tracked_and_finite_pass() -> None:
    assert hands_fault(sample(), ["left", "right"]) == ""
    assert hands_fault(sample(bare=True), ["left", "right"]) == ""


@pytest.mark.parametrize("name", ["pose", "joints", "trigger", "squeeze"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_found(name: str, value: float) -> None:
    found = sample(bare=True)
    hand = found.hands["left"]
    before = getattr(hand, name)
    changed = value if isinstance(before, float) else np.where(np.arange(before.size) == 3, value, before.ravel())
    if not isinstance(changed, float):
        changed = changed.reshape(before.shape)
    found = replace(found, hands={**found.hands, "left": replace(hand, **{name: changed})})
    assert hands_fault(found, ["left"]) == "the pose of the left hand contains a number that is not finite"
    assert hands_fault(found, ["right"]) == ""


def test_a_hand_that_is_missing_or_estimated_is_not_tracked() -> None:
    found = sample()
    lost = replace(found.hands["left"], tracked=False)
    assert hands_fault(replace(found, hands={"left": lost}), ["left"]) == "the left hand is not tracked"
    assert hands_fault(replace(found, hands={"left": lost}), ["right"]) == "the right hand is not tracked"


def test_a_hand_with_a_wrong_number_of_joints_is_refused() -> None:
    found = sample(bare=True)
    hand = found.hands["left"]
    found = replace(found, hands={"left": replace(hand, joints=hand.joints[:21])})
    assert hands_fault(found, ["left"]) == "the left hand has joints of shape (21, 3), expected (25, 3)"


def test_the_frame_of_a_hand_is_checked() -> None:
    found = sample(bare=True)
    swapped = replace(found.hands["left"], side="right")
    assert "the right hand is mirrored" in hands_fault(replace(found, hands={"right": swapped}), ["right"])


def test_a_motion_that_no_hand_makes_is_a_fault() -> None:
    hand = sample().hands["right"]

    def moved(offset_m: float, angle_rad: float = 0.0) -> TrackedHand:
        pose = hand.pose.copy()
        pose[0, 3] += offset_m
        pose[:3, :3] = rotation_matrix(np.array([angle_rad, 0, 0])) @ pose[:3, :3]
        return replace(hand, pose=pose)

    assert motion_fault(hand, moved(0.05, 0.4), 1 / 60) == ""
    assert motion_fault(hand, moved(0.1), 1 / 60) == "the right hand has jumped by 10 cm"
    assert motion_fault(hand, moved(0.1), 1 / 30) == ""
    assert motion_fault(hand, moved(0.0, 1.0), 1 / 60) == "the right hand has jumped by 57 degrees"
    bare = sample(bare=True).hands["right"]
    assert motion_fault(hand, bare, 1 / 60) == "the right hand has changed to a bare hand"
    assert motion_fault(bare, hand, 1 / 60) == "the right hand has changed to a controller"
