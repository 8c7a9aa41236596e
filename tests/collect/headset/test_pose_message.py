"""The pose messages of the page: what is read, and that nothing implausible is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collect.headset.pose_bytes import IDENTITY, hand_bytes, pose_bytes
from waldo.collect.headset.pose_message import MAX_BYTES, REACH_M, PoseMessageError, parse_pose_message

HALF = math.sqrt(0.5)
JOINTS = tuple(0.01 * n for n in range(75))


def test_a_message_is_read() -> None:
    left = hand_bytes(0, 1, 0b10010, 0.25, 0.75, (1, 2, 3, 0, HALF, 0, HALF))
    message = parse_pose_message(pose_bytes(left, hand_bytes(joints=JOINTS), number=7, page_ms=12.5, flags=3))
    assert (message.number, message.page_ms, message.visible, message.sees_robot) == (7, 12.5, True, True)
    np.testing.assert_array_equal(message.head, np.eye(4))
    found = message.hands["left"]
    assert (found.trigger, found.squeeze, found.tracked, found.joints) == (0.25, 0.75, True, None)
    assert found.buttons == (False, True, False, False, True, False, False, False)
    # A quarter turn about y: x becomes -z, and z becomes x.
    np.testing.assert_allclose(found.pose, [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]], atol=1e-6)
    joints = message.hands["right"].joints
    assert joints is not None
    np.testing.assert_allclose(joints, np.array(JOINTS).reshape(25, 3), atol=1e-6)


def test_the_largest_message() -> None:
    data = pose_bytes(hand_bytes(0, joints=JOINTS), hand_bytes(1, joints=JOINTS))
    assert len(data) == MAX_BYTES
    parse_pose_message(data)


@pytest.mark.parametrize("flags", range(4))
def test_flags(flags: int) -> None:
    message = parse_pose_message(pose_bytes(hand_bytes(flags=0), flags=flags))
    assert (message.visible, message.sees_robot) == (bool(flags & 1), bool(flags & 2))
    assert not message.hands["right"].tracked


FAR = REACH_M + 1
BAD = {
    "empty": (b"", "0 bytes"),
    "short": (pose_bytes()[:-1], "43 bytes"),
    "long": (pose_bytes() + b"\0", "45 bytes"),
    "another version": (pose_bytes(version=2), "version 2"),
    "three hands": (pose_bytes(*3 * [hand_bytes()]), "3 hands"),
    "a missing hand": (pose_bytes(count=1), "44 bytes"),
    "missing joints": (pose_bytes(hand_bytes(flags=3)), "84 bytes"),
    "a hand twice": (pose_bytes(hand_bytes(), hand_bytes()), "the right hand twice"),
    "a third side": (pose_bytes(hand_bytes(side=2)), "a hand of side 2"),
    "no time": (pose_bytes(page_ms=math.nan), "the time nan"),
    "an infinite time": (pose_bytes(page_ms=math.inf), "the time inf"),
    "a trigger above 1": (pose_bytes(hand_bytes(trigger=1.5)), "a trigger of 1.5"),
    "a squeeze below 0": (pose_bytes(hand_bytes(squeeze=-0.5)), "a squeeze of -0.5"),
    "no trigger": (pose_bytes(hand_bytes(trigger=math.nan)), "a trigger of nan"),
    "a head far away": (pose_bytes(head=(FAR, *IDENTITY[1:])), "the head at"),
    "no position": (pose_bytes(hand_bytes(pose=(math.nan, *IDENTITY[1:]))), "the right hand at"),
    "no rotation": (pose_bytes(hand_bytes(pose=7 * (0.0,))), "a quaternion of length 0"),
    "a scaled rotation": (pose_bytes(head=(*IDENTITY[:6], 1.1)), "a quaternion of length 1.1"),
    "a rotation that is not finite": (pose_bytes(head=(*IDENTITY[:6], math.nan)), "a quaternion of length nan"),
    "a joint far away": (pose_bytes(hand_bytes(joints=(*JOINTS[:-1], FAR))), "joints of the right hand"),
    "a joint that is not finite": (pose_bytes(hand_bytes(joints=(math.nan, *JOINTS[1:]))), "joints of the right hand"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_implausible_is_refused(name: str) -> None:
    data, found = BAD[name]
    with pytest.raises(PoseMessageError) as caught:
        parse_pose_message(data)
    assert str(caught.value).startswith(f"pose message with {found}")
    assert str(caught.value).endswith("; reload the page")


@given(st.binary(max_size=MAX_BYTES + 10))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        message = parse_pose_message(data)
    except PoseMessageError:
        return
    assert np.isfinite(message.head).all()


@given(st.lists(st.floats(width=32), min_size=7, max_size=7))
def test_a_pose_that_is_read_is_a_rotation(values: list[float]) -> None:
    try:
        pose = parse_pose_message(pose_bytes(hand_bytes(pose=values))).hands["right"].pose
    except PoseMessageError:
        return
    rotation = pose[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) > 0
