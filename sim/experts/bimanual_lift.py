"""The skill of the G1's expert: press a box between both palms and lift it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from waldo.sim.experts.kinematics import SiteTarget
from waldo.sim.experts.script import Move, ScriptContext, UnreachableError
from waldo.typing import Array

FREE = ("waist_yaw", "shoulder", "elbow", "wrist")
"""Parts of the names of the joints that move: the waist's yaw and both arms."""
BESIDE_M = 0.07
"""Distance of the palms from the sides of the box before the grasp [m]."""
PRESS_M = 0.028
"""Depth of the palms' targets inside the box, which produces the pressing force [m]."""
RAISE_M = 0.17
"""Height that the box is lifted by [m]."""
RAISED_M = 0.05
"""Height above its resting height at which the box counts as held [m]."""
TRIES = 3
"""Maximum number of grasps."""
MAX_ERROR_M = 0.04
"""Error above which the box is out of reach [m]."""


def _reach(ctx: ScriptContext, center: Array, yaw: float, gap: float) -> Array:
    """Return joint positions with both palms `gap` [m] beside a box at `center` (3,) [m], rotated by `yaw` [rad]."""
    half = ctx.task.objects[0].half[1]
    forward, left = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    base_from_palm = np.stack([forward, left, [0.0, 0.0, 1.0]], axis=1)
    targets = [
        SiteTarget(
            site=f"{side}_palm_surface", position=center + sign * (half + gap) * left, base_from_site=base_from_palm
        )
        for side, sign in (("left", 1.0), ("right", -1.0))
    ]
    free = [i for i, name in enumerate(ctx.robot.joint_names) if any(part in name for part in FREE)]
    rest = ctx.robot.home if ctx.task.home is None else np.array(ctx.task.home)
    position, error = ctx.kinematics.solve(targets, rest, free, rest=rest, steps=60)
    if error > MAX_ERROR_M:
        raise UnreachableError(f"the box at x {center[0]:.3f} y {center[1]:.3f} z {center[2]:.3f} m", error)
    return position


def lift_with_both(ctx: ScriptContext) -> Iterator[Move]:
    """Press the box between the palms and lift it; retry if it slips."""
    name = ctx.goal.object
    resting_m = ctx.task.surface_m + ctx.task.objects[0].half[2]
    for _attempt in range(TRIES):
        center, yaw = ctx.pose(name)
        yield Move(to=_reach(ctx, center, yaw, BESIDE_M), seconds=1.1)
        if ctx.happens(0.25):
            yield ctx.pause(ctx.rng.uniform(0.05, 0.25))
        center, yaw = ctx.pose(name)
        yield Move(to=_reach(ctx, center, yaw, -PRESS_M), seconds=0.8)
        yield ctx.pause(0.15)
        center, yaw = ctx.pose(name)
        raised = center + np.array([0.0, 0.0, RAISE_M])
        yield Move(to=_reach(ctx, raised, yaw, -PRESS_M), seconds=1.4)
        yield ctx.pause(0.4)
        if ctx.pose(name)[0][2] > resting_m + RAISED_M:
            return
        center, yaw = ctx.pose(name)
        yield Move(to=_reach(ctx, center, yaw, BESIDE_M), seconds=0.9)
