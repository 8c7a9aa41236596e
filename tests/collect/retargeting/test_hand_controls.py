"""Fingers: grippers close toward the limit at which their pads meet, and hands have an open and a closed posture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from human_hand import joints_of

from waldo.collect.retargeting.arms import load_arms
from waldo.collect.retargeting.hand_controls import Fingers, load_fingers
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.errors import UnknownNameError
from waldo.robots.description import load_robot


def fingers_of(robot: str, side: str = "right", hand: str = "") -> Fingers:
    model = RobotModel(load_robot(robot))
    found = load_fingers(model, load_arms(model).arms[side], hand=hand)
    assert found is not None
    return found


@pytest.mark.parametrize(("robot", "open_at_upper"), [("so101", True), ("openarm_right", False), ("vx300s", True)])
def test_a_gripper_is_open_where_its_pads_are_apart(robot: str, open_at_upper: bool) -> None:
    description, fingers = load_robot(robot), fingers_of(robot)
    joint = description.joint_names.index("gripper")
    limits = description.lower[joint], description.upper[joint]
    assert fingers.positions(0.0) == pytest.approx(limits[open_at_upper])
    assert fingers.positions(1.0) == pytest.approx(limits[not open_at_upper])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_pinch_closes_a_gripper(side: str) -> None:
    fingers = fingers_of("bi_so101", side)
    assert fingers.closing(joints_of(side)) == 0
    assert fingers.closing(joints_of(side, pinch=1.0)) == 1
    assert 0.3 < fingers.closing(joints_of(side, pinch=0.5)) < 0.9


@pytest.mark.parametrize("robot", ["g1_dex3", "g1_inspire"])
def test_a_trigger_closes_a_hand_within_its_limits(robot: str) -> None:
    description, fingers = load_robot(robot), fingers_of(robot, "left")
    for closing in (-1.0, 0.0, 0.5, 1.0, 2.0):
        position = fingers.positions(closing)
        assert (position >= description.lower[fingers.joints]).all()
        assert (position <= description.upper[fingers.joints]).all()
    assert np.abs(fingers.positions(1.0) - fingers.positions(0.0)).max() > 0.5


def test_an_arm_without_a_hand_has_no_fingers() -> None:
    model = RobotModel(load_robot("g1"))
    assert load_fingers(model, load_arms(model).arms["left"]) is None


def test_a_hand_that_the_robot_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown joint 'right_hand_thumb_0_joint'"):
        fingers_of("so101", hand="dex3_1")
    file = tmp_path / "hand.yaml"
    file.write_text("joints: [gripper]\nbase: gripper\npoints: {tip: geom nothing}\nopen: [0]\nclosed: [1]\n")
    with pytest.raises(UnknownNameError, match=r"unknown geom 'nothing'"):
        fingers_of("so101", hand=str(file))
