"""OpenArm of Enactic, version 1: arms with seven joints and a gripper, driven by Damiao motors.

Joint k is motor k on the arm's CAN bus, and the gripper is motor 8. Joint names and limits are those of LeRobot.
"""

from __future__ import annotations

import numpy as np

from waldo.robots.description import Camera, EndEffector, Joint, Robot
from waldo.robots.motor import Motor
from waldo.robots.motors.damiao import DM_J4310, DM_J4340, DM_J8009
from waldo.robots.presets.pair import pair

SOURCES = (
    "https://github.com/enactic/openarm_mujoco/blob/main/v1/openarm_bimanual.xml (joints, masses, peak torques)",
    "https://github.com/huggingface/lerobot/blob/v0.6.1/src/lerobot/robots/openarm_follower/ (motors, limits)",
)

SPEED_RAD_S = 2.0
"""Largest commanded speed [rad/s]; the slowest motor, DM-J4340, turns at 5.4 rad/s without load."""
ACCELERATION_RAD_S2 = 15.0
"""Largest commanded acceleration [rad/s²]."""


def _joint(name: str, motor: Motor, lower_deg: float, upper_deg: float, effort: float, home: float = 0.0) -> Joint:
    return Joint(
        name=name,
        motor=motor,
        lower=float(np.radians(lower_deg)),
        upper=float(np.radians(upper_deg)),
        velocity=SPEED_RAD_S,
        acceleration=ACCELERATION_RAD_S2,
        effort=effort,
        home=home,
    )


def _arm(side: str) -> Robot:
    outward = (-90.0, 9.0) if side == "left" else (-9.0, 90.0)
    return Robot(
        name=f"openarm_{side}",
        model=f"Enactic OpenArm, {side} arm",
        joints=(
            _joint("joint_1", DM_J8009, -75, 75, 40),
            _joint("joint_2", DM_J8009, *outward, 40),
            _joint("joint_3", DM_J4340, -85, 85, 27),
            _joint("joint_4", DM_J4340, 0, 135, 27, home=0.5),
            _joint("joint_5", DM_J4310, -85, 85, 7),
            _joint("joint_6", DM_J4310, -40, 40, 7),
            _joint("joint_7", DM_J4310, -80, 80, 7),
            _joint("gripper", DM_J4310, -65, 0, 7, home=-0.3),
        ),
        cameras=(Camera(name="wrist", width=320, height=240, fps=30),),
        mjcf=f"openarm_{side}.xml",
        end_effectors=(EndEffector(site="grip", pads=("left_pad", "right_pad")),),
        sources=SOURCES,
    )


OPENARM_LEFT = _arm("left")
OPENARM_RIGHT = _arm("right")

BI_OPENARM = pair(
    "bi_openarm",
    "Enactic OpenArm, two arms",
    OPENARM_LEFT,
    OPENARM_RIGHT,
    mjcf="bi_openarm.xml",
    cameras=(Camera(name="chest", width=320, height=240, fps=30),),
)
