"""ALOHA of Zhao et al.: two ViperX 300 S arms that follow two WidowX 250 S arms, all with Dynamixel servos.

The joints `shoulder` and `elbow` have two servos each: ids 2 and 3, 4 and 5. Joint names are those of Interbotix.
"""

from __future__ import annotations

import dataclasses

from waldo.robots.description import Camera, EndEffector, Joint, Robot
from waldo.robots.motor import Motor, in_parallel
from waldo.robots.motors.dynamixel import XL430_W250, XM430_W350, XM540_W270
from waldo.robots.presets.pair import pair

SOURCES = (
    "https://github.com/huggingface/gym-aloha, 0.1.3, assets/vx300s_right.xml (kinematics, masses, limits)",
    "https://github.com/Interbotix/interbotix_ros_manipulators, interbotix_xsarm_control/config (ids, drive modes)",
    "https://github.com/google-deepmind/mujoco_menagerie, trossen_wx250s/wx250s.xml (leader)",
    "https://github.com/tonyzhaozh/aloha, aloha_scripts/constants.py (grippers, start pose)",
)

SPEED_RAD_S = 2.5
"""Largest commanded speed [rad/s]; Interbotix limits the servos to 3.1 rad/s (register 44: 131)."""
ACCELERATION_RAD_S2 = 15.0
"""Largest commanded acceleration [rad/s²]."""
GRIPPER_NM = 1.4
"""Largest torque of the gripper: 300 units of 2.69 mA, the highest current limit of ALOHA's scripts [N·m]."""


def _joint(name: str, motor: Motor, lower: float, upper: float, home: float = 0.0, effort: float = 0.0) -> Joint:
    return Joint(
        name=name,
        motor=motor,
        lower=lower,
        upper=upper,
        velocity=SPEED_RAD_S,
        acceleration=ACCELERATION_RAD_S2,
        effort=effort or motor.need("peak_torque_nm", "the effort of a joint"),
        home=home,
    )


_TWO_XM540, _TWO_XM430 = in_parallel(XM540_W270, 2), in_parallel(XM430_W350, 2)

VX300S = Robot(
    name="vx300s",
    model="Trossen Robotics ViperX 300 S",
    joints=(
        _joint("waist", XM540_W270, -3.14158, 3.14158),
        _joint("shoulder", _TWO_XM540, -1.85005, 1.25664, home=-0.96),
        _joint("elbow", _TWO_XM540, -1.76278, 1.6057, home=1.16),
        _joint("forearm_roll", XM540_W270, -3.14158, 3.14158),
        _joint("wrist_angle", XM540_W270, -1.8675, 2.23402, home=-0.3),
        _joint("wrist_rotate", XM430_W350, -3.14158, 3.14158),
        _joint("gripper", XM430_W350, -0.6213, 1.4910, effort=GRIPPER_NM),
    ),
    cameras=(Camera(name="front", width=320, height=240, fps=30), Camera(name="wrist", width=320, height=240, fps=30)),
    mjcf="vx300s.xml",
    end_effectors=(EndEffector(site="grip", pads=("left_pad", "right_pad")),),
    sources=SOURCES,
)

_WX250S_JOINTS = (
    _joint("waist", XM430_W350, -3.14158, 3.14158),
    _joint("shoulder", _TWO_XM430, -1.88496, 1.98968, home=-0.96),
    _joint("elbow", _TWO_XM430, -2.14675, 1.6057, home=1.16),
    _joint("forearm_roll", XM430_W350, -3.14158, 3.14158),
    _joint("wrist_angle", XM430_W350, -1.74533, 2.14675, home=-0.3),
    _joint("wrist_rotate", XL430_W250, -3.14158, 3.14158),
    _joint("gripper", XL430_W250, -0.6842, 0.3083, home=-0.4),
)

WX250S = Robot(
    name="vx300s_leader",
    model="Trossen Robotics WidowX 250 S, as a leader",
    joints=tuple(dataclasses.replace(joint, effort=0.0) for joint in _WX250S_JOINTS),
    cameras=(),
    mjcf="wx250s.xml",
    sources=SOURCES,
)
"""The leader arm, with torque disabled."""

_, _WRIST = VX300S.cameras
_WITH_WRIST = dataclasses.replace(VX300S, cameras=(_WRIST,))
ALOHA = pair(
    "aloha",
    "ALOHA, two ViperX 300 S",
    _WITH_WRIST,
    _WITH_WRIST,
    mjcf="aloha.xml",
    cameras=(Camera(name="high", width=320, height=240, fps=30),),
)
ALOHA_LEADER = pair("aloha_leader", "ALOHA, two WidowX 250 S", WX250S, WX250S, mjcf="aloha_leader.xml")
"""The leader pair, for `waldo teleop leader --robot aloha`."""
