"""The governor in closed loop with simulated motors."""

import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.governor import Governor, GovernorConfig
from waldo.robots.thermal.observer import HeatObserver, ObserverConfig
from waldo.robots.thermal.sensor_watch import Sensor
from waldo.robots.thermal.two_node import Load, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)
SENSOR = ObserverConfig(winding=Sensor(std_k=0.5, step_k=0.1))


DEFAULTS = GovernorConfig()


def hot_observer(count=1, *, winding=50.0, housing=45.0, std=2.0, scale=1.2):
    """An observer with given temperatures [°C], standard deviations [K] and heat scale."""
    observer = HeatObserver(TwoNodeModel([CONSTANTS] * count))
    observer.mean[:] = [winding, housing, 28.0, np.log(scale)]
    observer.covariance[:] = np.diag([std**2, (2 * std) ** 2, 1.0, 0.01])
    return observer


def sustainable_w(limit=80.0):
    """The copper loss that brings the winding to the margin at the horizon, by bisection [W]."""
    model, start = TwoNodeModel([CONSTANTS]), np.array([[50.0 + 1.28 * 2.0, 45.0 + 1.28 * 4.0]])
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        end = model.winding_at(np.asarray(240.0), start, Load(np.array([middle]), np.zeros(1)), 28.0)[0]
        low, high = (middle, high) if end < limit - 4.0 else (low, middle)
    return low


def load_at(*factors):
    """The recent loads for which the allowed load factors have these values, with a heat scale of 1.2."""
    return Load(sustainable_w() / 1.2 / np.array(factors), np.zeros(len(factors)))


@pytest.mark.parametrize("factor", [0.4, 0.9, 1.04, 1.5, 4.0])
def test_the_allowed_load_ends_a_margin_below_the_limit_at_the_horizon(factor):
    derating = Governor(np.array([80.0])).step(hot_observer(), load_at(factor), 0.5)
    assert derating.allowed_ratio[0] == pytest.approx(factor, rel=5e-3)


def test_the_speed_follows_the_allowed_load_with_its_time_constant():
    governor = Governor(np.array([80.0]))
    first = governor.step(hot_observer(), load_at(0.5), 2.0)
    assert first.speed_ratio == pytest.approx(first.allowed_ratio[0] ** (2.0 / 40.0), rel=1e-12)
    second = governor.step(hot_observer(), load_at(0.7), 3.0)
    expected = first.speed_ratio * second.allowed_ratio[0] ** (3.0 / 40.0)
    assert second.speed_ratio == pytest.approx(expected, rel=1e-12)
    assert governor.derating is second
    assert not second.needs_rest


def test_the_speed_changes_with_a_bounded_rate():
    governor = Governor(np.array([80.0]))
    assert governor.step(hot_observer(winding=150.0, housing=150.0), load_at(0.5), 2.0).allowed_ratio[0] == 0.0
    slow = governor.derating.speed_ratio
    assert slow == pytest.approx(0.05 ** (2.0 / 40.0), rel=1e-12)
    assert governor.step(hot_observer(), load_at(5.0), 2.0).speed_ratio == pytest.approx(slow * 2.0 ** (2.0 / 120.0))


@pytest.mark.parametrize(("factor", "change"), [(1.04, 1.0), (1.5, 1.5 ** (2.0 / 120.0))])
def test_the_robot_speeds_up_only_with_a_reserve(factor, change):
    governor = Governor(np.array([80.0]))
    slow = governor.step(hot_observer(), load_at(0.5), 20.0).speed_ratio
    found = governor.step(hot_observer(), load_at(factor), 2.0)
    assert found.speed_ratio == pytest.approx(slow * change, rel=2e-4)
    assert found.limiting_motor == 0


def test_a_reserve_of_exactly_the_release_factor_does_not_speed_the_robot_up():
    factor = float(Governor(np.array([80.0])).step(hot_observer(), load_at(1.5), 0.0).allowed_ratio[0])
    governor = Governor(np.array([80.0]), GovernorConfig(release_factor=factor))
    slow = governor.step(hot_observer(), load_at(0.5), 20.0).speed_ratio
    assert governor.step(hot_observer(), load_at(1.5), 2.0).speed_ratio == slow < 1.0


