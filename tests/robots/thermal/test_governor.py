import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.robots.thermal.governor import Governor, GovernorConfig
from waldo.robots.thermal.observer import HeatObserver, ObserverConfig, Sensor
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)
SENSOR = ObserverConfig(winding=Sensor(std_k=0.5, step_k=0.1))


class Work:
    """Motors that make heat as the square of their speed, and some however slow they are."""

    def __init__(self, moving, holding, *, limit=80.0, config=None):
        count = len(moving)
        self.model = TwoNodeModel([CONSTANTS] * count)
        self.observer = HeatObserver(self.model, SENSOR)
        self.governor = Governor(np.full(count, limit), config)
        self.moving, self.holding = np.array(moving), np.array(holding)
        self.state = self.model.at_ambient(25.0)
        self.recent = np.zeros(count)
        self.speeds, self.hottest = [], []

    def run(self, seconds, dt=0.5, governed=True):
        for _ in range(round(seconds / dt)):
            speed = self.governor.derating.speed_ratio if governed else 1.0
            load = Load(self.moving * speed**2 + self.holding, np.zeros(len(self.moving)))
            self.state = self.model.step(self.state, load, 25.0, dt)
            self.observer.step(load, dt, {"winding": self.state[:, 0]})
            self.recent += dt / 30 * (load.copper_w - self.recent)
            self.governor.step(self.observer, Load(self.recent, np.zeros(len(self.recent))), dt)
            self.speeds.append(speed)
            self.hottest.append(self.state[:, 0].max())
        return self


def test_what_stays_cool_runs_at_full_speed():
    work = Work([4.0, 1.0], [1.0, 0.5]).run(3600)
    assert min(work.speeds) == 1.0
    assert work.governor.describe(("a", "b")) == ""


def test_it_keeps_below_the_limit_what_would_overheat():
    free = Work([14.0, 2.0], [3.0, 1.0]).run(3600, governed=False)
    held = Work([14.0, 2.0], [3.0, 1.0]).run(3600)
    assert max(free.hottest) > 80
    assert max(held.hottest) < 80
    # It is not timid: it ends within a few degrees of what it may.
    assert held.hottest[-1] > 70
    assert held.governor.describe(("elbow", "wrist")).endswith("so that elbow stays cool")


def test_it_is_smooth_and_does_not_swing():
    work = Work([14.0, 2.0], [3.0, 1.0]).run(5400)
    speeds = np.array(work.speeds)
    assert np.abs(np.diff(speeds)).max() < 0.02
    settled = speeds[-3600:]
    assert settled.max() - settled.min() < 0.12


def test_it_lets_go_again_when_it_is_cool():
    work = Work([14.0], [3.0]).run(3600)
    slow = work.speeds[-1]
    work.moving = np.array([1.0])
    work.run(1800)
    assert slow < 0.95
    assert work.speeds[-1] == 1.0
    assert work.governor.describe(("a",)) == ""


def test_where_even_holding_is_too_much_it_asks_for_rest():
    work = Work([1.0], [25.0]).run(1800)
    assert work.governor.derating.needs_rest
    assert work.governor.describe(("elbow",)) == "elbow is too hot for any motion: put down what is held and rest"
    assert min(work.speeds) >= GovernorConfig().slowest


def test_motors_without_a_limit_do_not_decide():
    work = Work([50.0, 1.0], [0.0, 0.0])
    work.governor = Governor(np.array([np.nan, 80.0]))
    work.run(1200)
    assert min(work.speeds) == 1.0


@pytest.mark.parametrize(
    ("name", "value"), [("margin_k", 0.0), ("slowest", 1.5), ("release", 0.9), ("horizon_s", float("nan"))]
)
def test_settings_that_would_switch_it_off_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        GovernorConfig(**{name: value})
