"""The drawing of a robot from its model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from waldo.collect.console.body_map import WIDTH, body_map
from waldo.robots.description import load_robot, presets


@pytest.mark.parametrize("name", presets())
def test_every_joint_of_a_preset_is_drawn(name: str) -> None:
    robot = load_robot(name)
    drawing = body_map(robot)
    assert max(drawing["width"], drawing["height"]) == pytest.approx(WIDTH)
    points = np.concatenate([part["points"] for part in drawing["parts"]])
    assert np.isfinite(points).all()
    assert (points >= -0.1).all()
    assert (points <= np.array([drawing["width"], drawing["height"]]) + 0.1).all()
    # Joints without geometry of their own are those between two links.
    drawn = {part["joint"] for part in drawing["parts"]} - {""}
    assert drawn <= set(robot.joint_names)
    assert len(drawn) >= 0.6 * len(robot.joint_names)


def test_the_robots_left_arm_is_on_the_right() -> None:
    parts = body_map(load_robot("g1"))["parts"]

    def center(side: str) -> float:
        (elbow,) = [part["points"] for part in parts if part["joint"] == f"{side}_elbow_joint"]
        return float(np.mean(elbow, axis=0)[0])

    assert center("left") > center("right")


def test_a_robot_is_drawn_in_its_home_position(tmp_path: Path) -> None:
    """A link of 0.5 m that points up at zero and forward in the home position, with each kind of geometry."""
    shapes = {
        "box": 'type="box" size=".02 .02 .25"',
        "capsule": 'type="capsule" size=".02 .23"',
        "cylinder": 'type="cylinder" size=".02 .25"',
        "ellipsoid": 'type="ellipsoid" size=".02 .02 .25"',
    }
    for shape in shapes.values():
        mjcf = tmp_path / "arm.xml"
        mjcf.write_text(
            '<mujoco><compiler angle="radian"/><worldbody>'
            '<geom type="plane" size="9 9 1"/><body><joint name="a" axis="0 1 0" range="-2 2"/>'
            f'<geom {shape} pos="0 0 .25"/></body></worldbody>'
            '<actuator><position joint="a" ctrlrange="-2 2" forcerange="-1 1"/></actuator>'
            '<keyframe><key name="home" qpos="1.5708" ctrl="1.5708"/></keyframe></mujoco>'
        )
        drawing = body_map(load_robot(str(mjcf)))
        (part,) = drawing["parts"]
        assert part["joint"] == "a"
        width, height = np.ptp(np.array(part["points"]), axis=0)
        assert width == pytest.approx(WIDTH, rel=0.02)
        assert height < 0.15 * width


def test_without_mujoco_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert body_map(load_robot("so101"))["parts"] == []


def test_a_robot_whose_model_cannot_be_used_has_no_drawing() -> None:
    robot = load_robot("so101")
    other = replace(robot.joints[0], name="other")
    for unusable in (replace(robot, mjcf="none.xml"), replace(robot, joints=(other, *robot.joints[1:]))):
        assert body_map(unusable)["parts"] == []
