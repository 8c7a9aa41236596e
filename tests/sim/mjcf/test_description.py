"""The description that a model file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.sim.mjcf.mjcf_models import PANDA_HAND, RADIAN_ARM
from waldo.robots.description import load_robot
from waldo.sim.mjcf.description import describe

SERVOS = '<position joint="hip"/><position joint="knee"/>'


def write(folder: Path, text: str, name: str = "arm.xml") -> Path:
    """Write a model file."""
    path = folder / name
    path.write_text(text)
    return path


def test_a_joint_without_limits_may_turn_once_about_home(tmp_path: Path) -> None:
    key = '<keyframe><key qpos="0.5 9"/></keyframe></mujoco>'
    hip, knee = describe(write(tmp_path, RADIAN_ARM.format(SERVOS).replace("</mujoco>", key))).joints
    assert (hip.lower, hip.upper, hip.home, hip.velocity) == (-1.0, 1.0, 0.5, 3.0)
    assert (knee.lower, knee.upper, knee.home) == (9 - 2 * np.pi, 9 + 2 * np.pi, 9.0)


def test_the_keyframe_home_precedes_the_first_one(tmp_path: Path) -> None:
    keys = '<keyframe><key name="down" qpos="0 .1"/><key name="home" qpos=".2 .3"/></keyframe></mujoco>'
    text = RADIAN_ARM.format(SERVOS)
    np.testing.assert_allclose(describe(write(tmp_path, text.replace("</mujoco>", keys))).home, [0.2, 0.3])
    keys = keys.replace("home", "stand")
    np.testing.assert_allclose(describe(write(tmp_path, text.replace("</mujoco>", keys))).home, [0.0, 0.1])
    np.testing.assert_allclose(describe(write(tmp_path, text)).home, [0.0, 0.0])


def test_a_slide_has_limits_in_meters(tmp_path: Path) -> None:
    (finger,) = describe(write(tmp_path, PANDA_HAND)).joints
    assert (finger.name, finger.lower, finger.velocity, finger.acceleration) == ("finger_joint1", 0.0, 0.5, 5.0)
    assert finger.upper == pytest.approx(0.04)


def test_a_robot_has_a_name_that_a_namespace_may_have(tmp_path: Path) -> None:
    names = {"2f85.xml": "robot_2f85", "so-arm 100.xml": "so_arm_100"}
    for file, name in names.items():
        assert load_robot(str(write(tmp_path, RADIAN_ARM.format(SERVOS), file))).name == name


def test_cameras_keep_their_resolution_as_far_as_codecs_support_it(tmp_path: Path) -> None:
    cameras = (
        '<camera/><camera name="hd" resolution="1281 721"/><camera name="dot" resolution="5 9000"/><body name="1">'
    )
    text = RADIAN_ARM.format(SERVOS).replace('<body name="1">', cameras, 1)
    sizes = {one.name: (one.width, one.height) for one in describe(write(tmp_path, text)).cameras}
    assert sizes == {"camera0": (320, 240), "hd": (1280, 720), "dot": (16, 4096)}
    assert describe(write(tmp_path, RADIAN_ARM.format(SERVOS))).cameras == ()
