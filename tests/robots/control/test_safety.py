"""The safety chain: each fault ends in a hold or a latched stop within one cycle, with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.robots.control.limits import MotionLimiter
from waldo.robots.control.safety import MAX_OVERSHOOT, Mode, SafetyChain, SafetyConfig, Status
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor
from waldo.robots.thermal.limits import HOLD_MARGIN_K

S = 1_000_000_000
DT = 1 / 60
COOL = np.full(2, 40.0)


def robot() -> Robot:
    """Return a robot with two joints."""
    one = {"motor": Motor(name="m"), "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 30.0, "effort": 1.0}
    return Robot(name="toy", model="toy", joints=(Joint(name="a", **one), Joint(name="b", **one)), cameras=(), mjcf="")


@pytest.fixture
def chain() -> SafetyChain:
    """Return a chain that follows a command at time 0."""
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


def test_holds_in_the_cycle_in_which_the_operator_releases_control(chain: SafetyChain) -> None:
    chain.command([], [], S // 60)
    step(chain, S // 60)
    assert chain.status == Status(Mode.HOLDING, "operator released control")


def test_holds_without_new_commands(chain: SafetyChain) -> None:
    step(chain, int(0.19 * S))
    assert chain.status.mode is Mode.FOLLOWING
    step(chain, int(0.21 * S))
    assert chain.status == Status(Mode.HOLDING, "no command for 0.2 s")


@pytest.mark.parametrize(
    ("names", "positions", "reason"),
    [
        (["a", "b"], [math.nan, 0.0], "command is not finite for a"),
        (["a", "b"], [0.0, math.inf], "command is not finite for b"),
        (["a", "c"], [0.0, 0.0], "command contains unknown joints: c (known: a, b)"),
        (["a", "b"], [0.0], "command has 2 names but 1 positions"),
    ],
)
def test_holds_after_an_invalid_command(
    chain: SafetyChain, names: list[str], positions: list[float], reason: str
) -> None:
    chain.command(names, positions, S // 60)
    setpoint = step(chain, S // 60)
    assert chain.status == Status(Mode.HOLDING, reason)
    assert np.all(np.isfinite(setpoint))


def test_a_valid_command_after_an_invalid_one_is_followed(chain: SafetyChain) -> None:
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
    assert chain.status == Status(Mode.STOPPED, "robot state is not finite")
    assert np.all(np.isfinite(setpoint))
    step(chain, 2)
    assert chain.status.mode is Mode.STOPPED


def test_holds_when_the_state_is_stale(chain: SafetyChain) -> None:
    chain.step(int(0.15 * S), np.zeros(2), 0, COOL, DT)
    assert chain.status == Status(Mode.HOLDING, "robot state is 0.15 s old")


def test_holds_while_the_first_command_is_too_far_away() -> None:
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    chain.command(["a", "b"], [0.0, 1.5], 0)
    step(chain, 0)
    assert chain.status == Status(Mode.HOLDING, "command for b is 1.50 from the robot, limit 1; move closer to engage")


def test_heat_holds_with_hysteresis(chain: SafetyChain) -> None:
    step(chain, 1, headroom=(40.0, 1.0))
    assert chain.status == Status(Mode.HOLDING, "b is 1.0 K below its heat limit; let it cool down")
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


def test_a_hold_brakes_with_full_acceleration(chain: SafetyChain) -> None:
    """From 3 rad/s at 30 rad/s², the speeds of the cycles are 2.5, 2, 1.5, 1 and 0.5 rad/s."""
    for k in range(1, 16):
        chain.command(["a"], [2.0], k * S // 60)
        step(chain, k * S // 60)
    assert chain.limiter.velocity[0] == pytest.approx(3.0)
    start = chain.limiter.position[0]
    chain.command([], [], S // 4)
    path = [start] + [step(chain, S // 4 + k)[0] for k in range(30)]
    np.testing.assert_allclose(np.diff(path)[:7] / DT, [2.5, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0], atol=1e-9)
    assert path[-1] - start == pytest.approx(7.5 * DT)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("name", ["timeout_s", "max_state_excess", "heat_margin_k"])
def test_a_guard_cannot_be_switched_off_by_configuration(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} is {value}, expected a finite number above 0$"):
        SafetyConfig(**{name: value})


@pytest.mark.parametrize(("beyond_ns", "mode"), [(0, Mode.FOLLOWING), (1, Mode.HOLDING)])
def test_ages_count_up_to_their_limit(chain: SafetyChain, beyond_ns: int, mode: Mode) -> None:
    """A command is valid for 0.2 s, a state for 0.1 s, and both may be up to 0.1 s in the future."""
    for now_ns, state_ns in (
        (S // 5 + beyond_ns, S // 5 + beyond_ns),
        (-S // 10 - beyond_ns, -S // 10 - beyond_ns),
        (S // 10 + beyond_ns, 0),
        (0, S // 10 + beyond_ns),
    ):
        chain.enable()
        chain.command(["a", "b"], [0.5, -0.5], 0)
        chain.step(now_ns, np.zeros(2), state_ns, COOL, DT)
        assert chain.status.mode is mode


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("beyond", "mode"), [(False, Mode.FOLLOWING), (True, Mode.HOLDING)])
def test_a_command_may_exceed_a_limit_and_start_away_from_the_robot_by_exactly_the_configured_distance(
    chain: SafetyChain, sign: float, beyond: bool, mode: Mode
) -> None:
    limit, far = (math.nextafter(value, math.inf) if beyond else value for value in (3.0, 1.0))
    chain.command(["a"], [sign * limit], 1)
    step(chain, 1)
    assert chain.status.mode is mode
    engaging = SafetyChain(robot())
    engaging.reset(np.zeros(2))
    engaging.command(["a"], [sign * far], 1)
    step(engaging, 1)
    assert engaging.status.mode is mode


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_joint_may_be_beyond_a_limit_by_exactly_the_configured_distance(sign: float) -> None:
    chain = SafetyChain(robot(), SafetyConfig(max_state_excess=0.25))
    chain.reset(np.zeros(2))
    chain.command(["a"], [0.1], 0)
    step(chain, 0, position=(0.0, sign * 2.25))
    assert chain.status.mode is Mode.FOLLOWING
    step(chain, 1, position=(0.0, sign * math.nextafter(2.25, 3.0)))
    assert chain.status.mode is Mode.STOPPED


def test_a_winding_holds_below_its_margin_and_not_at_it(chain: SafetyChain) -> None:
    step(chain, 1, headroom=(40.0, HOLD_MARGIN_K))
    assert chain.status.mode is Mode.FOLLOWING
    step(chain, 2, headroom=(40.0, math.nextafter(HOLD_MARGIN_K, 0.0)))
    assert chain.status.mode is Mode.HOLDING


@pytest.mark.parametrize("value", [1e6, -3.5])
def test_holds_after_a_command_far_beyond_a_limit(chain: SafetyChain, value: float) -> None:
    chain.command(["a"], [value], 1)
    step(chain, 1)
    assert chain.status == Status(Mode.HOLDING, f"command for a is {value:.4g}, limits -2.00 to 2.00")


def test_a_command_slightly_beyond_a_limit_is_clipped(chain: SafetyChain) -> None:
    chain.command(["a"], [2.4], 1)
    for i in range(1, 200):
        chain.command(["a"], [min(2.4, i * 0.02)], i)
        step(chain, i)
    assert chain.status.mode is Mode.FOLLOWING
    assert chain.limiter.position[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("position", "where"),
    [((2.3, 0.0), "a is at 2.30"), ((-2.3, 0.0), "a is at -2.30"), ((0.0, -2.3), "b is at -2.30")],
)
def test_a_joint_beyond_its_limits_is_a_latched_stop(
    chain: SafetyChain, position: tuple[float, float], where: str
) -> None:
    chain.step(1, np.array(position), 1, np.full(2, np.nan), 1 / 60)
    assert chain.status == Status(Mode.STOPPED, f"{where}, limits -2.00 to 2.00; move it back by hand")
    step(chain, 2)
    assert chain.status.mode is Mode.STOPPED


def test_a_moving_target_is_followed_closely_and_stands_still_without_further_commands() -> None:
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


def path_of(targets: Sequence[float], velocities: Sequence[float]) -> list[float]:
    """Return the setpoints of joint "a" for targets with known velocities, 50 times per second."""
    limiter = MotionLimiter(robot())
    limiter.reset(np.zeros(2))
    return [
        float(limiter.step(np.array([target, 0.0]), 0.02, target_velocity=np.array([velocity, 0.0]))[0])
        for target, velocity in zip(targets, velocities, strict=True)
    ]


@pytest.mark.parametrize("speed", [0.9, -0.9])
@pytest.mark.parametrize(("together", "source_ns"), [(1, None), (2, 0), (2, -7 * S), (1, 10**18)])
def test_the_velocity_of_a_target_is_that_of_the_stamps_of_its_source(
    speed: float, together: int, source_ns: int | None
) -> None:
    """At 50 Hz the filter moves the estimate halfway to each new velocity, also if commands arrive two at a time."""
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    period_ns = S // 50
    targets = [speed * 0.02 * min(k, 30) for k in range(40)]
    velocities = [0.0]
    for before, target in pairwise(targets):
        velocities.append((velocities[-1] + (target - before) / 0.02) / 2)
    path = []
    for k, target in enumerate(targets):
        received_ns, now_ns = (k - k % together) * period_ns, k * period_ns
        chain.command(["a"], [target], received_ns, None if source_ns is None else source_ns + k * period_ns)
        path.append(chain.step(now_ns, np.zeros(2), now_ns, COOL, 0.02)[0])
    np.testing.assert_allclose(path, path_of(targets, velocities), atol=1e-12)
    assert path[29] == pytest.approx(targets[29], abs=1e-3)


def test_the_velocity_of_a_target_is_at_most_the_speed_of_its_joint() -> None:
    chain = SafetyChain(robot())
    chain.reset(np.zeros(2))
    targets, velocities = [0.0, 0.5], [0.0, 3.0 / 2]
    for k, target in enumerate(targets):
        chain.command(["a"], [target], k * S // 50)
        setpoint = chain.step(k * S // 50, np.zeros(2), k * S // 50, COOL, 0.02)
    assert setpoint[0] == path_of(targets, velocities)[1]


@pytest.mark.parametrize("speed", [2.0, 2.5, 2.9])
def test_a_fast_target_is_followed_at_a_distance_that_bounds_the_overshoot(speed: float) -> None:
    """The lag is what stopping takes, v²/2a, less the allowed overshoot; in steps, less half a cycle of motion."""
    chain = SafetyChain(robot())
    chain.reset(np.array([-1.9, 0.0]))
    for k in range(70):
        chain.command(["a"], [-1.9 + speed * k / 60], k * S // 60)
        setpoint = step(chain, k * S // 60)
    lag = -1.9 + speed * 69 / 60 - setpoint[0]
    assert chain.limiter.velocity[0] == pytest.approx(speed, rel=1e-3)
    slower = math.sqrt(speed**2 - 2 * 30.0 * MAX_OVERSHOOT)
    assert lag == pytest.approx(slower**2 / (2 * 30.0) - slower * DT / 2, abs=0.0015)


def test_overshoot_over_a_target_that_stops_instantly_is_bounded_for_any_stamps() -> None:
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


def test_holds_after_a_clock_was_set_back(chain: SafetyChain) -> None:
    chain.command(["a", "b"], [0.5, -0.5], 10 * S)
    step(chain, 10 * S)
    assert chain.status.mode is Mode.FOLLOWING
    for k in range(3):
        step(chain, 9 * S + k * S // 60)
    assert chain.status.mode is Mode.HOLDING


def test_a_disabled_motor_stops_the_robot_and_does_not_snap_back(chain: SafetyChain) -> None:
    for k in range(1, 30):
        chain.command(["a", "b"], [0.5, -0.5], k * S // 60)
        step(chain, k * S // 60, (0.5, -0.5))
    chain.handle_disabled_motors(np.array([False, True]), ("", "over-temperature"))
    sunk = step(chain, S // 2, (0.5, -1.4))
    assert chain.status.mode is Mode.STOPPED
    assert chain.status.reason.startswith("no torque at b (over-temperature); support the arm")
    assert sunk[1] == pytest.approx(-1.4)
    assert sunk[0] == pytest.approx(0.5, abs=0.1)
    # The motor is back: it stays where it sank to until the robot is enabled.
    chain.handle_disabled_motors(np.array([False, False]), ("", ""))
    chain.command(["a", "b"], [0.5, -0.5], S // 2)
    assert step(chain, S // 2, (0.5, -1.4))[1] == pytest.approx(-1.4)
    assert chain.status.mode is Mode.STOPPED


@pytest.mark.parametrize(
    ("mode", "reason", "fault"),
    [
        (Mode.FOLLOWING, "", False),
        (Mode.HOLDING, "waiting for a command", False),
        (Mode.HOLDING, "operator released control", False),
        (Mode.HOLDING, "no command for 0.2 s", True),
        (Mode.STOPPED, "stopped by the operator", True),
    ],
)
def test_a_hold_that_the_operator_intends_is_not_a_fault(mode: Mode, reason: str, fault: bool) -> None:
    assert Status(mode, reason).is_fault is fault


def test_the_reason_of_a_release_is_that_of_the_command(chain: SafetyChain) -> None:
    chain.command([], [], S // 60, release_reason="policy: the state is old")
    step(chain, S // 60)
    assert chain.status == Status(Mode.HOLDING, "policy: the state is old")
    assert chain.status.is_fault


def test_after_another_source_took_over_a_distant_command_must_engage(chain: SafetyChain) -> None:
    for i in range(1, 30):
        chain.command(["a", "b"], [0.5, -0.5], i * S // 60)
        step(chain, i * S // 60)
    chain.command(["a", "b"], [-0.6, -0.5], S // 2)
    step(chain, S // 2)
    assert chain.status.mode is Mode.FOLLOWING
    chain.disengage()
    assert chain.status == Status(Mode.HOLDING, "waiting for a command")
    chain.command(["a"], [-0.6], S // 2 + 1)
    distance = chain.limiter.position[0] + 0.6
    step(chain, S // 2 + 1)
    reason = f"command for a is {distance:.2f} from the robot, limit 1; move closer to engage"
    assert chain.status == Status(Mode.HOLDING, reason)


def test_another_source_keeps_the_setpoint_of_the_joints_that_it_does_not_command(chain: SafetyChain) -> None:
    step(chain, S // 60)
    before = chain.limiter.position[1]
    chain.disengage()
    chain.command(["a"], [0.5], 2 * S // 60)
    for i in range(2, 12):
        step(chain, i * S // 60)
    assert before < 0
    # Joint b brakes; its former target of -0.5 is not pursued.
    assert chain.limiter.position[1] == pytest.approx(before, abs=0.05)


def test_the_difference_between_two_sources_is_not_the_velocity_of_a_target(chain: SafetyChain) -> None:
    chain.command(["a"], [0.1], S // 60, 10 * S)
    chain.disengage()
    chain.command(["a"], [0.4], 2 * S // 60, 10 * S + S // 60)
    np.testing.assert_array_equal(chain._target_velocity, [0.0, 0.0])


@pytest.mark.parametrize("stopped", [False, True])
def test_another_source_does_not_change_a_hold_or_a_stop(chain: SafetyChain, stopped: bool) -> None:
    if stopped:
        chain.stop("stopped by the operator")
    chain.command(["a"], [math.nan], S // 60)
    step(chain, S // 60)
    before = chain.status
    chain.disengage()
    assert chain.status == before
    assert before.mode is (Mode.STOPPED if stopped else Mode.HOLDING)


def test_a_disabled_motor_without_a_fault_text_is_named(chain: SafetyChain) -> None:
    chain.handle_disabled_motors(np.array([True, False]), ("", ""))
    step(chain, 1)
    assert chain.status.reason.startswith("no torque at a (torque disabled); support the arm")


def test_a_speed_ratio_slows_the_setpoint(chain: SafetyChain) -> None:
    """Three tenths of full speed is 0.9 rad/s, for a target that stands still and for one that moves."""
    for k in range(1, 40):
        chain.command(["a"], [0.9], k * S // 60)
        chain.step(k * S // 60, np.zeros(2), k * S // 60, COOL, DT, speed_ratio=0.3)
        assert abs(chain.limiter.velocity[0]) <= 0.9 + 1e-9
    for k in range(40, 80):
        chain.command(["a"], [0.9 + 0.02 * (k - 40)], k * S // 60)
        chain.step(k * S // 60, np.zeros(2), k * S // 60, COOL, DT, speed_ratio=0.3)
        assert abs(chain.limiter.velocity[0]) <= 0.9 + 1e-9
    assert chain.limiter.velocity[0] == pytest.approx(0.9)
