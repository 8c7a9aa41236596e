"""The model of a robot: joints without motors follow, and velocities and gravity torques match finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from waldo.collect.retargeting.engine import mujoco
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.errors import FileError
from waldo.robots.description import load_robot

SO101, INSPIRE, OPENARM = load_robot("so101"), load_robot("g1_inspire"), load_robot("openarm_right")


def test_joints_without_motors_follow_by_the_couplings_of_the_mjcf() -> None:
    model = RobotModel(INSPIRE)
    position = INSPIRE.home.copy()
    position[INSPIRE.joint_names.index("left_thumb_bend_joint")] = 0.3
    model.update(position)
    data = model.configuration.data
    assert data.joint("left_thumb_intermediate_joint").qpos[0] == pytest.approx(1.6 * 0.3)
    assert data.joint("left_thumb_distal_joint").qpos[0] == pytest.approx(2.4 * 0.3)


def test_the_velocity_map_is_the_derivative_of_the_posture() -> None:
    model = RobotModel(INSPIRE)
    joints = np.array([INSPIRE.joint_names.index(name) for name in ("right_elbow_joint", "right_thumb_bend_joint")])
    mapped = model.velocity_map(joints, INSPIRE.home)
    model.update(INSPIRE.home)
    before, step = model.configuration.q.copy(), 1e-6
    for column, joint in enumerate(joints):
        moved = INSPIRE.home.copy()
        moved[joint] += step
        model.update(moved)
        found = np.zeros(model.model.nv)
        mujoco.mj_differentiatePos(model.model, found, step, before, model.configuration.q)
        np.testing.assert_allclose(mapped[:, column], found, atol=1e-6)


def test_the_chain_of_a_body_is_in_order_from_the_base() -> None:
    model = RobotModel(SO101)
    body = int(model.model.site("grip").bodyid[0])
    assert [SO101.joint_names[j] for j in model.joints_above(body)] == list(SO101.joint_names[:5])


def test_a_finger_is_moved_by_the_motor_that_it_follows() -> None:
    model = RobotModel(OPENARM)
    moving = model.joints_that_move(int(model.model.body("left_finger").id))
    assert "gripper" in {OPENARM.joint_names[j] for j in moving}


def test_gravity_torques_hold_the_arm() -> None:
    model = RobotModel(SO101)
    position = SO101.home.copy()
    position[1:4] = 1.2, 0.0, 0.0  # stretched forward
    torques = model.gravity_torques(position)
    energy = []
    for sign in (1, -1):
        moved = position.copy()
        moved[1] += sign * 1e-5
        model.update(moved)
        data = model.configuration.data
        energy.append(float(model.model.body_mass @ data.xipos[:, 2]) * 9.81)
    assert torques[1] == pytest.approx((energy[0] - energy[1]) / 2e-5, rel=1e-3)
    assert abs(torques[1]) > 0.5


def test_a_model_without_the_robots_joints_is_refused() -> None:
    wrong = dataclasses.replace(SO101, mjcf="vx300s.xml")
    with pytest.raises(FileError, match=r"the MJCF does not fit the robot's description"):
        RobotModel(wrong)
