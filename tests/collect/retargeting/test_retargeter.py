"""Retargeting: limits hold for any target, unreachable ones come to rest, and hands follow a square in simulation."""

from __future__ import annotations

import numpy as np
import pytest
import qpsolvers
from human_hand import joints_of
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.collect.devices.tracking import Side
from waldo.collect.retargeting import retargeter as retargeter_module
from waldo.collect.retargeting.frames import rotation_matrix
from waldo.collect.retargeting.retargeter import HandTarget, Retargeter, RetargetOptions
from waldo.errors import InvalidValueError
from waldo.robots.description import load_robot
from waldo.sim.twin import TwinDriver

DT_S = 1 / 60
ROBOTS = ("so101", "openarm_left", "vx300s", "bi_so101", "bi_openarm", "aloha", "g1", "g1_dex3", "g1_inspire")
LOADED = {name: Retargeter(load_robot(name)) for name in ROBOTS}
"""Loaded once; `reset` starts each example."""

OFFSETS = st.tuples(*[st.floats(-1.5, 1.5)] * 3).map(np.array)
TURNS = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)
MOVES = st.lists(st.tuples(OFFSETS, TURNS, st.floats(0, 1)), min_size=1, max_size=3)


def moved(pose: np.ndarray, offset: np.ndarray, turn: np.ndarray) -> np.ndarray:
    found = pose.copy()
    found[:3, 3] += offset
    found[:3, :3] = rotation_matrix(turn) @ pose[:3, :3]
    return found


@settings(max_examples=15)
@pytest.mark.parametrize("name", ROBOTS)
@given(moves=MOVES, seed=st.integers(0, 2**16))
def test_any_target_keeps_the_limits_of_the_joints(name: str, moves: list, seed: int) -> None:
    retargeter = LOADED[name]
    robot = retargeter.robot
    start = np.random.default_rng(seed).uniform(robot.lower, robot.upper)
    retargeter.reset(start, start)
    poses = {side: retargeter.pose(side) for side in retargeter.arms.arms}
    speed = np.array([joint.velocity for joint in robot.joints])
    last = retargeter.command
    for offset, turn, closing in moves:
        targets = {
            side: HandTarget(
                pose=moved(pose, offset, turn),
                joints=joints_of(side, pinch=closing) if seed % 2 else None,
                closing=closing,
            )
            for side, pose in poses.items()
        }
        for _ in range(12):
            result = retargeter.step(targets, last, DT_S, {robot.joint_names[1]: 0.1})
            assert result.fault == ""
            assert np.isfinite(result.command).all()
            assert (result.command >= robot.lower).all()
            assert (result.command <= robot.upper).all()
            assert (np.abs(result.command - last) <= speed * DT_S + 1e-9).all()
            last = result.command


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("offset", [(1.5, 0, 0), (0, 0, 1.5), (-1.0, 0.3, -0.5)])
def test_an_arm_comes_to_rest_at_an_unreachable_target(name: str, offset: tuple[float, float, float]) -> None:
    retargeter = LOADED[name]
    retargeter.reset(retargeter.robot.home, retargeter.robot.home)
    poses = {side: moved(retargeter.pose(side), np.array(offset), np.zeros(3)) for side in retargeter.arms.arms}
    targets = {side: HandTarget(pose=pose) for side, pose in poses.items()}
    positions = []
    for _ in range(600):
        assert retargeter.step(targets, retargeter.position, DT_S).fault == ""
        positions.append(retargeter.position)
    last = np.diff(positions[-60:], axis=0)
    assert np.abs(last).max() < 0.1 * DT_S  # below 0.1 rad/s
    assert np.abs(np.diff(last, axis=0)).max() < 1e-4  # no oscillation


