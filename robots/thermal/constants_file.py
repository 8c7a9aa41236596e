"""File of constants that were identified on a robot's own motors, for `waldo robot --motors`.

JSON: {"format": "waldo-motors", "schema_version": 1, "robot": name, "joints": {name: {the four thermal constants,
"heat_scale", "relative_std", "unexplained_k", "source"}}}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.fit import NAMES, ThermalFit

FORMAT, SCHEMA_VERSION = "waldo-motors", 1


def save(path: Path, robot: str, fits: Mapping[str, ThermalFit]) -> None:
    """Write the fits of a robot's motors, by joint name."""
    joints = {
        joint: {
            "heat_scale": fit.heat_scale,
            **{name: getattr(fit.constants, name) for name in NAMES[1:]},
            "relative_std": dict(zip(NAMES, fit.std.tolist(), strict=True)),
            "unexplained_k": fit.rms_k,
            "source": fit.constants.source,
        }
        for joint, fit in fits.items()
    }
    content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "robot": robot, "joints": joints}
    write_atomic(path, json.dumps(content, indent=2) + "\n")


def apply(path: Path, robot: Robot) -> Robot:
    """Return the robot with the constants of a file; joints that it does not name keep those of the library.

    Raises:
        FileError: If the file is unreadable, belongs to another robot or contains invalid values.
    """
    joints = _read(path, robot)
    return replace(robot, joints=tuple(_joint(joint, joints.get(joint.name), path) for joint in robot.joints))


def _read(path: Path, robot: Robot) -> Mapping[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not isinstance(cast("object", content), dict) or content.get("format") != FORMAT:
        raise FileError(path, "is not a file of motor constants", "create one with: waldo identify DATASET --out FILE")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise FileError(path, f"has schema version {content.get('schema_version')}, expected {SCHEMA_VERSION}")
    if content.get("robot") != robot.name:
        raise FileError(path, f"belongs to the robot {content.get('robot')!r}, expected {robot.name!r}")
    joints = cast("Mapping[str, Any]", content.get("joints", {}))
    unknown = set(joints) - set(robot.joint_names)
    if unknown:
        raise FileError(path, f"names joints that {robot.name} does not have: {', '.join(sorted(unknown))}")
    return joints


def _joint(joint: Joint, values: Mapping[str, Any] | None, path: Path) -> Joint:
    """Return the joint with the constants of the file; the heat scale multiplies the resistance."""
    if values is None:
        return joint
    numbers = {name: values.get(name) for name in NAMES}
    for name, value in numbers.items():
        if not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
            raise FileError(path, f"has {name} {value!r} for {joint.name}, expected a number above 0")
    scale = float(numbers.pop("heat_scale") or 1.0)
    source = str(values.get("source", path))
    thermal = ThermalConstants(basis="fitted", source=source, **cast("Any", numbers))
    resistance = joint.motor.resistance
    if resistance is not None:
        scaled_source = f"{resistance.source}; multiplied by the heat scale {scale:.3g} of {source}"
        resistance = replace(resistance, value=resistance.value * scale, basis="fitted", source=scaled_source)
    return replace(joint, motor=replace(joint.motor, thermal=thermal, resistance=resistance))
