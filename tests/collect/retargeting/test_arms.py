"""The arms of a robot: found in its description, or read from a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from waldo.collect.retargeting.arms import NoEndEffectorError, load_arms
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.errors import FileError, UnknownNameError
from waldo.robots.description import load_robot

EXPECTED = {
    "so101": ({"right": 5}, 1),
    "vx300s": ({"right": 6}, 1),
    "openarm_right": ({"right": 7}, 1),
    "bi_so101": ({"left": 5, "right": 5}, 1),
    "bi_openarm": ({"left": 7, "right": 7}, 1),
    "aloha": ({"left": 6, "right": 6}, 1),
    "g1": ({"left": 8, "right": 8}, 0),
    "g1_dex3": ({"left": 8, "right": 8}, 0),
    "g1_inspire": ({"left": 8, "right": 8}, 0),
}
"""Robot -> joints of the arm of each side, and of a gripper."""


@pytest.mark.parametrize("name", EXPECTED)
def test_every_shipped_robot_has_arms(name: str) -> None:
    joints, grippers = EXPECTED[name]
    found = load_arms(RobotModel(load_robot(name))).arms
    assert {side: len(arm.joints) for side, arm in found.items()} == joints
    assert {len(arm.grippers) for arm in found.values()} == {grippers}


def test_the_legs_and_the_tilt_of_the_waist_of_a_g1_are_held() -> None:
    robot = load_robot("g1_dex3")
    arms = load_arms(RobotModel(robot))
    names = {robot.joint_names[j] for arm in arms.arms.values() for j in arm.joints}
    assert "waist_yaw_joint" in names
    assert not [name for name in names if name.startswith(("waist_roll", "waist_pitch")) or "knee" in name]
    assert arms.costs[robot.joint_names.index("waist_yaw_joint")] == 30


def test_a_single_arm_follows_the_chosen_hand() -> None:
    assert list(load_arms(RobotModel(load_robot("so101")), single="left").arms) == ["left"]


def test_a_robot_without_end_effectors_is_refused() -> None:
    robot = dataclasses.replace(load_robot("so101"), name="other", end_effectors=())
    with pytest.raises(NoEndEffectorError, match=r"^the description of other names no end effectors"):
        load_arms(RobotModel(robot))


def test_a_file_describes_the_arms_of_any_robot(tmp_path: Path) -> None:
    robot = dataclasses.replace(load_robot("so101"), name="other", end_effectors=())
    file = tmp_path / "other.yaml"
    file.write_text("effectors: {left: {site: grip}}\nheld: [shoulder_pan]\noperator_yaw_deg: 180\n")
    arms = load_arms(RobotModel(robot), path=str(file))
    assert robot.joint_names[arms.arms["left"].joints[0]] == "shoulder_lift"
    assert arms.operator_yaw_rad == pytest.approx(3.14159, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("effectors: {left: {site: gripp}}", r"unknown site 'gripp'; did you mean 'grip'\?"),
        ("effectors: {lef: {site: grip}}", r"unknown side 'lef'; did you mean 'left'\?"),
        ("held: [shoulder]", r"unknown joint 'shoulder'; did you mean 'shoulder_pan'"),
        ("effector: {}", r"unknown key of .*'effector'; did you mean 'effectors'\?"),
    ],
)
def test_an_unknown_name_in_a_file_is_refused_with_the_known_ones(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(text)
    with pytest.raises(UnknownNameError, match=message):
        load_arms(RobotModel(load_robot("so101")), path=str(file))


def test_a_file_that_is_missing_or_no_mapping_is_refused(tmp_path: Path) -> None:
    model = RobotModel(load_robot("so101"))
    with pytest.raises(FileError, match="no such file"):
        load_arms(model, path=str(tmp_path / "none.yaml"))
    file = tmp_path / "list.yaml"
    file.write_text("- a\n")
    with pytest.raises(FileError, match="is not a mapping of names to values"):
        load_arms(model, path=str(file))
    file.write_text("{")
    with pytest.raises(FileError, match="is not a YAML file"):
        load_arms(model, path=str(file))
