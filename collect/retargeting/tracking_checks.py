"""Checks of every sample of a headset before it may move a robot."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from waldo.collect.devices.tracking import JOINT_NAMES, Side, TrackedHand, Tracking
from waldo.collect.retargeting.frames import is_rotation, rotation_vector
from waldo.collect.retargeting.hand_frame import frame_fault

MAX_SPEED_M_S, MAX_SPEED_RAD_S = 4.0, 25.0
"""Largest speeds of a hand that teleoperates [m/s, rad/s]: a fast reach has 2 m/s, a fast turn 15 rad/s."""

JITTER_M, JITTER_RAD = 0.02, 0.15
"""Further motion between two samples that tracking itself may cause [m, rad]."""


def sample_fault(tracking: Tracking | None, now_ns: int, *, max_age_s: float, max_video_age_s: float) -> str:
    """Return why no hand of a sample may move the robot, as a phrase for the operator; empty if they may.

    Args:
        tracking: The newest sample; None before the first one.
        now_ns: Current time of the same clock as the sample's [ns].
        max_age_s: Largest age of the sample [s].
        max_video_age_s: Largest age of the image that the operator sees [s].
    """
    if tracking is None:
        return "the headset has sent no pose yet"
    age_s = (now_ns - tracking.stamp_ns) / 1e9
    if age_s > max_age_s:
        return f"the headset's last pose is {_milliseconds(age_s)} old, more than {_milliseconds(max_age_s)}"
    if age_s < -max_age_s:
        return f"the headset's last pose is {_milliseconds(-age_s)} in the future: its clock is wrong"
    # A comparison with NaN is false, so an unknown age is too old.
    if tracking.video_age_s is not None and not tracking.video_age_s <= max_video_age_s:
        return f"the video is {tracking.video_age_s:.1f} s old, more than {max_video_age_s:.1f} s"
    if not is_rotation(tracking.head[:3, :3]):
        return "the pose of the head is not a rotation"
    return ""


def hands_fault(tracking: Tracking, sides: Iterable[Side]) -> str:
    """Return why the hands of some sides may not move the robot, as a phrase for the operator; empty if they may."""
    return next((fault for side in sides if (fault := _hand_fault(tracking, side))), "")


def motion_fault(before: TrackedHand, hand: TrackedHand, elapsed_s: float) -> str:
    """Return why the motion of a hand between two samples cannot be one, as a phrase; empty if it can.

    A headset that is recentered, or that changes between a controller and a bare hand, moves the pose and not the hand.

    Args:
        before: The hand in an earlier sample.
        hand: The hand now.
        elapsed_s: Time between the samples [s].
    """
    if (before.joints is None) != (hand.joints is None):
        kinds = ("a bare hand", "a controller")
        return f"the {hand.side} hand has changed to {kinds[hand.joints is None]}"
    moved_m = float(np.linalg.norm(hand.pose[:3, 3] - before.pose[:3, 3]))
    if moved_m > MAX_SPEED_M_S * elapsed_s + JITTER_M:
        return f"the {hand.side} hand has jumped by {moved_m * 100:.0f} cm"
    turned_rad = float(np.linalg.norm(rotation_vector(hand.pose[:3, :3] @ before.pose[:3, :3].T)))
    if turned_rad > MAX_SPEED_RAD_S * elapsed_s + JITTER_RAD:
        return f"the {hand.side} hand has jumped by {np.degrees(turned_rad):.0f} degrees"
    return ""


def _hand_fault(tracking: Tracking, side: Side) -> str:
    hand = tracking.hands.get(side)
    if hand is None or not hand.tracked:
        return f"the {side} hand is not tracked"
    values = [hand.pose.ravel(), [hand.trigger, hand.squeeze], [] if hand.joints is None else hand.joints.ravel()]
    if not np.isfinite(np.concatenate(values)).all():
        return f"the pose of the {side} hand contains a number that is not finite"
    if hand.joints is not None and hand.joints.shape != (len(JOINT_NAMES), 3):
        return f"the {side} hand has joints of shape {hand.joints.shape}, expected {(len(JOINT_NAMES), 3)}"
    return frame_fault(hand)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
