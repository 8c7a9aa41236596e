"""Tasks of the quadratic program: their Jacobians are derivatives, pinches close hands, and hot joints are unloaded."""

from __future__ import annotations

import numpy as np
import pytest
from human_hand import joints_of

from waldo.collect.retargeting.frames import rotation_matrix
from waldo.collect.retargeting.hand_description import load_hand
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.collect.retargeting.retargeter import HandTarget, Retargeter, RetargetOptions
from waldo.collect.retargeting.tasks import HandTask, LoadTask
from waldo.robots.description import load_robot

DT_S = 1 / 60
HANDS = [("g1_dex3", "dex3_1"), ("g1_inspire", "inspire")]


def hand_task(robot: str, hand: str, side: str) -> tuple[RobotModel, HandTask, np.ndarray]:
    model = RobotModel(load_robot(robot))
    description = load_hand(hand, side)
    joints = np.array([model.robot.joint_names.index(name) for name in description.joints])
    mapped = model.velocity_map(joints, model.robot.home)
    return model, HandTask(model, description, np.flatnonzero(mapped.any(axis=1))), joints


@pytest.mark.parametrize(("robot", "hand"), HANDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_jacobian_of_a_hand_is_the_derivative_of_its_vectors(robot: str, hand: str, side: str) -> None:
    model, task, joints = hand_task(robot, hand, side)
    position = model.robot.home.copy()
    position[joints] = 0.5 * (model.robot.lower + model.robot.upper)[joints]
    vectors = task._hand.vectors

    def stacked(at: np.ndarray) -> np.ndarray:
        model.update(at)
        return np.concatenate([task._vector(vector) for vector in vectors])

    before = stacked(position)
    task._targets = [(task._vector(vector), 1.0) for vector in vectors]
    jacobian, error, _ = task.compute_qp_residual(model.configuration)
    np.testing.assert_allclose(error, 0, atol=1e-12)
    reduced = jacobian @ model.velocity_map(joints, position)
    for column, joint in enumerate(joints):
        moved = position.copy()
        moved[joint] += 1e-6
        np.testing.assert_allclose(reduced[:, column], (stacked(moved) - before) / 1e-6, atol=1e-5)


@pytest.mark.parametrize(("robot", "hand"), HANDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_pinch_closes_a_hand_and_releasing_it_opens_the_hand(robot: str, hand: str, side: str) -> None:
    description = load_robot(robot)
    retargeter = Retargeter(description)
    retargeter.reset(description.home)
    pose = retargeter.pose(side)
    task = retargeter.fingers[side].task
    turned = rotation_matrix(np.array([0.4, -1.0, 2.0]))  # the frame of the operator's joints does not matter
    distances = []
    for pinch in (0.0, 1.0, 0.0):
        target = HandTarget(pose=pose, joints=joints_of(side, pinch=pinch) @ turned.T)
        for _ in range(60):
            assert retargeter.step({side: target}, retargeter.position, DT_S).fault == ""
        distances.append(task.distance("thumb", "index"))
    opened, closed, again = distances
    assert closed < 0.02  # the tips touch
    assert opened > 0.07
    assert again == pytest.approx(opened, abs=1e-3)


def test_the_jacobian_of_the_load_is_its_derivative() -> None:
    robot = load_robot("openarm_right")
    model = RobotModel(robot)
    task = LoadTask(model, range(7), 0.02, 1.5)
    weights = np.zeros(8)
    weights[3] = 0.5
    task.set_target(robot.home, weights, 1.5)
    jacobian, error, _ = task.compute_qp_residual(model.configuration)
    torque = task.load(robot.home)[3]
    assert error[0] == pytest.approx(-0.01 * torque)
    moved = robot.home.copy()
    moved[0] += 1e-4
    assert jacobian[0, model.dofs[0]] == pytest.approx(0.01 * (task.load(moved)[3] - torque) / 1e-4, rel=1e-2)


def held_load(robot: str, joint: str, heat: float, cost: float) -> tuple[float, float]:
    """Return the load of a joint after holding a pose for 10 s, and the end effector's error [m]."""
    description = load_robot(robot)
    retargeter = Retargeter(description, RetargetOptions(heat_cost_m=cost))
    posture = np.clip(description.home + 0.25, description.lower, description.upper)
    retargeter.reset(posture)
    target = HandTarget(pose=retargeter.pose("right"))
    for _ in range(600):
        result = retargeter.step({"right": target}, retargeter.position, DT_S, {joint: heat})
    index = description.joint_names.index(joint)
    return abs(retargeter._load.load(retargeter.position)[index]), result.errors_m["right"]


@pytest.mark.parametrize(
    ("robot", "joint", "ratio"),
    [
        ("openarm_right", "joint_4", 0.9),
        ("g1", "right_shoulder_roll_joint", 0.9),
        ("g1", "right_elbow_joint", 0.95),  # the palm's pose determines most of its load
    ],
)
def test_a_hot_joint_of_a_redundant_arm_carries_less_and_the_hand_stays(robot: str, joint: str, ratio: float) -> None:
    cool, _ = held_load(robot, joint, 1.0, 0.3)
    hot, error = held_load(robot, joint, 0.0, 0.3)
    ignored, _ = held_load(robot, joint, 0.0, 0.0)
    assert ignored == pytest.approx(cool, rel=1e-3)
    assert hot < ratio * cool
    assert error < 0.003
