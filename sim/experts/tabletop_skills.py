"""The skills of the SO-101's expert, as generators of moves that read the world between moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from waldo.sim.experts.kinematics import SiteTarget
from waldo.sim.experts.script import Move, ScriptContext, UnreachableError
from waldo.sim.tasks.tabletop import SHOULDER_X_M
from waldo.typing import Array

GRIPPER = 5
"""Index of the SO-101's gripper."""
SHOULDER_M = np.array([SHOULDER_X_M, 0.0])
"""Position of the pan axis, x and y [m]."""
OPEN_RAD = 0.95
"""Gripper position: open [rad]."""
SHUT_RAD = 0.28
"""Gripper target when closing on a 3 cm cube, at which it stops at 0.37 [rad]."""
HELD_RAD = 0.20
"""Gripper position below which nothing is between the jaws [rad]."""
RELEASE_RAD = OPEN_RAD - 0.15
"""Gripper position that releases a cube above a bin [rad]."""
ABOVE_M, GRASP_M, RAISE_M = 0.065, 0.018, 0.142
"""Heights of the grip point over the table: before the grasp, at the grasp, when lifted [m]."""
CARRY_M = 0.115
"""Height of the grip point while a cube is carried to a bin [m]."""
BIN_ABOVE_M, BIN_LOW_M, BIN_LEAVE_M = 0.10, 0.055, 0.11
"""Heights of the grip point over a bin: on arrival, at the release, when leaving [m]."""
MAX_RADIUS_M = 0.205
"""Distance from the pan axis within which the arm reaches the raised positions [m]."""
CLEARANCE_M = 0.011
"""Distance between the fixed jaw and the cube on the way down [m]."""
LIFTED_M = 0.04
"""Height of a cube's center above which it counts as lifted [m]."""
MISS_M = 0.02
"""Offset of a simulated near miss [m]."""
MISSED_M = (0.015, 0.032)
"""Range of the offset of a simulated grasp beside the cube [m]."""
MISSED_SHARE = 0.2
"""Share of first grasps that miss the cube."""
UNNOTICED_SHARE = 0.5
"""Share of missed grasps that the operator notices only after lifting the gripper."""
PUT_DOWN_TURNS_RAD = np.array([turn for k in range(13) for turn in (0.05 * k, -0.05 * k)])
"""Turns about the pan axis to the places where a cube may be put down, in the order of preference [rad]."""
FREE_M = 0.055
"""Minimum distance between a cube that is put down and the others [m]."""
TRIES = 3
"""Maximum number of grasps."""
PITCHES_DEG = (90, 82, 74, 66, 58, 50)
"""Pitch angles of the gripper below the horizon in the order of preference [deg]."""
GOOD_ERROR_M, MAX_ERROR_M = 1e-3, 8e-3
"""Error at which a pitch is accepted at once, and above which a pose is out of reach [m]."""


def tabletop_script(ctx: ScriptContext) -> Iterator[Move]:
    """Return the script for the goal of the context."""
    return put(ctx) if ctx.goal.skill == "put" else lift(ctx)


