"""Inverse kinematics finds what forward kinematics made."""

import numpy as np
import pytest

from waldo.sim.experts.kinematics import Aim, kinematics_of


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_a_pose_that_can_be_reached(seed):
    kinematics = kinematics_of("so101")
    rng = np.random.default_rng(seed)
    home = kinematics.robot.home
    goal = home + rng.uniform(-0.25, 0.25, 6) * [1, 1, 1, 0.5, 1, 0]
    place, rotation = kinematics.site(goal, "grip")
    aim = Aim(site="grip", position=tuple(place), axes={0: tuple(rotation[:, 0]), 2: tuple(rotation[:, 2])})
    found, error = kinematics.solve([aim], home, range(5))
    assert error < 1e-4
    np.testing.assert_allclose(kinematics.site(found, "grip")[0], place, atol=1e-4)


def test_it_says_how_far_off_it_stays():
    kinematics = kinematics_of("so101")
    aim = Aim(site="grip", position=(1.0, 0.0, 0.1), axes={})
    _, error = kinematics.solve([aim], kinematics.robot.home, range(5))
    assert error == pytest.approx(0.6, abs=0.1)


def test_both_hands_at_once():
    kinematics = kinematics_of("g1")
    aims = [
        Aim(site=f"{side}_palm", position=(0.3, sign * 0.12, 0.85), axes={0: (1.0, 0.0, 0.0)})
        for side, sign in (("left", 1), ("right", -1))
    ]
    found, error = kinematics.solve(aims, kinematics.robot.home, range(3, 17))
    assert error < 1e-3
    np.testing.assert_array_equal(found[:3], kinematics.robot.home[:3])


def test_gravity_loads_the_stretched_arm_most():
    kinematics = kinematics_of("so101")
    # Reaching far out, and with the forearm folded back over the shoulder.
    stretched, folded = np.array([0, 1.3, -1.3, 0, 0, 0]), np.array([0, -0.9, 1.2, 0.9, 0, 0])
    assert abs(kinematics.load(stretched)[1]) > 2 * abs(kinematics.load(folded)[1])
