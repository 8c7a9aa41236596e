"""Self collision: the pairs of geoms, and arms that are commanded into each other and into the trunk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from waldo.collect.devices.tracking import Side
from waldo.collect.retargeting.arms import load_arms
from waldo.collect.retargeting.collision import MIN_DISTANCE_M, SelfCollision
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.collect.retargeting.retargeter import HandTarget, Retargeter, RetargetOptions
from waldo.robots.description import load_robot

DT_S = 1 / 60


def shortest_distance(robot: str, moves: Mapping[Side, tuple[float, float, float]], *, avoid: bool = True) -> float:
    """Return the shortest distance between parts of a robot whose arms are moved by vectors [m]."""
    description = load_robot(robot)
    retargeter = Retargeter(description, RetargetOptions(self_collision=avoid))
    model = RobotModel(description)
    collision = SelfCollision(model, list(load_arms(model).arms.values()))
    retargeter.reset(description.home)
    targets = {}
    for side, move in moves.items():
        pose = retargeter.pose(side)
        pose[:3, 3] += move
        targets[side] = HandTarget(pose=pose)
    shortest = np.inf
    for _ in range(240):
        result = retargeter.step(targets, retargeter.position, DT_S)
        assert result.fault == ""
        model.update(retargeter.position)
        shortest = min(shortest, collision.distance())
    return shortest


CASES = {
    "g1_dex3": {"left": (0, -0.3, 0.1), "right": (0, 0.3, 0.1)},
    "g1": {"left": (-0.35, -0.15, 0.1)},
    "bi_openarm": {"left": (0.1, -0.3, 0.2), "right": (0.1, 0.3, 0.2)},
    "bi_so101": {"left": (0.1, -0.25, 0), "right": (0.1, 0.25, 0)},
    "so101": {"right": (-0.25, 0, -0.1)},
}
"""Robot -> moves that bring its parts together [m]."""


@pytest.mark.parametrize("robot", CASES)
def test_arms_do_not_touch_each_other_or_the_trunk(robot: str) -> None:
    # The approach is linearized, so a fast motion may take a part of the distance that is kept.
    assert shortest_distance(robot, CASES[robot]) > 0.5 * MIN_DISTANCE_M
    assert shortest_distance(robot, CASES[robot], avoid=False) < 0.5 * MIN_DISTANCE_M


def test_fingers_are_not_among_the_pairs() -> None:
    model = RobotModel(load_robot("g1_dex3"))
    collision = SelfCollision(model, list(load_arms(model).arms.values()))
    bodies = {model.model.body(model.model.geom_bodyid[geom]).name for pair in collision.pairs for geom in pair}
    assert "left_wrist_yaw_link" in bodies
    assert not [name for name in bodies if "thumb" in name or "index" in name]


def test_links_that_touch_where_they_are_joined_are_not_a_pair() -> None:
    model = RobotModel(load_robot("so101"))
    collision = SelfCollision(model, list(load_arms(model).arms.values()))
    names = {
        frozenset(model.model.body(model.model.geom_bodyid[geom]).name for geom in pair) for pair in collision.pairs
    }
    assert frozenset({"base", "gripper"}) in names
    assert frozenset({"upper_arm", "lower_arm"}) not in names
