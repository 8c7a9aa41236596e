"""The G1 expert's skill: press a box between both palms and lift it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from waldo.sim.experts.expert import Move, Operator, UnreachableError
from waldo.sim.experts.kinematics import Aim
from waldo.typing import Array

FREE = (0, *range(3, 17))
"""Indices of the joints that move: the waist's turn and both arms."""
BESIDE_M, PRESS_M = 0.07, 0.028
"""Palms off the box's sides before; how far into the box they are asked to go, which makes the pressing force [m]."""
RAISE_M = 0.17
"""How far the box is lifted [m]."""
TRIES = 3
"""Times that the box is taken hold of before giving up."""


def _reach(op: Operator, centre: Array, yaw: float, gap: float) -> Array:
    """Return joint positions with the palms `gap` off the planes `half width` left and right of `centre` [m]."""
    half = op.task.things[0].half[1]
    forward, left = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    aims = [
        Aim(
            site=f"{side}_palm",
            position=tuple(centre + sign * (half + gap) * left),
            axes={0: tuple(forward), 2: (0.0, 0.0, 1.0)},
        )
        for side, sign in (("left", 1.0), ("right", -1.0))
    ]
    position, error = op.kinematics.solve(aims, op.robot.home, FREE, rest=op.robot.home, steps=60)
    if error > 0.04:
        raise UnreachableError(f"the box at x {centre[0]:.3f} y {centre[1]:.3f} z {centre[2]:.3f} m", error)
    return position


def lift_with_both(op: Operator) -> Iterator[Move]:
    """Press the box between the palms and lift it; tries again where it slips."""
    name = op.goal.object
    rest = op.task.surface_m + op.task.things[0].half[2]
    for _attempt in range(TRIES):
        centre, yaw = op.pose(name)
        yield Move(to=_reach(op, centre, yaw, BESIDE_M), seconds=1.1)
        if op.chance(0.25):
            yield op.pause(op.rng.uniform(0.05, 0.25))
        centre, yaw = op.pose(name)
        yield Move(to=_reach(op, centre, yaw, -PRESS_M), seconds=0.8)
        yield op.pause(0.15)
        centre, yaw = op.pose(name)
        raised = centre + np.array([0.0, 0.0, RAISE_M])
        yield Move(to=_reach(op, raised, yaw, -PRESS_M), seconds=1.4)
        yield op.pause(0.4)
        if op.pose(name)[0][2] > rest + 0.05:
            return
        centre, yaw = op.pose(name)
        yield Move(to=_reach(op, centre, yaw, BESIDE_M), seconds=0.9)
