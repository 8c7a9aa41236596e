"""The drives of a model: for each joint that an actuator moves, the law by which it follows a position target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.sim.engine import Model, mujoco
from waldo.sim.mjcf.gains import FULL_EFFORT_M, FULL_EFFORT_RAD, torque_gains
from waldo.sim.mjcf.home import home_inertia
from waldo.sim.mjcf.transmission import (
    Transmission,
    followers_of,
    is_scalar,
    joint_transmission,
    transmission_of,
)
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One drive: effort = stiffness (target - position) - damping velocity, within its limits.

    Units are rad and N·m for a hinge, m and N for a slide.
    """

    transmission: Transmission
    """The position that it controls."""
    actuator: int
    """Index of the actuator in the file; -1 if the file has none."""
    stiffness: float
    """Effort per error."""
    damping: float
    """Effort per velocity."""
    targets: tuple[float, float]
    """Lowest and highest target that the actuator accepts; infinite without a limit."""
    efforts: tuple[float, float]
    """Lowest and highest effort of the actuator; infinite without a limit."""
    velocity: float
    """Highest velocity that the actuator may be given; inf if the file has none."""
    is_torque: bool
    """Whether the actuator of the file exerts a torque or keeps a velocity, so that the gains are waldo's."""

    @property
    def lower(self) -> float:
        """Lower position limit, of the joint and of the actuator; -inf without one."""
        return max(self.transmission.lower, self.targets[0])

    @property
    def upper(self) -> float:
        """Upper position limit; inf without one."""
        return min(self.transmission.upper, self.targets[1])


def find_drives(model: Model, path: Path) -> tuple[tuple[Drive, ...], tuple[str, ...]]:
    """Return the drives of a model in the order of its actuators, and why other actuators are left out, as texts.

    A model without actuators, such as a URDF file or a model for a program that adds them, has a drive for each hinge
    and slide joint that does not follow another one.

    Raises:
        FileError: If the model has no joint that can be driven, or two position actuators on one joint.
    """
    inertia = home_inertia(model)
    if not model.nu:
        free = [joint for joint in range(model.njnt) if is_scalar(model, joint) and joint not in followers_of(model)]
        if not free:
            raise FileError(path, "has no actuators and no hinge or slide joints", "use the model of a robot")
        return tuple(_bare(model, joint, inertia) for joint in free), ()
    found: dict[tuple[str, int], list[Drive]] = {}
    left_out: list[str] = []
    for actuator in range(model.nu):
        transmission = transmission_of(model, actuator)
        reason = transmission if isinstance(transmission, str) else _unfit(model, actuator)
        if isinstance(transmission, str) or reason:
            left_out.append(f"{actuator_name(model, actuator)} {reason}")
        else:
            found.setdefault(transmission.key, []).append(_drive(model, actuator, transmission, inertia))
    if not found:
        do = "waldo drives joints and fixed tendons, by position, velocity or torque actuators"
        raise FileError(path, f"has no actuator that can be driven: {'; '.join(left_out)}", do)
    return tuple(_leading(model, path, drives) for drives in found.values()), tuple(left_out)


def actuator_name(model: Model, actuator: int) -> str:
    """Return how a message names an actuator: with its name, or with its number if it has none."""
    name = model.actuator(actuator).name
    return f"actuator {name!r}" if name else f"actuator {actuator} (without a name)"


def _unfit(model: Model, actuator: int) -> str:
    """Return why no position target can be computed for an actuator, as text; empty if one can."""
    if model.actuator_plugin[actuator] >= 0:
        return "is implemented by a plugin"
    gain, bias = mujoco.mjtGain(model.actuator_gaintype[actuator]), mujoco.mjtBias(model.actuator_biastype[actuator])
    dynamics = mujoco.mjtDyn(model.actuator_dyntype[actuator])
    fit = (
        gain == mujoco.mjtGain.mjGAIN_FIXED
        and bias in (mujoco.mjtBias.mjBIAS_NONE, mujoco.mjtBias.mjBIAS_AFFINE)
        and dynamics
        in (
            mujoco.mjtDyn.mjDYN_NONE,
            mujoco.mjtDyn.mjDYN_INTEGRATOR,
            mujoco.mjtDyn.mjDYN_FILTER,
            mujoco.mjtDyn.mjDYN_FILTEREXACT,
        )
    )
    if not fit:
        parts = {"gain": gain, "bias": bias, "dynamics": dynamics}
        kinds = ", ".join(f"{part} {kind.name.split('_')[1].lower()}" for part, kind in parts.items())
        return f"is not a position, velocity or torque actuator ({kinds})"
    if not model.actuator_gainprm[actuator, 0] or not model.actuator_gear[actuator, 0]:
        return "has no effect: its gain or gear is zero"
    if _bias(model, actuator)[1] > 0:
        return f"pushes its joint away from the target: biasprm[1] is {_bias(model, actuator)[1]:g}, expected below 0"
    return ""


