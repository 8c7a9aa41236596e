"""Each preset against its MJCF file: names, limits, actuators, cameras."""

import mujoco
import numpy as np
import pytest

from waldo.errors import UnknownNameError
from waldo.robots.description import load_robot, presets
from waldo.robots.presets.so101 import SO101, SO101_LEADER


@pytest.fixture(params=presets())
def robot(request):
    return load_robot(request.param)


@pytest.fixture
def model(robot):
    return mujoco.MjModel.from_xml_path(str(robot.mjcf_path))


def test_joints_are_the_models_joints(robot, model):
    passive = {model.joint(i).name for i in range(model.njnt)} - set(robot.joint_names)
    coupled = {model.joint(int(model.eq_obj1id[i])).name for i in range(model.neq)}
    assert passive == coupled
    ranges = np.array([model.joint(name).range for name in robot.joint_names])
    np.testing.assert_allclose(ranges[:, 0], robot.lower, atol=1e-6)
    np.testing.assert_allclose(ranges[:, 1], robot.upper, atol=1e-6)


def test_actuators_have_the_joints_names_and_torques(robot, model):
    assert {model.actuator(i).name for i in range(model.nu)} == set(robot.joint_names)
    for joint in robot.joints:
        actuator = model.actuator(joint.name)
        assert actuator.trnid[0] == model.joint(joint.name).id
        # A leader is the same arm with the torque off.
        if joint.effort > 0:
            np.testing.assert_allclose(actuator.forcerange, [-joint.effort, joint.effort])
        np.testing.assert_allclose(actuator.ctrlrange, [joint.lower, joint.upper], atol=1e-6)
        assert joint.effort <= joint.motor.need("peak_torque_nm", "a test")


def test_cameras_are_those_of_the_model(robot, model):
    cameras = set() if "leader" in robot.name else {model.camera(i).name for i in range(model.ncam)}
    assert {camera.name for camera in robot.cameras} == cameras


def test_home_is_within_the_limits(robot):
    assert np.all(robot.lower < robot.home)
    assert np.all(robot.home < robot.upper)


def test_arms_mirror_each_other():
    joints = {joint.name: joint for joint in load_robot("g1").joints}
    for name, left in joints.items():
        if not name.startswith("left_"):
            continue
        right = joints[name.replace("left_", "right_")]
        sign = -1 if "roll" in name or "yaw" in name else 1
        limits = sorted((sign * right.lower, sign * right.upper))
        assert limits == pytest.approx([left.lower, left.upper])
        assert sign * right.home == pytest.approx(left.home)


def test_so101_reaches_as_far_as_the_official_model():
    """Frames of so101_new_calib.xml at the zero pose; its grip point is on the fixed jaw, ours between the jaws."""
    model = mujoco.MjModel.from_xml_path(str(SO101.mjcf_path))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("grip").xpos, [0.3914, 0.0, 0.2265], atol=0.014)
    np.testing.assert_allclose(data.joint("elbow_flex").xanchor, [0.0972, 0.0, 0.2292], atol=1e-3)
    np.testing.assert_allclose(data.joint("wrist_flex").xanchor, [0.2321, 0.0, 0.2344], atol=1e-3)


def test_the_leader_has_the_followers_joints_and_no_torque():
    assert SO101_LEADER.joint_names == SO101.joint_names
    assert all(joint.effort == 0 for joint in SO101_LEADER.joints)


def test_an_unknown_robot_suggests_the_closest_name():
    with pytest.raises(UnknownNameError) as error:
        load_robot("so100")
    assert str(error.value).startswith("unknown robot 'so100'; did you mean 'so101'? (known: aloha, aloha_leader, ")
