"""The safety chain: each fault ends in a hold or a latched stop within one cycle, with its reason."""

from __future__ import annotations

import math

import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.robots.control.safety import Mode, SafetyChain, SafetyConfig, Status
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor

S = 1_000_000_000
DT = 1 / 60
COOL = np.full(2, 40.0)


def robot() -> Robot:
    """A robot with two joints."""
    one = {"motor": Motor(name="m"), "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 30.0, "effort": 1.0}
    return Robot(name="toy", model="toy", joints=(Joint(name="a", **one), Joint(name="b", **one)), cameras=(), mjcf="")


@pytest.fixture
def chain() -> SafetyChain:
    """A chain that is following a command at time 0."""
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    chain.command(["a", "b"], [0.5, -0.5], 0)
    step(chain, 0)
    assert chain.status == Status(Mode.FOLLOWING, "")
    return chain


def step(chain: SafetyChain, now_ns: int, position: object = (0.0, 0.0), headroom: object = COOL) -> np.ndarray:
    """Run one cycle with a fresh state."""
    return chain.step(now_ns, np.asarray(position, dtype=float), now_ns, np.asarray(headroom, dtype=float), DT)


def test_follows_a_fresh_command(chain: SafetyChain) -> None:
    for i in range(1, 60):
        chain.command(["b", "a"], [-0.5, 0.5], i * S // 60)
        setpoint = step(chain, i * S // 60)
    np.testing.assert_allclose(setpoint, [0.5, -0.5], atol=1e-6)


def test_holds_in_the_cycle_in_which_the_operator_lets_go(chain: SafetyChain) -> None:
    chain.command([], [], S // 60)
    step(chain, S // 60)
    assert chain.status == Status(Mode.HOLDING, "the operator let go")


def test_holds_when_no_command_comes(chain: SafetyChain) -> None:
    step(chain, int(0.19 * S))
    assert chain.status.mode is Mode.FOLLOWING
    step(chain, int(0.21 * S))
    assert chain.status == Status(Mode.HOLDING, "no command for 0.2 s")


@pytest.mark.parametrize(
    ("names", "positions", "reason"),
    [
        (["a", "b"], [math.nan, 0.0], "the command is not finite at a"),
        (["a", "b"], [0.0, math.inf], "the command is not finite at b"),
        (["a", "c"], [0.0, 0.0], "the command names joints that toy does not have: c"),
        (["a", "b"], [0.0], "the command has 2 names and 1 positions"),
    ],
)
def test_holds_at_a_bad_command(chain: SafetyChain, names: list[str], positions: list[float], reason: str) -> None:
    chain.command(names, positions, S // 60)
    setpoint = step(chain, S // 60)
    assert chain.status == Status(Mode.HOLDING, reason)
    assert np.all(np.isfinite(setpoint))


def test_a_good_command_after_a_bad_one_is_followed(chain: SafetyChain) -> None:
    chain.command(["a"], [math.nan], 1)
    step(chain, 1)
    chain.command(["a"], [0.1], 2)
    step(chain, 2)
    assert chain.status.mode is Mode.FOLLOWING


def test_stops_and_stays_stopped_until_enabled(chain: SafetyChain) -> None:
    chain.stop("stopped by the operator")
    step(chain, 1)
    chain.command(["a", "b"], [0.5, -0.5], 2)
    step(chain, 2)
    assert chain.status == Status(Mode.STOPPED, "stopped by the operator")
    chain.enable()
    step(chain, 3)
    assert chain.status.mode is Mode.HOLDING
    chain.command(["a", "b"], [0.1, -0.1], 4)
    step(chain, 4)
    assert chain.status.mode is Mode.FOLLOWING


def test_a_state_that_is_not_finite_is_a_latched_stop(chain: SafetyChain) -> None:
    setpoint = step(chain, 1, position=(math.nan, 0.0))
    assert chain.status == Status(Mode.STOPPED, "the robot's state is not finite")
    assert np.all(np.isfinite(setpoint))
    step(chain, 2)
    assert chain.status.mode is Mode.STOPPED


def test_holds_when_the_state_is_stale(chain: SafetyChain) -> None:
    chain.step(int(0.15 * S), np.zeros(2), 0, COOL, DT)
    assert chain.status == Status(Mode.HOLDING, "the robot's state is 0.15 s old")


def test_refuses_to_jump_at_engage() -> None:
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    chain.command(["a", "b"], [0.0, 1.5], 0)
    step(chain, 0)
    assert chain.status == Status(Mode.HOLDING, "b would jump by 1.50, allowed is 1: move nearer first")


def test_heat_holds_with_hysteresis(chain: SafetyChain) -> None:
    step(chain, 1, headroom=(40.0, 1.0))
    assert chain.status == Status(Mode.HOLDING, "b is 1.0 K below its heat limit: let it cool")
    step(chain, 2, headroom=(40.0, 5.0))
    assert chain.status.mode is Mode.HOLDING
    step(chain, 3, headroom=(40.0, 11.0))
    assert chain.status.mode is Mode.FOLLOWING


def test_unknown_heat_does_not_hold(chain: SafetyChain) -> None:
    step(chain, 1, headroom=(math.nan, math.nan))
    assert chain.status.mode is Mode.FOLLOWING


def test_a_hold_brakes_within_the_acceleration_limit(chain: SafetyChain) -> None:
    positions = [chain.limiter.position.copy()]
    for i in range(1, 8):
        chain.command(["a", "b"], [2.0, -2.0], i)
        positions.append(step(chain, i).copy())
    chain.command([], [], 9)
    positions += [step(chain, 9 + i).copy() for i in range(60)]
    speeds = np.diff(np.array(positions), axis=0) / DT
    assert np.max(np.abs(np.diff(speeds, axis=0))) <= 30.0 * DT + 1e-9
    np.testing.assert_allclose(speeds[-1], 0.0, atol=1e-9)
    assert abs(positions[-1][0]) < 2.0


def test_a_guard_cannot_be_switched_off_by_configuration() -> None:
    with pytest.raises(ConfigError, match=r"^timeout_s is nan, expected a finite number above 0$"):
        SafetyConfig(timeout_s=math.nan)


@pytest.mark.parametrize("value", [1e6, -3.5])
def test_a_command_beyond_reason_holds(chain: SafetyChain, value: float) -> None:
    chain.command(["a"], [value], 1)
    step(chain, 1)
    assert chain.status == Status(Mode.HOLDING, f"the command for a is {value:.4g}, its limits are -2.00 to 2.00")


def test_a_command_a_little_beyond_a_limit_is_the_limit(chain: SafetyChain) -> None:
    chain.command(["a"], [2.4], 1)
    for i in range(1, 200):
        chain.command(["a"], [min(2.4, i * 0.02)], i)
        step(chain, i)
    assert chain.status.mode is Mode.FOLLOWING
    assert chain.limiter.position[0] == pytest.approx(2.0)


def test_a_joint_beyond_its_limits_stops_for_good(chain: SafetyChain) -> None:
    chain.step(1, np.array([2.3, 0.0]), 1, np.full(2, np.nan), 1 / 60)
    assert chain.status == Status(Mode.STOPPED, "a is at 2.30, its limits are -2.00 to 2.00: move it back by hand")
    step(chain, 2)
    assert chain.status.mode is Mode.STOPPED


def test_a_moving_hand_is_followed_closely_and_its_silence_moves_nothing_on() -> None:
    """A target that moves steadily is met where it is; when its commands cease the joint stops at the last one."""
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    for k in range(60):
        at = k * S // 60
        chain.command(["a"], [0.01 * k], at)
        setpoint = step(chain, at)
    assert setpoint[0] == pytest.approx(0.59, abs=0.003)
    for k in range(60, 71):
        setpoint = step(chain, k * S // 60)
        assert setpoint[0] < 0.59 + 0.02
    assert setpoint[0] == pytest.approx(0.59, abs=0.005)
    assert chain.status.mode is Mode.FOLLOWING


def test_a_hand_that_stops_dead_is_overrun_by_little_and_bad_stamps_by_nothing() -> None:
    for stamp in (lambda k: k * S // 60, lambda k: k * 1000, lambda k: S - k):
        chain = SafetyChain(robot())
        chain.reset(np.zeros(2))
        farthest = 0.0
        for k in range(200):
            target = min(3.0 / 60 * k, 1.5)
            chain.command(["a"], [target], k * S // 60, stamp(k))
            setpoint = step(chain, k * S // 60)
            farthest = max(farthest, setpoint[0])
        assert farthest <= 1.5 + 0.055
        assert setpoint[0] == pytest.approx(1.5, abs=1e-3)


def test_a_clock_that_was_set_back_ends_in_a_hold(chain: SafetyChain) -> None:
    chain.command(["a", "b"], [0.5, -0.5], 10 * S)
    step(chain, 10 * S)
    assert chain.status.mode is Mode.FOLLOWING
    for k in range(3):
        step(chain, 9 * S + k * S // 60)
    assert chain.status.mode is Mode.HOLDING


def test_a_motor_that_switched_itself_off_stops_the_robot_and_does_not_snap_back(chain: SafetyChain) -> None:
    for k in range(1, 30):
        chain.command(["a", "b"], [0.5, -0.5], k * S // 60)
        step(chain, k * S // 60, (0.5, -0.5))
    chain.give_way(np.array([False, True]), ("", "over-temperature"))
    sunk = step(chain, S // 2, (0.5, -1.4))
    assert chain.status.mode is Mode.STOPPED
    assert chain.status.reason.startswith("no torque at b (over-temperature): support the arm")
    assert sunk[1] == pytest.approx(-1.4)
    assert sunk[0] == pytest.approx(0.5, abs=0.1)
    # It has cooled: it stays where it sank to until it is enabled and told otherwise.
    chain.give_way(np.array([False, False]), ("", ""))
    chain.command(["a", "b"], [0.5, -0.5], S // 2)
    assert step(chain, S // 2, (0.5, -1.4))[1] == pytest.approx(-1.4)
    assert chain.status.mode is Mode.STOPPED
