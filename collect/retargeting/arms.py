"""The arms of a robot that follow an operator's hands: end effectors, their joints, and their hands.

A robot whose description names end effectors needs nothing else. Others have a YAML file in `arms/`, named after the
robot; docs/guide/retargeting.md describes its keys.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from waldo.collect.devices.tracking import Side
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.errors import FileError, UnknownNameError, WaldoError

SIDES: tuple[Side, ...] = ("left", "right")
"""Sides of the operator's hands."""

KEYS = ("effectors", "held", "costs", "operator_yaw_deg")
"""Keys of a file of `arms/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An arm that follows one hand. Joints are indices in `robot.joints`."""

    side: Side
    """The operator's hand that it follows."""
    site: str
    """Site of the MJCF that follows the hand's pose."""
    joints: tuple[int, ...]
    """Joints that move the site, from the base on, without those that are held."""
    grippers: tuple[int, ...] = ()
    """Joint that opens the gripper; empty for an arm with a hand or without either."""
    pads: tuple[str, str] | None = None
    """Geoms of the gripper's pads."""
    hand: str = ""
    """Name or path of the description of its hand; empty for a gripper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """All arms of a robot that follow an operator."""

    arms: Mapping[Side, Arm]
    costs: Mapping[int, float]
    """Joint -> factor of the cost of moving it; joints that are not named have 1."""
    operator_yaw_rad: float = 0.0
    """Direction in which the operator of the robot looks, as an angle about the z axis of the MJCF's world [rad]."""


class NoEndEffectorError(WaldoError):
    """A robot without a description of the end effectors that follow an operator's hands."""

    def __init__(self, robot: str) -> None:
        """Build the message from the robot's name."""
        super().__init__(
            f"the description of {robot} names no end effectors, so no hand can be retargeted to it; add end_effectors "
            "to its description, or pass a file of arms with the option arms (docs/guide/retargeting.md)"
        )


def load_arms(model: RobotModel, *, path: str = "", single: Side = "right") -> Arms:
    """Return the arms of a robot.

    Args:
        model: The robot.
        path: YAML file with the arms; by default the file of the robot in `arms/`, if there is one.
        single: The hand that a robot with one arm follows.

    Raises:
        NoEndEffectorError: If the robot has no known end effectors.
        FileError: If the file is missing or cannot be used.
        UnknownNameError: If it names a key, joint or site that does not exist.
    """
    described = _read(model, path)
    held, costs = described.get("held", ()), described.get("costs", {})
    for name in (*held, *costs):
        if name not in model.robot.joint_names:
            raise UnknownNameError("joint", str(name), model.robot.joint_names)
    fixed = {model.robot.joint_names.index(name) for name in held}
    effectors = described.get("effectors")
    arms = _of_description(model, single, fixed) if effectors is None else _of_file(model, effectors, fixed)
    if not arms:
        raise NoEndEffectorError(model.robot.name)
    return Arms(
        arms=arms,
        costs={model.robot.joint_names.index(name): float(cost) for name, cost in costs.items()},
        operator_yaw_rad=float(np.radians(described.get("operator_yaw_deg", 0.0))),
    )


def _read(model: RobotModel, path: str) -> Mapping[str, Any]:
    """Return the contents of the file of a robot's arms; empty if there is none."""
    file = Path(path) if path else _folder() / f"{model.robot.name}.yaml"
    if not file.is_file():
        if path:
            raise FileError(file, "no such file", "give the path of a YAML file with arms")
        return {}
    found = read_mapping(file)
    for key in found:
        if key not in KEYS:
            raise UnknownNameError(f"key of {file}", key, KEYS)
    return found


def read_mapping(file: Path) -> Mapping[str, Any]:
    """Return the contents of a YAML file; raises FileError unless it is a mapping."""
    try:
        found: object = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise FileError(file, f"is not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise FileError(file, "is not a mapping of names to values")
    return cast("Mapping[str, Any]", found)


def _folder() -> Path:
    return Path(str(importlib.resources.files("waldo.collect.retargeting"))) / "arms"


def _of_description(model: RobotModel, single: Side, held: set[int]) -> dict[Side, Arm]:
    """Return the arms of the robot's end effectors; the sides are in their names, or there is only one."""
    found: dict[Side, Arm] = {}
    effectors = model.robot.end_effectors
    for effector in effectors:
        named = next((side for side in SIDES if effector.site.startswith(side)), None)
        side = single if len(effectors) == 1 else named
        if side is None:
            continue
        chain = _chain(model, effector.site)
        moving = {j for pad in effector.pads for j in model.joints_that_move(int(model.model.geom(pad).bodyid[0]))}
        grippers = tuple(sorted(moving - set(chain)))[:1]
        found[side] = Arm(
            side=side,
            site=effector.site,
            joints=tuple(j for j in chain if j not in held),
            grippers=grippers,
            pads=effector.pads,
        )
    return found


def _of_file(model: RobotModel, effectors: Mapping[Side, Mapping[str, str]], held: set[int]) -> dict[Side, Arm]:
    """Return the arms of a file: side -> site and hand."""
    found: dict[Side, Arm] = {}
    for side, one in effectors.items():
        if side not in SIDES:
            raise UnknownNameError("side", str(side), SIDES)
        chain = _chain(model, one["site"])
        found[side] = Arm(
            side=side, site=one["site"], joints=tuple(j for j in chain if j not in held), hand=one.get("hand", "")
        )
    return found


def _chain(model: RobotModel, site: str) -> Sequence[int]:
    try:
        return model.joints_above(int(model.model.site(site).bodyid[0]))
    except KeyError:
        known = [model.model.site(i).name for i in range(model.model.nsite)]
        raise UnknownNameError("site", site, known) from None
