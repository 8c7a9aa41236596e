from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from waldo.errors import InvalidValueError
from waldo.robots.description import load_robot
from waldo.robots.thermal.rest_pose import RestPoseAdvisor
from waldo.sim.experts.kinematics import Kinematics
from waldo.sim.idle_pose import NEGLIGIBLE, HoldingHeat, IdlePose, idle_pose

ARM = load_robot("so101")
STRETCHED = np.array([0.0, 0.9, -0.6, 0.0, 0.0, 0.3])


@pytest.fixture(scope="module")
def near_stretched():
    """The pose near the stretched one."""
    return idle_pose(ARM, STRETCHED)


def test_holding_heat_is_the_copper_loss_of_gravity():
    torque = Kinematics(ARM).load(STRETCHED)
    assert HoldingHeat(ARM).watts(STRETCHED) == pytest.approx(np.sum((torque / 1.21) ** 2 * 2.68))


@pytest.mark.parametrize("near", [STRETCHED, ARM.home])
def test_no_pose_of_a_grid_needs_less_heat(near, near_stretched):
    found, held = near_stretched if near is STRETCHED else idle_pose(ARM, near), HoldingHeat(ARM)
    now = held.watts(near)
    least = now
    for lift, elbow, wrist in product(*(np.linspace(near[i] - 1.5, near[i] + 1.5, 25) for i in (1, 2, 3))):
        pose = np.clip([near[0], lift, elbow, wrist, near[4], near[5]], ARM.lower, ARM.upper)
        if held.watts(pose) < least and held.free(pose) and held.path_is_free(near, pose):
            least = held.watts(pose)
    # Joints with a negligible gain are moved back, and distance has a small cost.
    assert held.watts(found.position) <= least + 7 * NEGLIGIBLE * now
    assert found.heat_ratio == pytest.approx(held.watts(found.position) / now)
    assert found.heat_ratio < 0.5


def test_the_pose_is_within_limits_and_reach_and_free_of_contact():
    found, held = idle_pose(ARM, STRETCHED, reach=0.4), HoldingHeat(ARM)
    assert (found.position >= ARM.lower).all()
    assert (found.position <= ARM.upper).all()
    assert np.abs(found.position - STRETCHED).max() <= 0.4 + 1e-12
    assert held.free(found.position)
    assert held.path_is_free(STRETCHED, found.position)
    assert found.position[[0, 4]].tolist() == STRETCHED[[0, 4]].tolist()


def test_a_pose_below_the_floor_is_not_free():
    held = HoldingHeat(ARM)
    assert held.free(ARM.home)
    assert not held.free(np.array([0.0, 1.7, 0.3, 1.2, 0.0, 0.3]))


def test_a_larger_weight_lowers_the_load_of_a_motor():
    hot = np.ones(6)
    hot[1] = 1000.0
    torque = [abs(Kinematics(ARM).load(idle_pose(ARM, STRETCHED, w, reach=0.5).position)[1]) for w in (np.ones(6), hot)]
    assert torque[1] <= torque[0]


def test_the_search_is_deterministic(near_stretched):
    np.testing.assert_array_equal(idle_pose(ARM, STRETCHED).position, near_stretched.position)


def test_the_description_names_the_moved_joints():
    pose = IdlePose(position=np.array([0.0, -1.21, 1.6]), heat_ratio=0.123, moved=(1, 2))
    assert (
        pose.describe(("pan", "shoulder_lift", "elbow"))
        == "to cool down, move to shoulder_lift -1.2, elbow 1.6 (12% of the current holding heat)"
    )
    assert replace(pose, moved=()).describe(("pan", "shoulder_lift", "elbow")) == ""


def test_advice_is_returned_once_and_only_for_robots_with_a_model():
    advice = RestPoseAdvisor(ARM)
    advice.request(STRETCHED, np.array([20.0, 0.5, 20.0, np.nan, 20.0, 20.0]))
    advice.join()
    text = advice.pop_message()
    assert text.startswith("to cool down, move to shoulder_lift ")
    assert text.endswith("% of the current holding heat)")
    assert advice.pop_message() == ""
    nothing = RestPoseAdvisor(replace(ARM, mjcf=""))
    nothing.request(STRETCHED, np.full(6, 20.0))
    nothing.join()
    assert nothing.pop_message() == ""


def test_a_joint_that_the_model_does_not_have_is_rejected():
    joints = (*ARM.joints[:-1], replace(ARM.joints[-1], name="tendon"))
    with pytest.raises(InvalidValueError) as error:
        HoldingHeat(replace(ARM, joints=joints))
    assert str(error.value) == f"mjcf is {str(ARM.mjcf_path)!r}, expected a joint named 'tendon'"
