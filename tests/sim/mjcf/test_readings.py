"""Readings of the driven joints."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.sim.mjcf.mjcf_models import PANDA_HAND, RADIAN_ARM, arm, load
from waldo.sim.mjcf.readings import Readings


def test_the_position_of_a_tendon_is_its_length(tmp_path: Path) -> None:
    tendon = '<tendon><fixed name="both"><joint joint="hip" coef="1"/><joint joint="knee" coef="-2"/></fixed></tendon>'
    text = RADIAN_ARM.format('<position tendon="both" kp="4"/><position joint="knee" kp="5"/>')
    loaded = load(tmp_path, text.replace("<actuator>", tendon + "<actuator>"))
    data, readings = mujoco.MjData(loaded.model), Readings(loaded)
    data.qpos[:], data.qvel[:] = [0.5, 0.1], [1.0, 2.0]
    data.ctrl[:] = [0.8, 0.3]
    mujoco.mj_forward(loaded.model, data)
    np.testing.assert_allclose(readings.position(data), [0.3, 0.1])
    np.testing.assert_allclose(readings.velocity(data), [-3.0, 2.0])
    # The joint's effort is that of both actuators.
    np.testing.assert_allclose(readings.effort(data), [4 * 0.5, 5 * 0.2 - 2 * 4 * 0.5])
    np.testing.assert_array_equal(readings.own_qpos, [-1, 1])


def test_the_effort_is_that_which_the_joint_admits(tmp_path: Path) -> None:
    text = RADIAN_ARM.replace('name="knee"', 'name="knee" actuatorfrcrange="-2 2"')
    loaded = arm(tmp_path, '<position joint="knee" kp="100"/>', text)
    data = mujoco.MjData(loaded.model)
    data.ctrl[:] = 1.0
    mujoco.mj_forward(loaded.model, data)
    assert Readings(loaded).effort(data) == [2.0]


def test_a_gripper_reports_the_force_of_both_fingers(tmp_path: Path) -> None:
    loaded = load(tmp_path, PANDA_HAND)
    data = mujoco.MjData(loaded.model)
    data.ctrl[:] = 0.04
    mujoco.mj_forward(loaded.model, data)
    assert Readings(loaded).effort(data)[0] == pytest.approx(4.0)
