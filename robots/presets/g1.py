"""Unitree's G1 humanoid (29 joints, rev 1.0) on a fixed pelvis: its upper body, or all of it with hands.

Joint names, limits and torques: Unitree g1_29dof.xml, as in https://github.com/unitreerobotics/unitree_mujoco; hands:
https://github.com/unitreerobotics/xr_teleoperate, assets.
"""

from __future__ import annotations

from waldo.robots.description import Camera, Joint, Part, Robot
from waldo.robots.motor import Motor
from waldo.robots.motors.unitree import (
    DEX3_FINGER,
    DEX3_THUMB,
    G1_4010,
    G1_5020,
    G1_5020_PAIR,
    G1_7520_14,
    G1_7520_22,
    INSPIRE_FINGER,
)

SOURCES = (
    "https://github.com/unitreerobotics/unitree_mujoco/blob/main/unitree_robots/g1/g1_29dof.xml",
    "https://github.com/google-deepmind/mujoco_menagerie/tree/main/unitree_g1",
    "https://github.com/mujocolab/mjlab (rotor inertias, gears)",
    "https://github.com/unitreerobotics/xr_teleoperate (gains of the arms; joints, limits and torques of the hands)",
)

SPEED_RAD_S = 3.0
"""Largest commanded speed [rad/s]; xr_teleoperate allows 20 to 30 for the arms, faster than an operator moves."""
ACCELERATION_RAD_S2 = 20.0
"""Largest commanded acceleration [rad/s²]."""


def _joint(name: str, motor: Motor, lower: float, upper: float, effort: float, home: float = 0.0) -> Joint:
    return Joint(
        name=f"{name}_joint",
        motor=motor,
        lower=lower,
        upper=upper,
        velocity=SPEED_RAD_S,
        acceleration=ACCELERATION_RAD_S2,
        effort=effort,
        home=home,
    )


def _arm(side: str) -> tuple[Joint, ...]:
    left = side == "left"
    roll = (-1.5882, 2.2515) if left else (-2.2515, 1.5882)
    return (
        _joint(f"{side}_shoulder_pitch", G1_5020, -3.0892, 2.6704, 25, home=0.25),
        _joint(f"{side}_shoulder_roll", G1_5020, *roll, 25, home=0.30 if left else -0.30),
        _joint(f"{side}_shoulder_yaw", G1_5020, -2.618, 2.618, 25),
        _joint(f"{side}_elbow", G1_5020, -1.0472, 2.0944, 25, home=-0.25),
        _joint(f"{side}_wrist_roll", G1_5020, -1.97222, 1.97222, 25),
        _joint(f"{side}_wrist_pitch", G1_4010, -1.61443, 1.61443, 5),
        _joint(f"{side}_wrist_yaw", G1_4010, -1.61443, 1.61443, 5),
    )


def _leg(side: str) -> tuple[Joint, ...]:
    roll = (-0.5236, 2.9671) if side == "left" else (-2.9671, 0.5236)
    return (
        _joint(f"{side}_hip_pitch", G1_7520_14, -2.5307, 2.8798, 88),
        _joint(f"{side}_hip_roll", G1_7520_22, *roll, 139),
        _joint(f"{side}_hip_yaw", G1_7520_14, -2.7576, 2.7576, 88),
        _joint(f"{side}_knee", G1_7520_22, -0.087267, 2.8798, 139),
        _joint(f"{side}_ankle_pitch", G1_5020_PAIR, -0.87267, 0.5236, 50),
        _joint(f"{side}_ankle_roll", G1_5020_PAIR, -0.2618, 0.2618, 50),
    )


def _dex3(side: str) -> Robot:
    """Return a Dex3-1, with the joints in the order of its motors."""
    left = side == "left"
    # A closed left finger is at negative angles, a closed right one at positive angles.
    first, second = ((-1.5708, 0.0), (-1.74533, 0.0)) if left else ((0.0, 1.5708), (0.0, 1.74533))
    thumb_1, thumb_2 = ((-0.724312, 1.0472), (0.0, 1.74533)) if left else ((-1.0472, 0.724312), (-1.74533, 0.0))
    sign = -1.0 if left else 1.0
    fingers = ("middle", "index") if left else ("index", "middle")
    return Robot(
        name=f"dex3_{side}",
        model=f"Unitree Dex3-1, {side} hand",
        joints=(
            _joint(f"{side}_hand_thumb_0", DEX3_THUMB, -1.0472, 1.0472, 2.45),
            _joint(f"{side}_hand_thumb_1", DEX3_FINGER, *thumb_1, 1.4),
            _joint(f"{side}_hand_thumb_2", DEX3_FINGER, *thumb_2, 1.4, home=-0.2 * sign),
            *(
                _joint(f"{side}_hand_{finger}_{link}", DEX3_FINGER, *limits, 1.4, home=0.2 * sign)
                for finger in fingers
                for link, limits in enumerate((first, second))
            ),
        ),
        cameras=(),
        mjcf="g1_dex3.xml",
        sources=SOURCES,
    )


def _inspire_hands() -> Robot:
    """Return a pair of Inspire hands, which have one connection."""
    return Robot(
        name="inspire",
        model="Inspire RH56DFX, two hands",
        joints=tuple(
            _joint(f"{side}_{part}", INSPIRE_FINGER, lower, upper, 1.0, home=lower + 0.15 * (upper - lower))
            for side in ("left", "right")
            for part, lower, upper in (
                *((finger, 0.0, 1.7) for finger in ("pinky", "ring", "middle", "index")),
                ("thumb_bend", 0.0, 0.5),
                ("thumb_rotation", -0.1, 1.3),
            )
        ),
        cameras=(),
        mjcf="g1_inspire.xml",
        sources=SOURCES,
    )


_UPPER_BODY = (
    _joint("waist_yaw", G1_7520_14, -2.618, 2.618, 88),
    _joint("waist_roll", G1_5020_PAIR, -0.52, 0.52, 50),
    _joint("waist_pitch", G1_5020_PAIR, -0.52, 0.52, 50),
    *_arm("left"),
    *_arm("right"),
)
_CAMERAS = (Camera(name="head", width=320, height=240, fps=30), Camera(name="front", width=320, height=240, fps=30))

G1 = Robot(
    name="g1",
    model="Unitree G1, upper body",
    joints=_UPPER_BODY,
    cameras=_CAMERAS,
    mjcf="g1.xml",
    sources=SOURCES,
)


def _with_hands(name: str, model: str, hands: tuple[Part, ...]) -> Robot:
    """Return the whole G1 with hands: a body over rt/lowcmd or rt/arm_sdk, and each hand over topics of its own."""
    body = Robot(
        name="g1_body",
        model="Unitree G1, 29 joints",
        joints=(*_leg("left"), *_leg("right"), *_UPPER_BODY),
        cameras=(),
        mjcf=f"{name}.xml",
        sources=SOURCES,
    )
    parts = (Part(name="body", robot=body), *hands)
    return Robot(
        name=name,
        model=model,
        joints=tuple(joint for part in parts for joint in part.joints),
        cameras=_CAMERAS,
        mjcf=f"{name}.xml",
        sources=SOURCES,
        parts=parts,
    )


G1_DEX3 = _with_hands(
    "g1_dex3",
    "Unitree G1 with Dex3-1 hands",
    tuple(Part(name=f"{side}_hand", robot=_dex3(side), driver="dex3") for side in ("left", "right")),
)
G1_INSPIRE = _with_hands(
    "g1_inspire", "Unitree G1 with Inspire hands", (Part(name="hands", robot=_inspire_hands(), driver="inspire"),)
)