def test_the_speed_stays_between_its_bounds():
    governor = Governor(np.array([80.0]))
    for factor in (3.0, 1.5, 1.04):
        assert governor.step(hot_observer(), load_at(factor), 100.0).speed_ratio == 1.0
        assert governor.derating.limiting_motor == -1
    lowest = governor.step(hot_observer(), load_at(0.5), 1000.0)
    assert lowest.speed_ratio == 0.15
    assert lowest.needs_rest
    holding = governor.step(hot_observer(), load_at(1.04), 1.0)
    assert holding.speed_ratio == 0.15
    assert not holding.needs_rest


def test_the_motor_with_the_smallest_allowed_load_limits_the_robot():
    governor = Governor(np.array([80.0, 80.0, np.nan]))
    found = governor.step(hot_observer(3), load_at(1.5, 0.6, 0.1), 2.0)
    assert found.limiting_motor == 1
    assert found.allowed_ratio[2] == np.inf
    assert found.speed_ratio == pytest.approx(found.allowed_ratio[1] ** (2.0 / 40.0), rel=1e-12)


def test_the_limiting_motor_is_known_before_time_has_passed():
    assert Governor(np.array([80.0])).step(hot_observer(), load_at(0.5), 0.0).limiting_motor == 0


def test_the_description_names_the_joint_and_the_speed_or_the_need_for_rest():
    governor = Governor(np.array([80.0, 80.0]))
    governor.step(hot_observer(2), load_at(3.0, 3.0), 2.0)
    assert governor.describe(("elbow", "wrist")) == ""
    governor.step(hot_observer(2), load_at(3.0, 0.5), 20.0)
    assert governor.derating.speed_ratio == pytest.approx(0.707, abs=2e-3)
    assert governor.describe(("elbow", "wrist")) == "speed reduced to 71% to keep wrist below its temperature limit"
    governor.step(hot_observer(2), load_at(0.4, 0.5), 1000.0)
    assert governor.describe(("elbow", "wrist")) == (
        "elbow is too hot for any motion; put down any load and let the robot rest"
    )


def test_a_governor_starts_at_full_speed():
    start = Governor(np.array([80.0, 80.0])).derating
    assert (start.speed_ratio, start.allowed_ratio.tolist()) == (1.0, [np.inf, np.inf])
    assert (start.limiting_motor, start.needs_rest) == (-1, False)


@pytest.mark.parametrize("motors", [0, 2])
def test_a_robot_without_limits_runs_at_full_speed(motors):
    found = Governor(np.full(motors, np.nan)).step(hot_observer(motors), load_at(*[0.1] * motors), 2.0)
    assert (found.speed_ratio, found.limiting_motor, found.needs_rest) == (1.0, -1, False)


def test_the_defaults_are_the_documented_values():
    d = DEFAULTS
    assert (d.margin_k, d.sigma, d.horizon_s, d.min_speed_ratio) == (4.0, 1.28, 240.0, 0.15)
    assert (d.slow_down_s, d.release_factor, d.speed_up_s) == (40.0, 1.08, 120.0)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("margin_k", 0.0, "a finite number above 0"),
        ("horizon_s", float("nan"), "a finite number above 0"),
        ("slow_down_s", float("inf"), "a finite number above 0"),
        ("speed_up_s", -1.0, "a finite number above 0"),
        ("sigma", -0.1, "a finite number, 0 or more"),
        ("sigma", float("nan"), "a finite number, 0 or more"),
        ("min_speed_ratio", 0.0, "a fraction of full speed above 0, up to 1"),
        ("min_speed_ratio", 1.5, "a fraction of full speed above 0, up to 1"),
        ("release_factor", 0.9, "1 or more"),
    ],
)
def test_parameters_that_would_disable_the_governor_are_refused(name, value, expected):
    with pytest.raises(ConfigError) as error:
        GovernorConfig(**{name: value})
    assert str(error.value) == f"{name} is {value!r}, expected {expected}"


