"""Joints beyond their limits or apart from their commands are named before an episode."""

from __future__ import annotations

import numpy as np

from waldo.collect.recorder.checks.joint_gates import APART_S, JointGates
from waldo.robots.description import Robot

S = 10**9


def test_a_joint_beyond_its_limits_needs_a_calibration(toy_robot: Robot) -> None:
    watch = JointGates(toy_robot)
    assert watch.gates() == []
    watch.state(toy_robot.upper + 0.1, 0)
    assert watch.gates() == []
    position = toy_robot.home.copy()
    position[0] = toy_robot.upper[0] + 0.2
    watch.state(position, S)
    (gate,) = watch.gates()
    assert gate.name == f"calibration {toy_robot.joint_names[0]}"
    assert gate.reason.startswith(f"{toy_robot.joint_names[0]} is at {position[0]:.2f} rad, beyond its limits")
    watch.state(np.full(len(position), np.nan), 2 * S)
    assert watch.gates() == []


def test_a_joint_that_stays_apart_from_its_command_is_named(toy_robot: Robot) -> None:
    watch, at = JointGates(toy_robot), toy_robot.home
    for k in range(round(APART_S * 10) + 1):
        watch.applied(at + np.array([0.5, 0.0]), k * S // 10)
        watch.state(at, k * S // 10)
        assert watch.gates() == []
    for k in range(round(APART_S * 10), round(APART_S * 10) + 11):
        watch.applied(at + np.array([0.5, 0.0]), k * S // 10)
        watch.state(at, k * S // 10)
    (gate,) = watch.gates()
    assert gate.name == f"joint {toy_robot.joint_names[0]}"
    assert gate.reason.startswith(f"{toy_robot.joint_names[0]} has been 0.50 rad from its command for 2 s")
    watch.state(at + np.array([0.4, 0.0]), round((APART_S + 2) * S))
    assert watch.gates() == []


def test_without_a_command_joints_are_not_apart(toy_robot: Robot) -> None:
    watch = JointGates(toy_robot)
    watch.applied(np.full(2, np.nan), 0)
    for k in range(5):
        watch.state(toy_robot.home + 0.0, k * S)
    assert watch.gates() == []


def test_a_command_that_is_not_sent_any_more_is_not_followed_either(toy_robot: Robot) -> None:
    watch = JointGates(toy_robot)
    watch.applied(toy_robot.home + np.array([0.5, 0.0]), 0)
    for k in range(50):
        watch.state(toy_robot.home, k * S // 10)
    assert watch.gates() == []
