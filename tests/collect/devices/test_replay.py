"""The replay of an episode: slowly to the first command, then as recorded, and only while the key is held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_commands import record_commands

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.replay import PLAY_KEY, Recorded, Replay, ReplayOptions
from waldo.errors import FileError, HardwareError, InvalidValueError, MissingOptionError, WaldoError
from waldo.robots.description import load_robot

DT_S = 1 / 60
SO101 = load_robot("so101")
SPEED = np.array([joint.velocity for joint in SO101.joints])
COMMANDS = SO101.home - 0.2 + 0.1 * np.sin(np.arange(90) / 15)[:, None]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return record_commands(tmp_path / "data", SO101, COMMANDS)


def run(device: Replay, position: np.ndarray, cycles: int) -> tuple[list[np.ndarray], list[str]]:
    """Run cycles in which the robot follows exactly; return the commands and the notices."""
    session, commands = RecordingSession(), []
    for _ in range(cycles):
        command = device.step(Observation(stamp_ns=0, position=position, environment={}), session, DT_S)
        if command is None:
            break
        commands.append(command)
        position = command.copy()
    return commands, session.texts


def test_it_moves_slowly_to_the_first_command_and_then_replays(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset))
    device.keys.press(PLAY_KEY)
    commands, texts = run(device, SO101.home, 1000)
    steps = np.abs(np.diff([SO101.home, *commands], axis=0))
    arrived = next(i for i, command in enumerate(commands) if np.abs(command - COMMANDS[0]).max() < 1e-3)
    assert (steps[:arrived] <= 0.25 * SPEED * DT_S + 1e-9).all()
    np.testing.assert_allclose(commands[arrived : arrived + 90], COMMANDS, atol=1e-3)
    assert texts == ["moving to the command at 0.0 s of 1.5 s", "replaying"]
    assert device.finished


def test_letting_go_pauses_and_the_replay_continues_where_it_was(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset))
    device.keys.press(PLAY_KEY)
    commands, _ = run(device, COMMANDS[0], 30)
    device.keys.release(PLAY_KEY)
    assert run(device, commands[-1], 5)[0] == []
    device.keys.press(PLAY_KEY)
    elsewhere = commands[-1] + 0.2
    commands, texts = run(device, elsewhere, 1000)
    assert texts[0] == "moving to the command at 0.5 s of 1.5 s"
    assert np.abs(commands[0] - elsewhere).max() <= (0.25 * SPEED * DT_S).max() + 1e-9
    np.testing.assert_allclose(commands[-1], COMMANDS[-1], atol=1e-3)


def test_a_blocked_robot_holds_the_time_of_the_replay(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset))
    device.keys.press(PLAY_KEY)
    session, far = RecordingSession(), np.clip(SO101.home - 1.5, SO101.lower, SO101.upper)
    for _ in range(600):
        command = device.step(Observation(stamp_ns=0, position=far, environment={}), session, DT_S)
    assert not device.finished
    assert np.abs(command - far).max() <= (0.25 * SPEED).max() + 1e-9


def test_a_recorded_jump_is_followed_at_the_speed_limit(tmp_path: Path) -> None:
    jump = np.vstack([np.tile(SO101.home, (30, 1)), np.tile(SO101.home - 0.4, (30, 1))])
    device = Replay(SO101, path=str(record_commands(tmp_path / "data", SO101, jump)))
    device.keys.press(PLAY_KEY)
    commands, _ = run(device, SO101.home, 1000)
    assert (np.abs(np.diff(commands, axis=0)) <= SPEED * DT_S + 1e-9).all()
    np.testing.assert_allclose(commands[-1], SO101.home - 0.4, atol=1e-3)


def test_the_speed_of_the_replay_is_an_option(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset), time_ratio=0.5)
    device.keys.press(PLAY_KEY)
    commands, _ = run(device, COMMANDS[0], 1000)
    assert 2 * 88 <= len(commands) <= 2 * 92


def test_commands_are_reordered_by_the_names_of_the_joints(tmp_path: Path) -> None:
    names = SO101.joint_names[::-1]
    path = record_commands(tmp_path / "data", SO101, COMMANDS[:, ::-1] + np.arange(6), joints=names)
    device = Replay(SO101, path=str(path))
    np.testing.assert_allclose(device._recorded.at(0.0), (COMMANDS[0][::-1] + np.arange(6))[::-1])


def test_joints_of_another_robot_are_refused_with_both_lists(tmp_path: Path) -> None:
    path = record_commands(tmp_path / "data", SO101, COMMANDS, joints=[*SO101.joint_names[:5], "claw"])
    expected = r"^joints of episode 0 of data is \(.*'claw'\), expected those of so101: \(.*'gripper'\)$"
    with pytest.raises(InvalidValueError, match=expected):
        Replay(SO101, path=str(path))


def test_a_pause_of_the_operator_is_not_a_command(tmp_path: Path) -> None:
    commands = COMMANDS.copy()
    commands[40:50] = np.nan
    device = Replay(SO101, path=str(record_commands(tmp_path / "data", SO101, commands)))
    assert len(device._recorded.time_s) == 80
    assert np.isfinite(device._recorded.position).all()


def test_commands_that_are_not_finite_or_too_few_are_refused(tmp_path: Path) -> None:
    commands = COMMANDS.copy()
    commands[7, 2] = np.nan
    with pytest.raises(FileError, match="episode 0 has commands that are not finite numbers"):
        Replay(SO101, path=str(record_commands(tmp_path / "a", SO101, commands)))
    with pytest.raises(FileError, match="episode 0 has 1 commands; at least 2 are needed"):
        Replay(SO101, path=str(record_commands(tmp_path / "b", SO101, COMMANDS[:1])))


def test_a_missing_dataset_episode_stream_or_path_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingOptionError, match="the device replay requires path"):
        Replay(SO101)
    with pytest.raises(WaldoError, match="nowhere"):
        Replay(SO101, path=str(tmp_path / "nowhere"))
    with pytest.raises(WaldoError, match="7"):
        Replay(SO101, path=str(dataset), episode=7)
    with pytest.raises(FileError, match="episode 0 has no stream joints/sent"):
        Replay(SO101, path=str(dataset), action="sent")
    with pytest.raises(InvalidValueError, match=r"time_ratio is 2\.0"):
        ReplayOptions(path="x", time_ratio=2.0)


def test_a_position_between_two_commands_is_interpolated() -> None:
    recorded = Recorded(np.array([0.0, 1.0, 2.0]), np.array([[0.0], [2.0], [2.0]]))
    assert [float(recorded.at(t)[0]) for t in (-1.0, 0.0, 0.25, 1.0, 1.5, 3.0)] == [0, 0, 0.5, 2, 2, 2]


def test_without_a_terminal_it_cannot_be_opened(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset))
    with pytest.raises(HardwareError, match="the device replay requires a terminal"):
        device.open()
    device.close()


def test_a_key_without_a_function_is_named(dataset: Path) -> None:
    device = Replay(SO101, path=str(dataset))
    device.keys.press("x")
    commands, texts = run(device, SO101.home, 3)
    assert commands == []
    assert texts == [f"the key x has no function; keys: {Replay.usage}"]


def test_commands_beyond_the_limits_are_replayed_within_them(tmp_path: Path) -> None:
    device = Replay(SO101, path=str(record_commands(tmp_path / "data", SO101, np.tile(SO101.upper + 0.2, (20, 1)))))
    device.keys.press(PLAY_KEY)
    commands, _ = run(device, SO101.upper - 0.05, 1000)
    assert device.finished
    assert (np.array(commands) <= SO101.upper).all()


def test_commands_that_are_not_in_order_of_time_are_refused(tmp_path: Path) -> None:
    path = record_commands(tmp_path / "data", SO101, COMMANDS, reverse=True)
    with pytest.raises(FileError, match="the commands of episode 0 are not in order of time; run waldo check"):
        Replay(SO101, path=str(path))
