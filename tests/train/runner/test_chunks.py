"""Playing of action chunks: no jump at the border between two of them, whatever they contain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from waldo.robots.description import Robot
from waldo.train.runner.chunks import Border, ChunkPlayer

DT = 1 / 50
FPS = 20.0


@pytest.fixture
def player(toy_robot: Robot) -> ChunkPlayer:
    player = ChunkPlayer(toy_robot, FPS)
    player.start(np.zeros(2))
    return player


def ramp(speed: float, actions: int = 21, start: float = 0.0) -> np.ndarray:
    """Return a chunk in which joint "a" moves at a constant speed [rad/s] and joint "b" against it."""
    path = start + speed * np.arange(actions) / FPS
    return np.stack([path, -path], axis=1)


def play(player: ChunkPlayer, cycles: int, speed_ratio: float = 1.0) -> np.ndarray:
    return np.array([player.step(DT, speed_ratio) for _ in range(cycles)])


def test_actions_are_interpolated(player: ChunkPlayer) -> None:
    player.add(ramp(0.4), 0.0)
    for cycle in range(50):
        assert player.time_s == pytest.approx(cycle * DT)
        np.testing.assert_allclose(player.target(), [0.4 * cycle * DT, -0.4 * cycle * DT], atol=1e-12)
        player.step(DT)


def test_each_action_is_reached_at_its_time(player: ChunkPlayer) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 2))
    player.add(actions, 0.0)
    for index, action in enumerate(actions):
        player.time_s = index / FPS
        np.testing.assert_allclose(player.target(), action, atol=1e-12)


def test_a_path_within_the_limits_is_followed_without_lag(player: ChunkPlayer) -> None:
    player.add(ramp(0.4), 0.0)
    setpoints = play(player, 40)
    np.testing.assert_allclose(setpoints[10:, 0], 0.4 * DT * np.arange(10, 40), atol=1e-9)


def test_actions_that_belong_to_the_past_are_skipped(player: ChunkPlayer) -> None:
    player.add(ramp(0.4, 41), 0.0)
    play(player, 25)
    # The policy looked at 0.2 s; at 0.5 s the seventh of its actions is due.
    player.add(0.08 + ramp(0.4, 41) * (1, 0), 0.2)
    assert player.age_s == pytest.approx(0.3)
    assert player.left_s == pytest.approx(2.0 - 0.3)
    play(player, 25)
    np.testing.assert_allclose(player.target(), [0.08 + 0.4 * 0.8, 0.08], atol=1e-12)


def test_a_chunk_that_is_older_than_its_length_is_its_last_action(player: ChunkPlayer) -> None:
    player.add(ramp(0.4, 41), 0.0)
    play(player, 100)
    player.add(ramp(0.4, 11), 0.1)
    assert player.left_s == pytest.approx(0.6 - 2.0)
    setpoints = play(player, 50)
    np.testing.assert_allclose(setpoints[-1], [0.2, -0.2], atol=1e-9)


def test_the_fade_ends_exactly_at_the_new_chunk(player: ChunkPlayer, toy_robot: Robot) -> None:
    player.add(ramp(0.4, 41), 0.0)
    play(player, 25)
    chunk = 0.3 + ramp(-0.2, 41)
    player.add(chunk, 0.5)
    last = np.inf
    for _ in range(10):
        gap = np.abs(player.target() - (0.3 + np.array([-0.2, 0.2]) * (player.time_s - 0.5))).max()
        assert 0 < gap < last + 0.02
        last = gap
        player.step(DT)
    player.time_s = 0.5 + 0.2
    np.testing.assert_allclose(player.target(), chunk[4], atol=1e-12)
    alone = ChunkPlayer(toy_robot, FPS)
    alone.add(chunk, 0.5)
    for player.time_s in (0.71, 0.8, 1.33, 5.0):
        alone.time_s = player.time_s
        np.testing.assert_array_equal(player.target(), alone.target())


@pytest.mark.parametrize("blend_s", [0.05, 0.2, 0.7])
def test_the_target_has_no_jump_in_position_or_velocity_at_a_border(toy_robot: Robot, blend_s: float) -> None:
    player = ChunkPlayer(toy_robot, FPS, blend_s=blend_s)
    player.start(np.zeros(2))
    player.add(ramp(0.4, 81), 0.0)
    play(player, 25)
    small_s = 1e-5

    def at(time_s: float) -> np.ndarray:
        player.time_s = time_s
        return player.target()

    # Between two actions: their path has corners at the actions themselves.
    at_s = 0.51
    before, velocity = at(at_s), (at(at_s) - at(at_s - small_s)) / small_s
    at(at_s)
    player.add(0.3 + ramp(-0.9, 81), 0.4)
    np.testing.assert_allclose(at(at_s), before, atol=1e-12)
    np.testing.assert_allclose((at(at_s + small_s) - at(at_s)) / small_s, velocity, atol=1e-3)


def test_without_a_blend_the_limits_alone_bound_the_change(toy_robot: Robot) -> None:
    player = ChunkPlayer(toy_robot, FPS, blend_s=0.0)
    player.start(np.zeros(2))
    player.add(ramp(0.0), 0.0)
    play(player, 10)
    player.add(ramp(0.0, start=0.5), 0.2)
    setpoints = play(player, 40)
    assert np.abs(np.diff(setpoints, axis=0)).max() <= 3.0 * DT + 1e-12
    np.testing.assert_allclose(setpoints[-1], [0.5, -0.5], atol=1e-9)


def test_ten_thousand_random_borders_stay_within_the_limits_of_every_joint(toy_robot: Robot) -> None:
    """Any chunks, at any speed, of any age: in no cycle does the command jump in position or velocity."""
    rng = np.random.default_rng(1)
    velocity, acceleration = np.array([3.0, 1.0, 0.3, 6.0]), np.array([60.0, 5.0, 20.0, 12.0])
    joints = tuple(
        replace(toy_robot.joints[0], name=str(i), velocity=velocity[i], acceleration=acceleration[i]) for i in range(4)
    )
    robot = replace(toy_robot, joints=joints)
    player = ChunkPlayer(robot, 15.0, blend_s=0.2)
    start = rng.uniform(-1, 1, 4)
    player.start(start)
    path, borders = [start, start], 0
    steps = rng.integers(1, 8, 10_001)
    for number in range(10_001):
        actions = int(rng.integers(1, 13))
        pace = 10 ** rng.uniform(-3, 0)
        chunk = rng.uniform(-2.2, 2.2, 4) + np.cumsum(rng.normal(size=(actions, 4)), axis=0) * pace
        player.add(chunk, player.time_s - rng.uniform(0, 0.8))
        borders += player.border is not None
        speed_ratio = 1.0 if number % 3 else float(rng.uniform(0.1, 1))
        path += [player.step(DT, speed_ratio) for _ in range(steps[number])]
    assert (borders, player.chunks) == (10_000, 10_001)
    speeds = np.diff(np.array(path), axis=0) / DT
    assert np.all(np.abs(speeds).max(axis=0) <= velocity + 1e-9)
    assert np.all(np.abs(np.diff(speeds, axis=0)).max(axis=0) <= acceleration * DT + 1e-9)
    # The chunks do demand more than the joints can do.
    assert np.all(np.abs(speeds).max(axis=0) > 0.99 * velocity)


def test_a_chunk_that_ends_comes_to_rest_at_its_last_action(player: ChunkPlayer) -> None:
    player.add(ramp(1.0, 11), 0.0)
    setpoints = play(player, 60)
    assert player.left_s < 0
    np.testing.assert_allclose(setpoints[-1], [0.5, -0.5], atol=1e-9)
    np.testing.assert_array_equal(setpoints[-1], setpoints[-10])
    assert np.abs(setpoints).max() <= 0.5 + 1e-9


def test_a_chunk_of_one_action_is_a_target_that_stands_still(player: ChunkPlayer) -> None:
    player.add(np.array([[0.3, -0.2]]), 0.0)
    assert (player.left_s, player.has_chunk) == (0.0, True)
    np.testing.assert_allclose(play(player, 50)[-1], [0.3, -0.2], atol=1e-9)


def test_actions_beyond_the_limits_are_clipped(player: ChunkPlayer) -> None:
    player.add(np.array([[5.0, -5.0]]), 0.0)
    np.testing.assert_allclose(play(player, 100)[-1], [2.0, -2.0], atol=1e-9)


@pytest.mark.parametrize("ratio", [0.5, 0.25])
def test_a_speed_ratio_slows_the_whole_chunk_along_the_same_path(toy_robot: Robot, ratio: float) -> None:
    paths = []
    for speed_ratio in (1.0, ratio):
        player = ChunkPlayer(toy_robot, FPS)
        player.start(np.zeros(2))
        times = np.arange(41) / FPS
        player.add(np.stack([np.sin(2 * times), 1 - np.cos(3 * times)], axis=1), 0.0)
        targets, setpoints = [], []
        for _ in range(round(80 / speed_ratio)):
            targets.append(player.target())
            setpoints.append(player.step(DT, speed_ratio))
        assert player.time_s == pytest.approx(80 * DT)
        paths.append((np.array(targets), np.array(setpoints)))
    (targets, setpoints), (slow_targets, slow_setpoints) = paths
    every = round(1 / ratio)
    np.testing.assert_allclose(slow_targets[::every], targets, atol=1e-9)
    np.testing.assert_allclose(slow_setpoints[::every][5:], setpoints[5:], atol=0.02)
    fast, slow = (np.abs(np.diff(path, axis=0)).max() for path in (setpoints[5:], slow_setpoints[5 * every :]))
    assert slow == pytest.approx(ratio * fast, rel=0.1)


def test_the_differences_at_a_border_are_reported_before_they_are_smoothed(player: ChunkPlayer) -> None:
    player.add(ramp(0.6, 41), 0.0)
    assert player.border is None
    play(player, 25)
    player.add(np.array([[0.3, -0.1]] * 41), 0.5)
    assert player.border == Border(position=pytest.approx(0.2), velocity=pytest.approx(0.6))
    play(player, 25)
    player.add(np.array([[0.3, 0.3]] * 41), 1.0)
    assert player.border == Border(position=pytest.approx(0.4), velocity=pytest.approx(0.0))
    assert player.chunks == 3


def test_a_chunk_that_continues_the_one_before_has_no_difference(player: ChunkPlayer) -> None:
    path = ramp(0.6, 81)
    player.add(path[:41], 0.0)
    play(player, 25)
    player.add(path[8:], 8 / FPS)
    assert player.border == Border(position=pytest.approx(0.0, abs=1e-12), velocity=pytest.approx(0.0, abs=1e-9))


def test_without_a_chunk_there_is_no_target(player: ChunkPlayer) -> None:
    assert (player.has_chunk, player.left_s, player.age_s, player.chunks) == (False, 0.0, np.inf, 0)
    with pytest.raises(RuntimeError, match=r"^there is no chunk to play$"):
        player.target()
    with pytest.raises(RuntimeError, match=r"^there is no chunk to play$"):
        player.step(DT)
    assert player.time_s == 0.0


def test_a_reset_drops_the_chunk_and_the_next_one_starts_from_rest(player: ChunkPlayer) -> None:
    player.add(ramp(1.0, 41), 0.0)
    play(player, 25)
    player.add(ramp(0.5, 41), 0.3)
    player.reset(np.array([0.7, 0.1]))
    assert (player.has_chunk, player.left_s, player.border) == (False, 0.0, None)
    assert player.time_s == pytest.approx(0.5)
    player.add(np.array([[0.7, 0.1]] * 5), 0.5)
    assert player.border is None
    np.testing.assert_array_equal(play(player, 5), [[0.7, 0.1]] * 5)


def test_a_start_keeps_the_chunk_and_begins_at_the_position_of_the_robot(player: ChunkPlayer) -> None:
    player.add(ramp(0.0, 41), 0.0)
    player.start(np.array([0.2, -0.2]))
    setpoints = play(player, 50)
    np.testing.assert_allclose(setpoints[0], [0.2 - 60 * DT**2, -0.2 + 60 * DT**2], atol=1e-12)
    np.testing.assert_allclose(setpoints[-1], [0.0, 0.0], atol=1e-9)
