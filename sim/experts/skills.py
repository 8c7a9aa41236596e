"""The scripts of the experts' skills: generators of moves that look at the world between them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from waldo.sim.experts.expert import Move, Operator, UnreachableError
from waldo.sim.experts.kinematics import Aim
from waldo.typing import Array

GRIPPER = 5
"""Index of the SO-101's gripper."""
OPEN_RAD, SHUT_RAD, HELD_RAD = 0.95, 0.28, 0.20
"""Gripper: open; asked to shut on a 3 cm cube (it stops at 0.37); below this nothing is between the jaws [rad]."""
ABOVE_M, GRASP_M, RAISE_M = 0.065, 0.018, 0.142
"""Heights of the grip point over the table: before the grasp, at the grasp, when lifted [m]."""
CLEAR_M = 0.011
"""Room between the fixed jaw and the cube on the way down [m]."""
TRIES = 3
"""Grasps that are tried before giving up."""
PITCHES_DEG = (90, 82, 74, 66, 58, 50)
"""Slopes of the hand below the horizon, steepest first [deg]."""


def script_of(operator: Operator) -> Iterator[Move]:
    """Return the script for the operator's goal on the operator's robot."""
    if operator.task.robot == "so101":
        return put(operator) if operator.goal.skill == "put" else lift(operator)
    from waldo.sim.experts.bimanual_lift import lift_with_both

    return lift_with_both(operator)


def _reach(op: Operator, place: Array, yaw: float, gripper: float) -> Array:
    """Return joint positions with the grip point at `place` and the jaws closing along `yaw`, as steep as can be."""
    shoulder = np.array([0.0388, 0.0])
    radial = place[:2] - shoulder
    radial /= np.linalg.norm(radial)
    closing = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    best, best_error = op.at, np.inf
    for pitch in np.radians(PITCHES_DEG):
        approach = np.array([*(radial * np.cos(pitch)), -np.sin(pitch)])
        across = closing - approach * (closing @ approach)
        across /= np.linalg.norm(across)
        aim = Aim(site="grip", position=tuple(place), axes={0: tuple(approach), 2: tuple(across)})
        seed = op.robot.home.copy()
        seed[0] = -np.arctan2(radial[1], radial[0])
        position, error = op.kinematics.solve([aim], seed, range(GRIPPER), steps=40)
        if error < best_error:
            best, best_error = position, error
        if error < 1e-3:
            break
    if best_error > 8e-3:
        raise UnreachableError(f"x {place[0]:.3f} y {place[1]:.3f} z {place[2]:.3f} m", best_error)
    best = best.copy()
    best[GRIPPER] = gripper
    return best


def _closing_yaw(place: Array, yaw: float) -> float:
    """Of the four directions square to a cube's faces, the one nearest to straight away from the shoulder."""
    azimuth = np.arctan2(place[1], place[0] - 0.0388)
    turn = (yaw - azimuth + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return float(azimuth + turn)


def _travel(op: Operator, to: Array, least: float = 0.45) -> Move:
    """Return a move whose time grows with the way that the joints go."""
    way = float(np.max(np.abs((to - op.at)[:GRIPPER])))
    return Move(to=to, seconds=max(least, 0.50 + 0.80 * way))


def grasp(op: Operator, name: str) -> Iterator[Move]:
    """Take the cube `name` between the jaws; tries again while it is not."""
    for _attempt in range(TRIES):
        place, yaw = op.pose(name)
        closing = _closing_yaw(place, yaw)
        direction = np.array([np.cos(closing), np.sin(closing)])
        aim = place[:2] - CLEAR_M * direction
        if op.chance(0.06):
            # A near miss: comes down beside the cube, sees it and corrects.
            miss = aim + op.rng.choice([-1, 1]) * 0.02 * np.array([-direction[1], direction[0]])
            yield _travel(op, _reach(op, np.array([*miss, ABOVE_M - 0.01]), closing, OPEN_RAD))
            yield op.pause(0.1)
        yield _travel(op, _reach(op, np.array([*aim, ABOVE_M]), closing, OPEN_RAD))
        if op.chance(0.12):
            yield op.pause(op.rng.uniform(0.05, 0.2))
        down = _reach(op, np.array([*aim, GRASP_M]), closing, OPEN_RAD)
        yield Move(to=down, seconds=0.7)
        shut = _reach(op, np.array([*(place[:2] - 0.001 * direction), GRASP_M]), closing, SHUT_RAD)
        yield Move(to=shut, seconds=0.5)
        yield op.pause(0.12)
        if op.position[GRIPPER] > HELD_RAD:
            return
        opened = _reach(op, np.array([*aim, ABOVE_M]), closing, OPEN_RAD)
        yield Move(to=opened, seconds=0.7)


def _raised(op: Operator, name: str) -> bool:
    return op.pose(name)[0][2] > 0.04


def lift(op: Operator) -> Iterator[Move]:
    """Take a cube and lift it."""
    name = op.goal.object
    for _attempt in range(TRIES):
        yield from grasp(op, name)
        yield _travel(op, _above(op, op.at, RAISE_M), 0.8)
        yield op.pause(0.3)
        if _raised(op, name):
            return
        opened = op.at.copy()
        opened[GRIPPER] = OPEN_RAD
        yield Move(to=opened, seconds=0.4)


def _above(op: Operator, position: Array, height: float) -> Array:
    """Return joint positions with the grip point at `height` over where it is, drawn in where the arm is too short."""
    at, rotation = op.kinematics.site(position, "grip")
    shoulder = np.array([0.0388, 0.0])
    radial = at[:2] - shoulder
    radius = float(np.linalg.norm(radial))
    place = np.array([*(shoulder + radial / radius * min(radius, 0.205)), height])
    yaw = float(np.arctan2(rotation[1, 2], rotation[0, 2]))
    return _reach(op, place, yaw, SHUT_RAD)


def put(op: Operator) -> Iterator[Move]:
    """Take a cube and put it into a bin."""
    goal = op.goal
    target = next(item for item in op.task.bins if item.name == goal.target)
    centre = np.array(target.centre)
    for _attempt in range(TRIES):
        yield from grasp(op, goal.object)
        yield _travel(op, _above(op, op.at, 0.115), 0.7)
        if not _raised(op, goal.object):
            opened = op.at.copy()
            opened[GRIPPER] = OPEN_RAD
            yield Move(to=opened, seconds=0.4)
            continue
        yaw = float(np.arctan2(centre[1], centre[0] - 0.0388))
        yield _travel(op, _reach(op, np.array([*centre, 0.10]), yaw, SHUT_RAD), 0.8)
        low = _reach(op, np.array([*centre, 0.055]), yaw, SHUT_RAD)
        yield Move(to=low, seconds=0.45)
        opened = low.copy()
        opened[GRIPPER] = OPEN_RAD - 0.15
        yield Move(to=opened, seconds=0.3)
        yield Move(to=_reach(op, np.array([*centre, 0.11]), yaw, OPEN_RAD - 0.15), seconds=0.5)
        place = op.pose(goal.object)[0]
        if np.all(np.abs(place[:2] - centre) < np.array(target.half)):
            return
