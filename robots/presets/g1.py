"""Upper body of Unitree's G1 humanoid (29 joints, rev 1.0): waist and two arms on a fixed pelvis.

Joint names, limits and torques: Unitree g1_29dof.xml, as in https://github.com/unitreerobotics/unitree_mujoco.
"""

from __future__ import annotations

from waldo.robots.description import Camera, Joint, Robot
from waldo.robots.motor import Motor
from waldo.robots.motors.unitree import G1_4010, G1_5020, G1_5020_PAIR, G1_7520_14

SOURCES = (
    "https://github.com/unitreerobotics/unitree_mujoco/blob/main/unitree_robots/g1/g1_29dof.xml",
    "https://github.com/google-deepmind/mujoco_menagerie/tree/main/unitree_g1",
    "https://github.com/mujocolab/mjlab (rotor inertias, gears)",
    "https://github.com/unitreerobotics/xr_teleoperate (gains of the arms)",
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


G1 = Robot(
    name="g1",
    model="Unitree G1, upper body",
    joints=(
        _joint("waist_yaw", G1_7520_14, -2.618, 2.618, 88),
        _joint("waist_roll", G1_5020_PAIR, -0.52, 0.52, 50),
        _joint("waist_pitch", G1_5020_PAIR, -0.52, 0.52, 50),
        *_arm("left"),
        *_arm("right"),
    ),
    cameras=(Camera(name="head", width=320, height=240, fps=30), Camera(name="front", width=320, height=240, fps=30)),
    mjcf="g1.xml",
    sources=SOURCES,
)