def grasp(ctx: ScriptContext, name: str) -> Iterator[Move]:
    """Grasp the cube `name`; retry while nothing is between the jaws.

    Some of the first grasps miss: a policy learns to repeat a grasp only from operators who had to.
    """
    yield from _put_down(ctx)
    for attempt in range(TRIES):
        center, yaw = ctx.pose(name)
        missed = attempt == 0 and ctx.happens(MISSED_SHARE)
        if missed:
            angle, offset = ctx.rng.uniform(-np.pi, np.pi), ctx.rng.uniform(*MISSED_M)
            center = center + offset * np.array([np.cos(angle), np.sin(angle), 0.0])
        closing = _closing_yaw(center, yaw)
        direction = np.array([np.cos(closing), np.sin(closing)])
        beside = center[:2] - CLEARANCE_M * direction
        if ctx.happens(0.06):
            # A near miss: the gripper comes down beside the cube and is corrected.
            miss = beside + ctx.rng.choice([-1, 1]) * MISS_M * np.array([-direction[1], direction[0]])
            yield _travel(ctx, _reach(ctx, np.array([*miss, ABOVE_M - 0.01]), closing, OPEN_RAD))
            yield ctx.pause(0.1)
        yield _travel(ctx, _reach(ctx, np.array([*beside, ABOVE_M]), closing, OPEN_RAD))
        if ctx.happens(0.12):
            yield ctx.pause(ctx.rng.uniform(0.05, 0.2))
        down = _reach(ctx, np.array([*beside, GRASP_M]), closing, OPEN_RAD)
        yield Move(to=down, seconds=0.7)
        shut = _reach(ctx, np.array([*(center[:2] - 0.001 * direction), GRASP_M]), closing, SHUT_RAD)
        yield Move(to=shut, seconds=0.5)
        yield ctx.pause(0.12)
        if ctx.position[GRIPPER] > HELD_RAD or (missed and ctx.happens(UNNOTICED_SHARE)):
            return
        opened = _reach(ctx, np.array([*beside, ABOVE_M]), closing, OPEN_RAD)
        yield Move(to=opened, seconds=0.7)


def _put_down(ctx: ScriptContext) -> Iterator[Move]:
    """Put a cube that is still in the hand on the table, apart from the others."""
    poses = {one.name: ctx.pose(one.name)[0] for one in ctx.task.objects}
    held = [name for name, center in poses.items() if center[2] > LIFTED_M]
    if not held:
        return
    others = np.array([center[:2] for name, center in poses.items() if name not in held]).reshape(-1, 2)
    grip, _ = ctx.kinematics.site(ctx.at, "grip")
    radius, azimuth = np.linalg.norm(grip[:2] - SHOULDER_M), np.arctan2(grip[1], grip[0] - SHOULDER_X_M)
    angles = azimuth + PUT_DOWN_TURNS_RAD
    places = SHOULDER_M + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    free = np.all(np.linalg.norm(places[:, None] - others, axis=2) > FREE_M, axis=1)
    place = places[int(np.argmax(free))]  # the first one if none is free
    yaw = float(np.arctan2(*(place - SHOULDER_M)[::-1]))
    yield _travel(ctx, _reach(ctx, np.array([*place, GRASP_M]), yaw, SHUT_RAD), 0.8)
    yield Move(to=_with_gripper(ctx.at, OPEN_RAD), seconds=0.4)
    yield Move(to=_reach(ctx, np.array([*place, ABOVE_M]), yaw, OPEN_RAD), seconds=0.5)


def lift(ctx: ScriptContext) -> Iterator[Move]:
    """Grasp a cube and lift it."""
    name = ctx.goal.object
    for _attempt in range(TRIES):
        yield from grasp(ctx, name)
        yield _travel(ctx, _above(ctx, ctx.at, RAISE_M), 0.8)
        yield ctx.pause(0.3)
        if _is_lifted(ctx, name):
            return
        yield Move(to=_with_gripper(ctx.at, OPEN_RAD), seconds=0.4)


def put(ctx: ScriptContext) -> Iterator[Move]:
    """Grasp a cube and put it into a bin."""
    goal = ctx.goal
    target = next(one for one in ctx.task.bins if one.name == goal.target)
    center = np.array(target.center)
    for _attempt in range(TRIES):
        yield from grasp(ctx, goal.object)
        yield _travel(ctx, _above(ctx, ctx.at, CARRY_M), 0.7)
        if not _is_lifted(ctx, goal.object):
            yield Move(to=_with_gripper(ctx.at, OPEN_RAD), seconds=0.4)
            continue
        yaw = float(np.arctan2(*(center - SHOULDER_M)[::-1]))
        yield _travel(ctx, _reach(ctx, np.array([*center, BIN_ABOVE_M]), yaw, SHUT_RAD), 0.8)
        low = _reach(ctx, np.array([*center, BIN_LOW_M]), yaw, SHUT_RAD)
        yield Move(to=low, seconds=0.45)
        yield Move(to=_with_gripper(low, RELEASE_RAD), seconds=0.3)
        yield Move(to=_reach(ctx, np.array([*center, BIN_LEAVE_M]), yaw, RELEASE_RAD), seconds=0.5)
        released = ctx.pose(goal.object)[0]
        if np.all(np.abs(released[:2] - center) < np.array(target.half)):
            return


