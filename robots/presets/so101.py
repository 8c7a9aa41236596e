"""The SO-101 arm of TheRobotStudio with Feetech STS3215 servos: the follower, and the leader moved by an operator.

Dimensions, limits and inertias: https://github.com/TheRobotStudio/SO-ARM100, Simulation/SO101/so101_new_calib.xml.
"""

from __future__ import annotations

import dataclasses

from waldo.robots.description import Camera, EndEffector, Joint, Robot
from waldo.robots.motors.feetech import STS3215_7V
from waldo.robots.presets.pair import pair

SOURCES = (
    "https://github.com/TheRobotStudio/SO-ARM100/blob/main/Simulation/SO101/so101_new_calib.xml",
    "https://github.com/huggingface/lerobot/blob/v0.6.1/src/lerobot/robots/so_follower/so_follower.py (half torque)",
)

SPEED_RAD_S = 3.0
"""Largest commanded speed [rad/s]: two thirds of the servo's no-load speed of 45 rpm."""
ACCELERATION_RAD_S2 = 20.0
"""Largest commanded acceleration [rad/s²]: 0.7 N·m over the inertia of the extended arm, about 0.035 kg·m²."""


def _joint(name: str, lower: float, upper: float, home: float, effort: float = 1.91) -> Joint:
    return Joint(
        name=name,
        motor=STS3215_7V,
        lower=lower,
        upper=upper,
        velocity=SPEED_RAD_S,
        acceleration=ACCELERATION_RAD_S2,
        effort=effort,
        home=home,
    )


JOINTS = (
    _joint("shoulder_pan", -1.91986, 1.91986, 0.0),
    _joint("shoulder_lift", -1.74533, 1.74533, -1.0),
    _joint("elbow_flex", -1.69, 1.69, 0.58),
    _joint("wrist_flex", -1.65806, 1.65806, 1.45),
    _joint("wrist_roll", -2.74385, 2.84121, 0.0),
    # LeRobot halves the torque limit of this servo, so that a closed gripper does not overheat it.
    _joint("gripper", -0.17453, 1.74533, 0.30, effort=0.955),
)

SO101 = Robot(
    name="so101",
    model="TheRobotStudio SO-101 follower",
    joints=JOINTS,
    cameras=(Camera(name="front", width=320, height=240, fps=30), Camera(name="wrist", width=320, height=240, fps=30)),
    mjcf="so101.xml",
    end_effectors=(EndEffector(site="grip", pads=("fixed_pad", "moving_pad")),),
    sources=SOURCES,
)

SO101_LEADER = Robot(
    name="so101_leader",
    model="TheRobotStudio SO-101 leader",
    joints=tuple(dataclasses.replace(joint, effort=0.0) for joint in JOINTS),
    cameras=(),
    mjcf="so101.xml",
    sources=SOURCES,
)
"""The leader arm: the same joints, with torque disabled."""

_FRONT, _WRIST = SO101.cameras
_WITH_WRIST = dataclasses.replace(SO101, cameras=(_WRIST,))
BI_SO101 = pair(
    "bi_so101", "TheRobotStudio SO-101, two followers", _WITH_WRIST, _WITH_WRIST, mjcf="bi_so101.xml", cameras=(_FRONT,)
)
BI_SO101_LEADER = pair(
    "bi_so101_leader", "TheRobotStudio SO-101, two leaders", SO101_LEADER, SO101_LEADER, mjcf="bi_so101.xml"
)
"""The leader pair, for `waldo teleop leader --robot bi_so101`."""
