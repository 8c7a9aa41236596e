"""A model file as a robot's model: each driven joint has one actuator, with its name, that takes its position target.

Models describe drives in many ways: by position servos with a control signal of 0 to 255, by torque motors, by tendons,
or not at all. All of them are rewritten here, so that a simulation has to know one kind only. The physics stays that of
the file: the same stiffness, damping, limits and filters, in other units. A drive that exerts a torque or keeps a
velocity becomes a position servo with the gains of `torque_gains`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.sim.engine import Element, Model, Spec, mujoco
from waldo.sim.mjcf.drives import Drive, find_drives
from waldo.sim.mjcf.home import exclude_home_contacts
from waldo.sim.mjcf.reading import compile_spec, read_spec, rename


@dataclass(frozen=True, kw_only=True)
class RobotModel:
    """A robot's model with its drives."""

    spec: Spec
    """The rewritten model, to which a scene may be added."""
    model: Model
    """The same, compiled."""
    drives: tuple[Drive, ...]
    """The drives in the order of the actuators."""
    names: tuple[str, ...]
    """Name of each drive's joint and actuator."""
    left_out: tuple[str, ...]
    """Actuators that are not driven, and why, as texts."""


def load_robot_model(path: Path) -> RobotModel:
    """Read a model file and rewrite its actuators.

    Raises:
        FileError: If it is not a model with joints that can be driven.
    """
    spec = read_spec(path)
    original = compile_spec(spec, path)
    drives, left_out = find_drives(original, path)
    for drive in drives:
        if drive.lower > drive.upper:
            targets = f"{drive.targets[0]:g} to {drive.targets[1]:g}"
            limits = f"{drive.transmission.lower:g} to {drive.transmission.upper:g}"
            name = drive.transmission.name
            raise FileError(path, f"the targets of {name!r} are {targets}, its range is {limits}", "make them overlap")
    names = _names(original, drives)
    _rewrite(spec, drives, names)
    if path.suffix.lower() == ".urdf":
        exclude_home_contacts(spec, original)
    return RobotModel(spec=spec, model=compile_spec(spec, path), drives=drives, names=names, left_out=left_out)


def _names(model: Model, drives: tuple[Drive, ...]) -> tuple[str, ...]:
    """Return the name of each drive: that of its joint, or that of its tendon, marked if a joint has it as well."""
    joints = {model.joint(i).name for i in range(model.njnt)}
    names: list[str] = []
    for drive in drives:
        name = drive.transmission.name
        names.append(f"{name}_tendon" if drive.transmission.joint < 0 and name in joints else name)
    return tuple(names)


def _rewrite(spec: Spec, drives: tuple[Drive, ...], names: tuple[str, ...]) -> None:
    """Make each drive's actuator a position servo with the drive's name."""
    existing = list(spec.actuators)
    driven = {drive.actuator: name for drive, name in zip(drives, names, strict=True) if drive.actuator >= 0}
    renamed = {actuator: driven.get(i, actuator.name) for i, actuator in enumerate(existing)}
    for i, actuator in enumerate(existing):
        if i not in driven and actuator.name in names:
            renamed[actuator] = f"{actuator.name}_other"
    rename(spec, mujoco.mjtObj.mjOBJ_ACTUATOR, renamed)
    for drive, name in zip(drives, names, strict=True):
        actuator = existing[drive.actuator] if drive.actuator >= 0 else spec.add_actuator(name=name)
        _set_servo(actuator, drive, name)
    for key in spec.keys:
        key.act = []  # The states of integrators, which are replaced.
    explicit = (mujoco.mjtIntegrator.mjINT_EULER, mujoco.mjtIntegrator.mjINT_RK4)
    if any(drive.is_torque for drive in drives) and int(spec.option.integrator) in explicit:
        # An explicit integrator is unstable with the damping of a light joint.
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST


def _set_servo(actuator: Element, drive: Drive, name: str) -> None:
    """Set an actuator's force to stiffness (ctrl - position) - damping velocity."""
    scale, offset = drive.transmission.scale, drive.transmission.offset
    servo: dict[str, object] = {
        "gaintype": mujoco.mjtGain.mjGAIN_FIXED,
        "biastype": mujoco.mjtBias.mjBIAS_AFFINE,
        "gainprm": [drive.stiffness, *[0.0] * 9],
        # The length of a tendon is an affine function of the position.
        "biasprm": [drive.stiffness * offset / scale, -drive.stiffness, -drive.damping, *[0.0] * 7],
        "inheritrange": 0.0,
        "ctrlspec": 1,
        **_limits("ctrl", drive.targets),
        **_limits("force", drive.efforts),
    }
    if drive.actuator < 0:
        servo |= {"trntype": mujoco.mjtTrn.mjTRN_JOINT, "target": name, "gear": [1.0, *[0.0] * 5]}
    else:
        gear = actuator.gear[0]
        servo["gear"] = [1 / scale, *[0.0] * 5]
        servo["armature"] = actuator.armature * (gear * scale) ** 2
        servo["damping"] = [value * (gear * scale) ** 2 for value in actuator.damping]
    filters = (mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT)
    if drive.is_torque or int(actuator.dyntype) not in filters:
        servo |= {"dyntype": mujoco.mjtDyn.mjDYN_NONE}
    servo |= {"actlimited": mujoco.mjtLimited.mjLIMITED_FALSE, "actrange": [0.0, 0.0]}
    for attribute, value in servo.items():
        setattr(actuator, attribute, value)


def _limits(kind: str, pair: tuple[float, float]) -> dict[str, object]:
    """Return the attributes of a range; infinite ends are beyond all values of use."""
    if not np.isfinite(pair).any():
        return {f"{kind}limited": mujoco.mjtLimited.mjLIMITED_FALSE, f"{kind}range": [0.0, 0.0]}
    ends = np.nan_to_num(pair, posinf=1e9, neginf=-1e9).tolist()
    return {f"{kind}limited": mujoco.mjtLimited.mjLIMITED_TRUE, f"{kind}range": ends}