def _reach(ctx: ScriptContext, point: Array, yaw: float, gripper: float) -> Array:
    """Return joint positions that bring the grip point to `point`, as steeply as the arm can.

    Args:
        ctx: The context.
        point: Position of the grip point (3,) [m].
        yaw: Direction in which the jaws close, about the vertical [rad].
        gripper: Position of the gripper [rad].

    Raises:
        UnreachableError: If no pitch reaches the point.
    """
    radial = point[:2] - SHOULDER_M
    radial /= np.linalg.norm(radial)
    seed = ctx.robot.home.copy()
    seed[0] = -np.arctan2(radial[1], radial[0])
    best, best_error = ctx.at, np.inf
    for pitch in np.radians(PITCHES_DEG):
        target = SiteTarget(site="grip", position=point, base_from_site=_gripper_rotation(radial, pitch, yaw))
        position, error = ctx.kinematics.solve([target], seed, range(GRIPPER), steps=40)
        if error < best_error:
            best, best_error = position, error
        if error < GOOD_ERROR_M:
            break
    if best_error > MAX_ERROR_M:
        raise UnreachableError(f"the point x {point[0]:.3f} y {point[1]:.3f} z {point[2]:.3f} m", best_error)
    return _with_gripper(best, gripper)


def _gripper_rotation(radial: Array, pitch: float, yaw: float) -> Array:
    """Return the rotation (3, 3) of the grip site: x approaches the table, z is the closing direction."""
    closing = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    approach = np.array([*(radial * np.cos(pitch)), -np.sin(pitch)])
    across = closing - approach * (closing @ approach)
    across /= np.linalg.norm(across)
    return np.stack([approach, np.cross(across, approach), across], axis=1)


def _closing_yaw(center: Array, yaw: float) -> float:
    """Return the direction square to a cube's faces that is nearest to radial from the shoulder [rad]."""
    azimuth = np.arctan2(center[1], center[0] - SHOULDER_X_M)
    turn = (yaw - azimuth + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return float(azimuth + turn)


def _travel(ctx: ScriptContext, to: Array, min_seconds: float = 0.45) -> Move:
    """Return a move with a duration that grows with the largest joint motion."""
    distance = float(np.max(np.abs((to - ctx.at)[:GRIPPER])))
    return Move(to=to, seconds=max(min_seconds, 0.50 + 0.80 * distance))


def _is_lifted(ctx: ScriptContext, name: str) -> bool:
    return ctx.pose(name)[0][2] > LIFTED_M


def _with_gripper(position: Array, gripper: float) -> Array:
    """Return joint positions with another position of the gripper [rad]."""
    changed = position.copy()
    changed[GRIPPER] = gripper
    return changed


def _above(ctx: ScriptContext, position: Array, height: float) -> Array:
    """Return joint positions with the grip point at `height` [m] above its current position, within reach."""
    grip, rotation = ctx.kinematics.site(position, "grip")
    radial = grip[:2] - SHOULDER_M
    radius = float(np.linalg.norm(radial))
    point = np.array([*(SHOULDER_M + radial / radius * min(radius, MAX_RADIUS_M)), height])
    yaw = float(np.arctan2(rotation[1, 2], rotation[0, 2]))
    return _reach(ctx, point, yaw, SHUT_RAD)
