from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.robots.thermal.rest_pose import RestPoseAdvisor
from waldo.sim.experts.kinematics import Kinematics
from waldo.sim.idle_pose import TRIFLE, HoldingHeat, IdlePose, idle_pose

ARM = load_robot("so101")
STRETCHED = np.array([0.0, 0.9, -0.6, 0.0, 0.0, 0.3])


def test_holding_costs_what_gravity_asks():
    torque = Kinematics(ARM).load(STRETCHED)
    assert HoldingHeat(ARM).watts(STRETCHED) == pytest.approx(np.sum((torque / 0.78) ** 2 * 2.68))


@pytest.mark.parametrize("near", [STRETCHED, ARM.home])
def test_no_pose_of_a_grid_is_cooler(near):
    found, held = idle_pose(ARM, near), HoldingHeat(ARM)
    now = held.watts(near)
    least = now
    for lift, elbow, wrist in product(*(np.linspace(near[i] - 1.5, near[i] + 1.5, 25) for i in (1, 2, 3))):
        pose = np.clip([near[0], lift, elbow, wrist, near[4], near[5]], ARM.lower, ARM.upper)
        if held.watts(pose) < least and held.free(pose) and held.way_is_free(near, pose):
            least = held.watts(pose)
    # Each joint may be left where it is for a trifle, and a shorter way is worth another.
    assert held.watts(found.position) <= least + 7 * TRIFLE * now
    assert found.heat_ratio == pytest.approx(held.watts(found.position) / now)
    assert found.heat_ratio < 0.5


def test_it_stays_within_limits_and_reach_and_touches_nothing():
    found, held = idle_pose(ARM, STRETCHED, reach=0.4), HoldingHeat(ARM)
    assert (found.position >= ARM.lower).all()
    assert (found.position <= ARM.upper).all()
    assert np.abs(found.position - STRETCHED).max() <= 0.4 + 1e-12
    assert held.free(found.position)
    assert held.way_is_free(STRETCHED, found.position)
    assert found.position[[0, 4]].tolist() == STRETCHED[[0, 4]].tolist()


def test_an_arm_in_the_table_is_not_free():
    held = HoldingHeat(ARM)
    assert held.free(ARM.home)
    assert not held.free(np.array([0.0, 1.7, 0.3, 1.2, 0.0, 0.3]))


def test_a_motor_with_less_room_counts_for_more():
    hot = np.ones(6)
    hot[1] = 1000.0
    torque = [abs(Kinematics(ARM).load(idle_pose(ARM, STRETCHED, w, reach=0.5).position)[1]) for w in (np.ones(6), hot)]
    assert torque[1] <= torque[0]


def test_the_same_question_has_the_same_answer():
    np.testing.assert_array_equal(idle_pose(ARM, STRETCHED).position, idle_pose(ARM, STRETCHED).position)


def test_the_pose_in_words():
    pose = IdlePose(position=np.array([0.0, -1.21, 1.6]), heat_ratio=0.123, moved=(1, 2))
    assert (
        pose.describe(("pan", "shoulder_lift", "elbow"))
        == "rest at shoulder_lift -1.2, elbow 1.6: holds with 12% of the heat"
    )
    assert replace(pose, moved=()).describe(("pan", "shoulder_lift", "elbow")) == ""


def test_advice_is_given_once_and_only_to_robots_with_a_model():
    advice = RestPoseAdvisor(ARM)
    advice.request(STRETCHED, np.array([20.0, 0.5, 20.0, np.nan, 20.0, 20.0]))
    advice.join()
    text = advice.pop_message()
    assert text.startswith("rest at shoulder_lift ")
    assert text.endswith("% of the heat")
    assert advice.pop_message() == ""
    nothing = RestPoseAdvisor(replace(ARM, mjcf=""))
    nothing.request(STRETCHED, np.full(6, 20.0))
    nothing.join()
    assert nothing.pop_message() == ""