@pytest.mark.parametrize("name", ROBOTS)
def test_a_reachable_pose_is_reached(name: str) -> None:
    retargeter = LOADED[name]
    robot = retargeter.robot
    # A posture beside home is reachable by construction.
    change = np.random.default_rng(3).uniform(-0.15, 0.15, len(robot.home))
    nearby = np.clip(robot.home + change, robot.lower, robot.upper)
    chosen = [j for arm in retargeter.arms.arms.values() for j in arm.joints]
    goal = robot.home.copy()
    goal[chosen] = nearby[chosen]
    retargeter.reset(goal, goal)
    targets = {side: HandTarget(pose=retargeter.pose(side)) for side in retargeter.arms.arms}
    retargeter.reset(robot.home, robot.home)
    for _ in range(240):
        result = retargeter.step(targets, retargeter.position, DT_S)
    assert max(result.errors_m.values()) < 0.003
    for side, target in targets.items():
        if len(retargeter.arms.arms[side].joints) >= 6:
            difference = target.pose[:3, :3].T @ retargeter.pose(side)[:3, :3]
            assert np.arccos(np.clip((np.trace(difference) - 1) / 2, -1, 1)) < 0.05


def test_the_first_target_is_the_measured_position() -> None:
    retargeter = Retargeter(load_robot("bi_openarm"))
    robot = retargeter.robot
    measured = np.clip(robot.home + 0.1, robot.lower, robot.upper)
    retargeter.reset(measured)
    targets = {side: HandTarget(pose=retargeter.pose(side)) for side in retargeter.arms.arms}
    result = retargeter.step(targets, measured, DT_S)
    np.testing.assert_allclose(result.command, measured, atol=1e-3)


def test_arms_without_a_target_and_legs_stay_where_they_are() -> None:
    retargeter = LOADED["g1_dex3"]
    robot = retargeter.robot
    measured = robot.home + 0.01
    retargeter.reset(measured, robot.home)
    pose = moved(retargeter.pose("left"), np.array([0.1, 0, 0.1]), np.zeros(3))
    for _ in range(30):
        result = retargeter.step({"left": HandTarget(pose=pose, closing=1.0)}, measured, DT_S)
    changed = {robot.joint_names[j] for j in np.flatnonzero(np.abs(result.command - robot.home) > 1e-9)}
    assert any(name.startswith("left_shoulder") for name in changed)
    assert not [name for name in changed if not name.startswith(("left_", "waist_yaw"))]
    assert not [name for name in changed if "hip" in name or "knee" in name or "ankle" in name]


def test_a_blocked_robot_is_not_led_further_than_the_lead() -> None:
    retargeter = LOADED["openarm_left"]
    home = retargeter.robot.home
    retargeter.reset(home, home)
    target = {"right": HandTarget(pose=moved(retargeter.pose("right"), np.array([0.3, 0, 0.3]), np.zeros(3)))}
    for _ in range(300):
        result = retargeter.step(target, home, DT_S)
    lead = retargeter._lead + retargeter._speed * DT_S + 0.12
    assert (np.abs(result.command - home) <= lead).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_target_that_is_not_finite_holds_and_names_the_reason(value: float) -> None:
    retargeter = LOADED["so101"]
    home = retargeter.robot.home
    retargeter.reset(home, home)
    pose = retargeter.pose("right")
    pose[0, 3] = value
    for target, measured in (
        (HandTarget(pose=pose), home),
        (HandTarget(pose=retargeter.pose("right"), closing=value), home),
        (HandTarget(pose=retargeter.pose("right"), joints=np.full((25, 3), value)), home),
        (HandTarget(pose=retargeter.pose("right")), np.full(6, value)),
    ):
        result = retargeter.step({"right": target}, measured, DT_S)
        assert result.fault == "a target or a measured position is not a finite number"
        np.testing.assert_array_equal(result.command, home)


