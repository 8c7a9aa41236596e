"""What an actuator of a model moves: a joint, joints that an equality couples, or a tendon over several joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waldo.sim.engine import Model, mujoco
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """A position that an actuator controls, and the motion of the joints that it causes.

    A tendon over coupled joints has the position of its first joint, such as one finger of a parallel gripper; a tendon
    over joints that move separately has its own length as position.
    """

    name: str
    """Name of the joint, or of the tendon."""
    joint: int
    """Index of the joint whose position it is; -1 for the length of a tendon."""
    tendon: int
    """Index of the tendon that the actuator pulls; -1 for none."""
    scale: float
    """Length of the transmission per position, without the actuator's gear."""
    offset: float
    """Length of the transmission at position zero [rad or m]."""
    terms: dict[int, float]
    """Joint -> coefficient: the position is the sum of the joints' positions times their coefficients."""
    is_slide: bool
    """Whether it is a length [m], not an angle [rad]."""
    motion: Array
    """Velocity of each degree of freedom at unit velocity of the position, shape (nv,)."""
    lower: float
    """Lower limit of the joints' or the tendon's range [rad or m]; -inf without a limit."""
    upper: float
    """Upper limit [rad or m]; inf without a limit."""

    @property
    def key(self) -> tuple[str, int]:
        """The coordinate: actuators with the same key drive the same one."""
        return ("joint", self.joint) if self.joint >= 0 else ("tendon", self.tendon)


def transmission_of(model: Model, actuator: int) -> Transmission | str:
    """Return the transmission of an actuator, or why it has no position that can be controlled, as text."""
    kind, target = int(model.actuator_trntype[actuator]), int(model.actuator_trnid[actuator, 0])
    if kind in (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT):
        return joint_transmission(model, target) if is_scalar(model, target) else "drives a ball or free joint"
    if kind == mujoco.mjtTrn.mjTRN_TENDON:
        return _tendon_transmission(model, target)
    known = {
        mujoco.mjtTrn.mjTRN_SITE: "acts on a site",
        mujoco.mjtTrn.mjTRN_BODY: "acts on a body",
        mujoco.mjtTrn.mjTRN_SLIDERCRANK: "drives a slider-crank",
    }
    return known.get(mujoco.mjtTrn(kind), "drives no joint or tendon")


def is_scalar(model: Model, joint: int) -> bool:
    """Return whether a joint is a hinge or a slide."""
    return int(model.jnt_type[joint]) in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


def is_slide(model: Model, joint: int) -> bool:
    """Return whether a joint is a slide."""
    return bool(model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE)


def joint_transmission(model: Model, joint: int) -> Transmission:
    """Return the transmission of a hinge or slide joint."""
    limited = bool(model.jnt_limited[joint])
    lower, upper = model.jnt_range[joint] if limited else (-np.inf, np.inf)
    return Transmission(
        name=model.joint(joint).name,
        joint=joint,
        tendon=-1,
        scale=1.0,
        offset=0.0,
        terms={joint: 1.0},
        is_slide=is_slide(model, joint),
        motion=_motion(model, {one: slope for one, (slope, _) in coupled(model, joint).items()}),
        lower=float(lower),
        upper=float(upper),
    )


def _tendon_transmission(model: Model, tendon: int) -> Transmission | str:
    wraps = range(model.tendon_adr[tendon], model.tendon_adr[tendon] + model.tendon_num[tendon])
    if any(model.wrap_type[wrap] != mujoco.mjtWrap.mjWRAP_JOINT for wrap in wraps):
        return "pulls a tendon through space"
    coefficients = {int(model.wrap_objid[wrap]): float(model.wrap_prm[wrap]) for wrap in wraps}
    limited = bool(model.tendon_limited[tendon])
    shortest, longest = model.tendon_range[tendon] if limited else (-np.inf, np.inf)
    first = next(iter(coefficients))
    followers = coupled(model, first)
    scale = sum(coefficient * followers[one][0] for one, coefficient in coefficients.items() if one in followers)
    if set(coefficients) <= set(followers) and abs(scale) > 1e-9:
        offset = sum(coefficient * followers[one][1] for one, coefficient in coefficients.items())
        alone = joint_transmission(model, first)
        ends = sorted(((shortest - offset) / scale, (longest - offset) / scale))
        return Transmission(
            name=alone.name,
            joint=first,
            tendon=tendon,
            scale=scale,
            offset=offset,
            terms=alone.terms,
            is_slide=alone.is_slide,
            motion=alone.motion,
            lower=max(alone.lower, float(ends[0])),
            upper=min(alone.upper, float(ends[1])),
        )
    square = sum(coefficient**2 for coefficient in coefficients.values())
    return Transmission(
        name=model.tendon(tendon).name,
        joint=-1,
        tendon=tendon,
        scale=1.0,
        offset=0.0,
        terms=coefficients,
        is_slide=is_slide(model, first),
        motion=_motion(model, {one: coefficient / square for one, coefficient in coefficients.items()}),
        lower=float(shortest),
        upper=float(longest),
    )


def coupled(model: Model, joint: int) -> dict[int, tuple[float, float]]:
    """Return the joints that equalities couple to a joint, with itself: joint -> slope and offset of its position."""
    found = {joint: (1.0, 0.0)}
    pairs = [pair for equality in range(model.neq) if (pair := _pair(model, equality)) is not None]
    pairs += [(leader, follower, 1 / slope, -offset / slope) for follower, leader, slope, offset in pairs if slope]
    grown = True
    while grown:
        grown = False
        for follower, leader, slope, offset in pairs:
            if leader in found and follower not in found:
                along, start = found[leader]
                found[follower] = (slope * along, slope * start + offset)
                grown = True
    return found


def followers_of(model: Model) -> set[int]:
    """Return the joints whose position an equality computes from that of another joint."""
    pairs = (_pair(model, equality) for equality in range(model.neq))
    return {pair[0] for pair in pairs if pair is not None}


def _pair(model: Model, equality: int) -> tuple[int, int, float, float] | None:
    """Return follower, leader, slope and offset of an equality that couples two joints; None for any other."""
    is_joint = model.eq_type[equality] == mujoco.mjtEq.mjEQ_JOINT and model.eq_active0[equality]
    follower, leader = int(model.eq_obj1id[equality]), int(model.eq_obj2id[equality])
    if not is_joint or leader < 0:
        return None
    # follower - its reference = offset + slope (leader - its reference); higher powers only bend the curve.
    constant, slope = model.eq_data[equality, :2]
    zero = model.qpos0[model.jnt_qposadr]
    return follower, leader, float(slope), float(zero[follower] + constant - slope * zero[leader])


def _motion(model: Model, slopes: dict[int, float]) -> Array:
    motion = np.zeros(model.nv)
    for joint, slope in slopes.items():
        motion[model.jnt_dofadr[joint]] = slope
    return motion
