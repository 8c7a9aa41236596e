"""Inverse kinematics recovers the poses of forward kinematics."""

import numpy as np
import pytest

from waldo.sim.experts.kinematics import SiteTarget, kinematics_of


@pytest.mark.parametrize("seed", range(5))
def test_a_reachable_pose_is_found(seed):
    kinematics = kinematics_of("so101")
    rng = np.random.default_rng(seed)
    home = kinematics.robot.home
    goal = home + rng.uniform(-0.25, 0.25, 6) * [1, 1, 1, 0.5, 1, 0]
    position, rotation = kinematics.site(goal, "grip")
    target = SiteTarget(site="grip", position=position, base_from_site=rotation)
    found, error = kinematics.solve([target], home, range(5))
    assert error < 1e-4
    reached, reached_rotation = kinematics.site(found, "grip")
    np.testing.assert_allclose(reached, position, atol=1e-4)
    np.testing.assert_allclose(reached_rotation, rotation, atol=1e-3)
    assert found[5] == home[5], "the gripper is not free"


def test_the_distance_to_an_unreachable_position_is_returned():
    kinematics = kinematics_of("so101")
    _, rotation = kinematics.site(kinematics.robot.home, "grip")
    target = SiteTarget(site="grip", position=np.array([1.0, 0.0, 0.1]), base_from_site=rotation)
    found, error = kinematics.solve([target], kinematics.robot.home, range(5))
    assert error == pytest.approx(0.6, abs=0.1)
    assert (found >= kinematics.robot.lower).all()
    assert (found <= kinematics.robot.upper).all()


def test_both_palms_reach_their_targets_near_the_rest_posture():
    kinematics = kinematics_of("g1")
    home = kinematics.robot.home
    targets = [
        SiteTarget(site=f"{side}_palm", position=np.array([0.3, sign * 0.12, 0.85]), base_from_site=np.eye(3))
        for side, sign in (("left", 1), ("right", -1))
    ]
    found, error = kinematics.solve(targets, home, range(3, 17), rest=home)
    assert error < 1e-3
    np.testing.assert_array_equal(found[:3], home[:3])
    for target in targets:
        np.testing.assert_allclose(kinematics.site(found, target.site)[0], target.position, atol=1e-3)


def test_the_same_targets_give_the_same_joint_positions():
    """The solver keeps no state of an earlier target."""
    kinematics = kinematics_of("so101")
    home = kinematics.robot.home
    targets = [
        SiteTarget(site="grip", position=p, base_from_site=r)
        for p, r in (kinematics.site(home + offset, "grip") for offset in (0.1, -0.1))
    ]
    first = kinematics.solve(targets[:1], home, range(5))
    kinematics.solve(targets[1:], home, range(5))
    again = kinematics.solve(targets[:1], home, range(5))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_gravity_load_is_largest_for_the_stretched_arm():
    kinematics = kinematics_of("so101")
    # Stretched forward, and with the forearm folded back over the shoulder.
    stretched, folded = np.array([0, 1.3, -1.3, 0, 0, 0]), np.array([0, -0.9, 1.2, 0.9, 0, 0])
    assert abs(kinematics.load(stretched)[1]) > 2 * abs(kinematics.load(folded)[1])
