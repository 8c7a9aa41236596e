"""Forward kinematics of the end effector against MuJoCo's own site pose and against dimensions of the arm."""

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from waldo.datasets.formats.replay_buffer.end_effector import EndEffectorKinematics
from waldo.errors import FileError
from waldo.robots.description import EndEffector
from waldo.robots.presets.so101 import SO101


def random_positions(rows):
    rng = np.random.default_rng(0)
    return rng.uniform(SO101.lower, SO101.upper, (rows, len(SO101.joints)))


def test_the_pose_is_that_of_the_site_in_a_simulation():
    positions = random_positions(50)
    poses = EndEffectorKinematics(SO101, SO101.end_effectors[0], SO101.joint_names).poses(positions)
    model = mujoco.MjModel.from_xml_path(str(SO101.mjcf_path))
    data = mujoco.MjData(model)
    for row, position in enumerate(positions):
        for joint, value in zip(SO101.joint_names, position, strict=True):
            data.joint(joint).qpos[0] = value
        mujoco.mj_forward(model, data)
        site = data.site("grip")
        assert poses.position[row] == pytest.approx(site.xpos, abs=1e-12)
        expected = Rotation.from_matrix(site.xmat.reshape(3, 3))
        assert (Rotation.from_rotvec(poses.rotation[row]) * expected.inv()).magnitude() < 1e-6


def test_the_stretched_arm_reaches_the_sum_of_its_links():
    poses = EndEffectorKinematics(SO101, SO101.end_effectors[0], SO101.joint_names).poses(np.zeros((1, 6)))
    # Link offsets along x in models/so101.xml, from the shoulder to the site.
    assert poses.position[0, 0] == pytest.approx(0.0388353 + 0.0304 + 0.028 + 0.1349 + 0.0611 + 0.090, abs=1e-9)


def test_the_gripper_width_is_the_distance_between_the_pads():
    positions = np.zeros((3, 6))
    positions[:, 5] = [-0.17, 0.386, 1.5]
    width = EndEffectorKinematics(SO101, SO101.end_effectors[0], SO101.joint_names).poses(positions).width
    assert width[0] == 0.0
    # At 0.386 rad the pads are parallel: centers 31.5 mm apart, each 2.4 mm thick.
    assert width[1] == pytest.approx(0.0315 - 0.0024, abs=1e-6)
    assert width[2] > width[1]


def test_joints_are_matched_by_name():
    positions = random_positions(5)
    order = [3, 0, 5, 1, 4, 2]
    names = [SO101.joint_names[i] for i in order]
    one = EndEffectorKinematics(SO101, SO101.end_effectors[0], SO101.joint_names).poses(positions)
    other = EndEffectorKinematics(SO101, SO101.end_effectors[0], ["spare", *names]).poses(
        np.column_stack([np.ones(5), positions[:, order]])
    )
    assert np.array_equal(one.position, other.position)


def test_an_mjcf_without_the_site_is_refused():
    with pytest.raises(FileError, match="the MJCF does not fit the robot's description"):
        EndEffectorKinematics(SO101, EndEffector(site="none", pads=("fixed_pad", "moving_pad")), SO101.joint_names)