def test_parameters_at_their_bounds_are_accepted():
    bounds = GovernorConfig(sigma=0.0, min_speed_ratio=1.0, release_factor=1.0, margin_k=0.5)
    assert (bounds.sigma, bounds.min_speed_ratio, bounds.release_factor, bounds.margin_k) == (0.0, 1.0, 1.0, 0.5)


def test_parameters_and_results_are_immutable_and_parameters_named():
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.margin_k = 1.0
    with pytest.raises(FrozenInstanceError):
        Governor(np.array([80.0])).derating.speed_ratio = 0.5
    with pytest.raises(TypeError, match="positional"):
        GovernorConfig(4.0)


class Simulation:
    """Motors whose heat has a part proportional to the squared speed and a constant part."""

    def __init__(self, moving, holding, *, limit=80.0, config=None):
        count = len(moving)
        self.model = TwoNodeModel([CONSTANTS] * count)
        self.observer = HeatObserver(self.model, SENSOR)
        self.governor = Governor(np.full(count, limit), config)
        self.moving, self.holding = np.array(moving), np.array(holding)
        self.state = self.model.at_ambient(25.0)
        self.recent = np.zeros(count)
        self.speeds, self.peaks = [], []

    def run(self, seconds, dt=4.0, governed=True):
        for _ in range(round(seconds / dt)):
            speed = self.governor.derating.speed_ratio if governed else 1.0
            load = Load(self.moving * speed**2 + self.holding, np.zeros(len(self.moving)))
            self.state = self.model.step(self.state, load, 25.0, dt)
            self.recent += dt / 30 * (load.copper_w - self.recent)
            if governed:
                self.observer.step(load, dt, {"winding": self.state[:, 0]})
                self.governor.step(self.observer, Load(self.recent, np.zeros(len(self.recent))), dt)
            self.speeds.append(speed)
            self.peaks.append(self.state[:, 0].max())
        return self


def test_motors_that_stay_cool_run_at_full_speed():
    motors = Simulation([4.0, 1.0], [1.0, 0.5]).run(3600)
    assert min(motors.speeds) == 1.0
    assert motors.governor.describe(("a", "b")) == ""


@pytest.fixture(scope="module")
def held():
    """Motors that would overheat, after an hour and a half with the governor."""
    return Simulation([14.0, 2.0], [3.0, 1.0]).run(5400)


def test_a_load_that_would_overheat_is_kept_below_the_limit(held):
    free = Simulation([14.0, 2.0], [3.0, 1.0]).run(3600, governed=False)
    assert max(free.peaks) > 80
    assert max(held.peaks) < 80
    # The margin is not wasted: the temperature settles within a few degrees of the target.
    assert held.peaks[-1] > 70
    text = held.governor.describe(("elbow", "wrist"))
    assert re.fullmatch(r"speed reduced to \d+% to keep elbow below its temperature limit", text)


def test_the_speed_is_smooth_and_does_not_oscillate(held):
    speeds = np.array(held.speeds)
    assert np.abs(np.diff(speeds)).max() < 0.04
    settled = speeds[-450:]  # the last half hour
    assert settled.max() - settled.min() < 0.12


def test_full_speed_returns_when_the_load_decreases():
    motors = Simulation([14.0], [3.0]).run(1800)
    slow = motors.speeds[-1]
    motors.moving = np.array([1.0])
    motors.run(1800)
    assert slow < 0.95
    assert motors.speeds[-1] == 1.0
    assert motors.governor.describe(("a",)) == ""


def test_rest_is_requested_if_holding_alone_is_too_much():
    motors = Simulation([1.0], [25.0]).run(1800)
    assert motors.governor.derating.needs_rest
    assert (
        motors.governor.describe(("elbow",))
        == "elbow is too hot for any motion; put down any load and let the robot rest"
    )
    assert min(motors.speeds) >= GovernorConfig().min_speed_ratio


def test_motors_without_a_limit_do_not_limit_the_speed():
    motors = Simulation([50.0, 1.0], [0.0, 0.0])
    motors.governor = Governor(np.array([np.nan, 80.0]))
    motors.run(1200)
    assert min(motors.speeds) == 1.0