@pytest.mark.parametrize("fails", ["raises", "no solution", "not finite"])
def test_a_failure_of_the_solver_holds_and_names_the_reason(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    retargeter = LOADED["so101"]
    home = retargeter.robot.home
    retargeter.reset(home, home)
    target = {"right": HandTarget(pose=moved(retargeter.pose("right"), np.array([0.05, 0, 0]), np.zeros(3)))}

    def solve(problem: qpsolvers.Problem, solver: str) -> qpsolvers.Solution:
        del solver
        if fails == "raises":
            raise qpsolvers.exceptions.SolverError("infeasible")
        size = len(problem.q)
        return qpsolvers.Solution(problem, x=None if fails == "no solution" else np.full(size, np.nan))

    monkeypatch.setattr(retargeter_module.qpsolvers, "solve_problem", solve)
    result = retargeter.step(target, home, DT_S)
    assert result.fault in ("the retargeting failed: infeasible", "the retargeting found no solution")
    np.testing.assert_array_equal(result.command, home)


def test_an_arm_with_five_joints_is_free_about_the_axis_that_it_cannot_turn() -> None:
    np.testing.assert_array_equal(LOADED["so101"]._tasks["right"].cost[3:] > 0, [True, True, False])
    assert (LOADED["vx300s"]._tasks["right"].cost[3:] > 0).all()


def test_options_outside_their_range_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="speed_ratio is 0"):
        RetargetOptions(speed_ratio=0.0)
    with pytest.raises(InvalidValueError, match="heat_cost_m is -1"):
        RetargetOptions(heat_cost_m=-1.0)


def square(elapsed_s: float, side_s: float, size_m: float) -> np.ndarray:
    """Return the offset to the left and up (2,) [m] on the outline of a square, side by side."""
    corners = size_m * np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    number, part = divmod(elapsed_s / side_s, 1)
    return corners[int(number)] * (1 - part) + corners[min(int(number) + 1, 4)] * part


def traced_error_m(robot: str, task: str, side: Side) -> float:
    """Return the RMS distance of a hand in simulated dynamics from a 10 cm square at 5 cm/s [m], lag included."""
    driver = TwinDriver(load_robot(robot), task, cameras=False, seed=1)
    driver.connect()
    retargeter, measuring = LOADED[robot], Retargeter(load_robot(robot), RetargetOptions(self_collision=False))
    try:
        for _ in range(60):
            driver.advance()
        retargeter.reset(driver.read().position, driver.robot.home)
        start, errors = retargeter.pose(side), []
        for tick in range(8 * 60):
            pose = start.copy()
            pose[1:3, 3] += square(tick * DT_S, 2.0, 0.1)
            result = retargeter.step({side: HandTarget(pose=pose)}, driver.read().position, DT_S)
            assert result.fault == ""
            driver.write(result.command)
            driver.advance()
            measuring.reset(driver.read().position, driver.read().position)
            errors.append(measuring.pose(side)[:3, 3] - pose[:3, 3])
    finally:
        driver.disconnect()
    return float(np.sqrt(np.square(errors).sum(axis=1).mean()))


@pytest.mark.parametrize(
    ("robot", "task"), [("g1", "carry"), ("g1_dex3", "carry_dex3"), ("g1_inspire", "carry_inspire")]
)
def test_a_hand_of_a_g1_follows_a_square_in_simulated_dynamics(robot: str, task: str) -> None:
    assert traced_error_m(robot, task, "left") < 0.01


@pytest.mark.parametrize("robot", ["g1_dex3", "g1_inspire", "bi_so101"])
def test_joints_of_a_hand_that_coincide_are_harmless(robot: str) -> None:
    retargeter = LOADED[robot]
    home = retargeter.robot.home
    retargeter.reset(home, home)
    for joints in (np.zeros((25, 3)), np.ones((25, 3)) * joints_of("left")[5]):
        target = {"left": HandTarget(pose=retargeter.pose("left"), joints=joints)}
        for _ in range(5):
            result = retargeter.step(target, retargeter.command, DT_S)
            assert result.fault == ""
            assert np.isfinite(result.command).all()


def test_a_robot_whose_parts_overlap_at_the_start_is_not_stuck() -> None:
    retargeter = LOADED["g1"]
    robot = retargeter.robot
    # In this posture, the forearms are inside the trunk; without slack, the solver finds no motion in the second cycle.
    start = np.random.default_rng(1949).uniform(robot.lower, robot.upper)
    retargeter.reset(start, start)
    targets = {
        side: HandTarget(pose=moved(retargeter.pose(side), np.array([0, 0, -1.0]), np.array([0, 0, 1.0])))
        for side in retargeter.arms.arms
    }
    assert retargeter.collision is not None
    assert retargeter.collision.distance() < -0.05
    for _ in range(12):
        assert retargeter.step(targets, retargeter.command, DT_S, {robot.joint_names[1]: 0.1}).fault == ""
