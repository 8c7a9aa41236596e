"""Pairs of geoms that must not touch: arm against arm, and arm against the rest of the robot.

The models in `robots/models` let only fingers touch, for simulation. Here every pair of geoms counts that can approach
each other by an arm's motion, except fingers, which touch each other when they grasp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from waldo.collect.retargeting.arms import Arm
from waldo.collect.retargeting.engine import mink, mujoco
from waldo.collect.retargeting.kinematics import RobotModel

MIN_DISTANCE_M = 0.01
"""Distance between two geoms that is kept [m]."""

DETECTION_M = 0.06
"""Distance below which the approach of two geoms is slowed down [m]."""

GAIN = 0.3
"""Fraction of the remaining distance that two geoms may approach in one cycle."""

JOINTS_APART = 3
"""Links of one arm are a pair if this many joints lie between them: nearer ones touch where they are joined."""

NEAR_AT_HOME_M = 0.012
"""Geoms nearer than this in the home posture are not a pair: they are drawn into each other."""


class SelfCollision:
    """The geoms of a robot that its arms can bring together, and the limit that keeps them apart."""

    def __init__(self, model: RobotModel, arms: Sequence[Arm]) -> None:
        """Find the pairs, with the robot at home; arms that are held still are obstacles too."""
        self._model = model
        model.update(model.robot.home)
        self.pairs = self._pairs(arms)
        """Geoms (a, b) by their indices in the MJCF."""
        # mink takes only pairs whose contact bits match; the copy of the model is this module's own.
        for geom in {geom for pair in self.pairs for geom in pair}:
            model.model.geom_contype[geom] |= 1
            model.model.geom_conaffinity[geom] |= 1
        self._limit = mink.CollisionAvoidanceLimit(
            model.model,
            [([a], [b]) for a, b in self.pairs],
            minimum_distance_from_collisions=MIN_DISTANCE_M,
            collision_detection_distance=DETECTION_M,
        )

    def limit(self, dt_s: float) -> Any:
        """Return mink's limit of the approach of the pairs in a cycle of `dt_s` [s]."""
        # mink bounds a displacement by gain * distance / dt (1.3.0), which has the unit of a velocity.
        self._limit.gain = GAIN * dt_s
        return self._limit

    def distance(self) -> float:
        """Return the shortest distance between the geoms of a pair in the current posture, up to `DETECTION_M` [m]."""
        return min((self._distance(a, b) for a, b in self.pairs), default=DETECTION_M)

    def _distance(self, a: int, b: int) -> float:
        data = self._model.configuration.data
        return float(mujoco.mj_geomDistance(self._model.model, data, a, b, DETECTION_M, np.empty(6)))

    def _pairs(self, arms: Sequence[Arm]) -> list[tuple[int, int]]:
        """Return the pairs of geoms that an arm's motion can bring together."""
        model = self._model.model
        arm_joints = {joint for arm in arms for joint in arm.joints}
        above = [set(self._model.joints_that_move(body)) for body in range(model.nbody)]
        # What moves a body beyond the joints of a whole arm are the joints of its hand.
        of_hands = [
            any(set(arm.joints) <= joints and joints - above[int(model.site(arm.site).bodyid[0])] for arm in arms)
            for joints in above
        ]
        found: list[tuple[int, int]] = []
        bodies = model.geom_bodyid
        for a in range(model.ngeom):
            for b in range(a):
                if of_hands[bodies[a]] or of_hands[bodies[b]]:
                    continue
                between = (above[bodies[a]] ^ above[bodies[b]]) & arm_joints
                if len(between) >= JOINTS_APART and self._distance(a, b) > NEAR_AT_HOME_M:
                    found.append((b, a))
        return found
