"""File of constants that were identified on a robot's own motors, for `waldo robot --motors`.

JSON: {"format": "waldo-motors", "schema_version": 1, "robot": name, "joints": {name: {the four thermal constants,
"heat_scale", "driver_sensor_ratio", "driver_sensor_std", "relative_std", "unexplained_k", "source"}}}. Files without
the place of the sensor on the drive's board are read with that of the motor library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.json_file import read_json, shown
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import THERMAL_UNITS, ThermalConstants
from waldo.robots.thermal.fit import NAMES, ThermalFit

FORMAT, SCHEMA_VERSION = "waldo-motors", 1

MAX_VALUE = 1e9
"""Maximum of any constant, far beyond every motor."""


def save(path: Path, robot: str, fits: Mapping[str, ThermalFit]) -> None:
    """Write the fits of a robot's motors, by joint name."""
    joints = {
        joint: {
            "heat_scale": fit.heat_scale,
            **{name: getattr(fit.constants, name) for name in NAMES[1:]},
            "driver_sensor_ratio": fit.constants.driver_sensor_ratio,
            "driver_sensor_std": fit.constants.driver_sensor_std,
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
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileError(path, "is not a file of motor constants", "create one with: waldo identify DATASET --out FILE")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise FileError(path, f"has schema version {shown(content.get('schema_version'))}, expected {SCHEMA_VERSION}")
    if content.get("robot") != robot.name:
        raise FileError(path, f"belongs to the robot {shown(repr(content.get('robot')))}, expected {robot.name!r}")
    joints = content.get("joints", {})
    if not isinstance(joints, dict):
        raise FileError(path, f"has joints {shown(joints)}, expected a mapping of joint names to constants")
    if unknown := sorted(set(joints) - set(robot.joint_names)):
        raise FileError(path, f"names joints that {robot.name} does not have: {shown(', '.join(unknown), 200)}")
    return joints


def _joint(joint: Joint, values: object, path: Path) -> Joint:
    """Return the joint with the constants of the file; the heat scale multiplies the resistance."""
    if values is None:
        return joint
    if not isinstance(values, dict):
        raise FileError(path, f"has {shown(values)} for {joint.name}, expected a mapping of names to numbers")
    numbers: dict[str, Any] = {name: values.get(name) for name in NAMES}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_VALUE:
            raise FileError(path, f"has {name} {shown(value)} for {joint.name}, expected a number above 0")
    scale = float(numbers.pop("heat_scale") or 1.0)
    source = shown(str(values.get("source", path)), 300)
    numbers |= _sensor(joint, values, path)
    thermal = ThermalConstants(basis="fitted", source=source, std=_std(joint, values, path), **cast("Any", numbers))
    resistance = joint.motor.resistance
    if resistance is not None:
        scaled_source = f"{resistance.source}; multiplied by the heat scale {scale:.3g} of {source}"
        resistance = replace(resistance, value=resistance.value * scale, basis="fitted", source=scaled_source)
    return replace(joint, motor=replace(joint.motor, thermal=thermal, resistance=resistance))


def _std(joint: Joint, values: Mapping[str, Any], path: Path) -> tuple[float, float, float, float] | None:
    """Return the relative standard deviations of the thermal constants; None if the file does not have all of them."""
    stated = values.get("relative_std")
    if not isinstance(stated, dict) or not set(THERMAL_UNITS) <= set(stated):
        return None
    for name in THERMAL_UNITS:
        value = stated[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_VALUE:
            found = f"relative_std {shown(value)} of {name} for {joint.name}"
            raise FileError(path, f"has {found}, expected a number from 0")
    return cast("Any", tuple(float(stated[name]) for name in THERMAL_UNITS))


def _sensor(joint: Joint, values: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Return the place of the sensor on the drive's board: that of the file, or else that of the motor library."""
    known = joint.motor.thermal
    found: dict[str, float] = {}
    for name in ("driver_sensor_ratio", "driver_sensor_std"):
        value = values.get(name, 0.0 if known is None else getattr(known, name))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise FileError(path, f"has {name} {shown(value)} for {joint.name}, expected a number from 0 to 1")
        found[name] = float(value)
    return found
