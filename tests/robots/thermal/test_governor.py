"""The governor in closed loop with simulated motors."""

import re

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

    def run(self, seconds, dt=0.5, governed=True):
        for _ in range(round(seconds / dt)):
            speed = self.governor.derating.speed_ratio if governed else 1.0
            load = Load(self.moving * speed**2 + self.holding, np.zeros(len(self.moving)))
            self.state = self.model.step(self.state, load, 25.0, dt)
            self.observer.step(load, dt, {"winding": self.state[:, 0]})
            self.recent += dt / 30 * (load.copper_w - self.recent)
            self.governor.step(self.observer, Load(self.recent, np.zeros(len(self.recent))), dt)
            self.speeds.append(speed)
            self.peaks.append(self.state[:, 0].max())
        return self


def test_motors_that_stay_cool_run_at_full_speed():
    motors = Simulation([4.0, 1.0], [1.0, 0.5]).run(3600)
    assert min(motors.speeds) == 1.0
    assert motors.governor.describe(("a", "b")) == ""


def test_a_load_that_would_overheat_is_kept_below_the_limit():
    free = Simulation([14.0, 2.0], [3.0, 1.0]).run(3600, governed=False)
    held = Simulation([14.0, 2.0], [3.0, 1.0]).run(3600)
    assert max(free.peaks) > 80
    assert max(held.peaks) < 80
    # The margin is not wasted: the temperature settles within a few degrees of the target.
    assert held.peaks[-1] > 70
    text = held.governor.describe(("elbow", "wrist"))
    assert re.fullmatch(r"speed reduced to \d+% to keep elbow below its temperature limit", text)


def test_the_speed_is_smooth_and_does_not_oscillate():
    motors = Simulation([14.0, 2.0], [3.0, 1.0]).run(5400)
    speeds = np.array(motors.speeds)
    assert np.abs(np.diff(speeds)).max() < 0.02
    settled = speeds[-3600:]
    assert settled.max() - settled.min() < 0.12


def test_full_speed_returns_when_the_load_decreases():
    motors = Simulation([14.0], [3.0]).run(3600)
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


@pytest.mark.parametrize(
    ("name", "value"),
    [("margin_k", 0.0), ("min_speed_ratio", 1.5), ("release_factor", 0.9), ("horizon_s", float("nan"))],
)
def test_parameters_that_would_disable_the_governor_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        GovernorConfig(**{name: value})
