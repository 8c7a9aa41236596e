"""Constants that were identified of a robot's own motors, in a file that `waldo robot --motors` takes.

JSON: {"format": "waldo-motors", "schema_version": 1, "robot": name, "joints": {name: {the four constants, heat_scale,
their relative standard deviations, where they come from}}}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from waldo.errors import FileError
from waldo.robots.description import Joint, Robot
from waldo.robots.thermal.fit import NAMES, Fit
from waldo.robots.thermal.two_node import ThermalConstants

FORMAT, SCHEMA_VERSION = "waldo-motors", 1


def save(path: Path, robot: str, fits: Mapping[str, Fit]) -> None:
    """Write what was fitted of each joint's motor."""
    joints = {
        joint: {
            "heat_scale": found.heat_scale,
            **{name: getattr(found.constants, name) for name in NAMES[1:]},
            "relative_std": dict(zip(NAMES, found.std.tolist(), strict=True)),
            "unexplained_k": found.rms_k,
            "source": found.constants.source,
        }
        for joint, found in fits.items()
    }
    told = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "robot": robot, "joints": joints}
    path.write_text(json.dumps(told, indent=2) + "\n")


def apply(path: Path, robot: Robot) -> Robot:
    """Return the robot with the constants of a file; joints that it does not name keep those of the library."""
    named = _read(path, robot)
    return replace(robot, joints=tuple(_joint(joint, named.get(joint.name), path) for joint in robot.joints))


def _read(path: Path, robot: Robot) -> Mapping[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not isinstance(cast("object", told), dict) or told.get("format") != FORMAT:
        raise FileError(path, "is no file of identified motors", "make one with: waldo identify DATASET --out FILE")
    if told.get("schema_version") != SCHEMA_VERSION:
        raise FileError(path, f"has schema version {told.get('schema_version')}, expected {SCHEMA_VERSION}")
    if told.get("robot") != robot.name:
        raise FileError(path, f"is of the robot {told.get('robot')!r}, expected {robot.name!r}")
    joints = cast("Mapping[str, Any]", told.get("joints", {}))
    unknown = set(joints) - set(robot.joint_names)
    if unknown:
        raise FileError(path, f"names joints that {robot.name} does not have: {', '.join(sorted(unknown))}")
    return joints


def _joint(joint: Joint, told: Mapping[str, Any] | None, path: Path) -> Joint:
    if told is None:
        return joint
    values = {name: told.get(name) for name in NAMES}
    for name, value in values.items():
        if not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
            raise FileError(path, f"has {name} {value!r} for {joint.name}, expected a number above 0")
    scale = float(values.pop("heat_scale") or 1.0)
    thermal = ThermalConstants(basis="fitted", source=str(told.get("source", path)), **cast("Any", values))
    resistance = joint.motor.resistance_ohm
    motor = replace(joint.motor, thermal=thermal, resistance_ohm=None if resistance is None else resistance * scale)
    return replace(joint, motor=motor)