def _bias(model: Model, actuator: int) -> Array:
    """Return the constant, the position and the velocity coefficient of an actuator's bias force."""
    is_affine = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE
    return model.actuator_biasprm[actuator, :3] if is_affine else np.zeros(3)


def _leading(model: Model, path: Path, drives: Sequence[Drive]) -> Drive:
    """Return the drive that follows the target; the others of the joint are not commanded, and may damp it."""
    by_position = [drive for drive in drives if not drive.is_torque]
    if len(by_position) > 1:
        names = " and ".join(actuator_name(model, drive.actuator) for drive in by_position)
        name = by_position[0].transmission.name
        raise FileError(path, f"{names} both control the position of {name!r}", "keep one of them")
    return (by_position or list(drives))[0]


def _bare(model: Model, joint: int, inertia: Array) -> Drive:
    """Return the drive of a joint without an actuator."""
    transmission = joint_transmission(model, joint)
    return _torque_drive(model, -1, transmission, inertia, (-np.inf, np.inf), np.inf)


def _drive(model: Model, actuator: int, transmission: Transmission, inertia: Array) -> Drive:
    """Return the drive of an actuator: force = gain · ctrl + constant + position · length + velocity · its rate."""
    gain = float(model.actuator_gainprm[actuator, 0])
    constant, position, velocity = (float(one) for one in _bias(model, actuator))
    gear = float(model.actuator_gear[actuator, 0])
    ratio = gear * transmission.scale
    controls = _range(model.actuator_ctrllimited, model.actuator_ctrlrange, actuator)
    forces = _range(model.actuator_forcelimited, model.actuator_forcerange, actuator)
    is_integrated = model.actuator_dyntype[actuator] == mujoco.mjtDyn.mjDYN_INTEGRATOR
    if not position:
        if velocity:
            speed = float(np.abs(gain * np.array(controls) / velocity / ratio).max())
        else:
            speed, forces = np.inf, _overlap(forces, _ordered(gain * np.array(controls) + constant))
        return _torque_drive(model, actuator, transmission, inertia, _ordered(ratio * np.array(forces)), speed)
    speed = np.inf
    if is_integrated:
        # The control signal of an integrated actuator is the velocity of its target.
        speed = float(np.abs(np.array(controls) * gain / position / ratio).max())
        controls = _range(model.actuator_actlimited, model.actuator_actrange, actuator)
    still = constant + position * gear * transmission.offset
    return Drive(
        transmission=transmission,
        actuator=actuator,
        stiffness=-position * ratio**2,
        damping=-velocity * ratio**2,
        targets=_ordered((gain * np.array(controls) + still) / (-position * ratio)),
        efforts=_within_joint(model, transmission, _ordered(ratio * np.array(forces))),
        velocity=speed,
        is_torque=False,
    )


def _torque_drive(
    model: Model,
    actuator: int,
    transmission: Transmission,
    inertia: Array,
    efforts: tuple[float, float],
    velocity: float,
) -> Drive:
    """Return a drive with gains from the effort and the moved inertia."""
    efforts = _within_joint(model, transmission, efforts)
    stiffness, damping = torque_gains(
        float(transmission.motion @ inertia @ transmission.motion),
        float(np.abs(efforts).max()),
        FULL_EFFORT_M if transmission.is_slide else FULL_EFFORT_RAD,
        model.opt.timestep,
    )
    return Drive(
        transmission=transmission,
        actuator=actuator,
        stiffness=stiffness,
        damping=damping,
        targets=(-np.inf, np.inf),
        efforts=efforts,
        velocity=velocity,
        is_torque=True,
    )


def _within_joint(model: Model, transmission: Transmission, efforts: tuple[float, float]) -> tuple[float, float]:
    """Return the efforts within the limit of the joint itself (actuatorfrcrange)."""
    if transmission.tendon >= 0:
        return efforts
    return _overlap(efforts, _range(model.jnt_actfrclimited, model.jnt_actfrcrange, transmission.joint))


def _range(limited: Array, ranges: Array, index: int) -> tuple[float, float]:
    """Return a range of the model; infinite if it has none."""
    return (float(ranges[index, 0]), float(ranges[index, 1])) if limited[index] else (-np.inf, np.inf)


def _ordered(pair: Array | Sequence[float]) -> tuple[float, float]:
    first, second = sorted(float(one) for one in pair)
    return first, second


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return max(first[0], second[0]), min(first[1], second[1])
