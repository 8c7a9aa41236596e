"""Forecasts against the exact solution and against many simulated trajectories."""

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal import forecast
from waldo.robots.thermal.observer import HeatObserver, ObserverConfig
from waldo.robots.thermal.two_node import Load, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)


def load_of(*watts):
    return Load(np.array(watts, dtype=float), np.zeros(len(watts)))


def certain(count, winding=40.0, housing=35.0):
    """Motors without uncertainty."""
    observer = HeatObserver(TwoNodeModel([CONSTANTS] * count))
    observer.mean[:] = [winding, housing, 25.0, 0.0]
    observer.covariance[:] = 1e-12 * np.eye(4)
    return observer


def trajectory_of(observer, load, load_std=0.0):
    return forecast.predict(observer.model, observer.mean, observer.covariance, load, load_std, forecast.time_grid())


def test_without_uncertainty_the_quantiles_equal_the_exact_time():
    observer, load = certain(4), load_of(14.0, 20.0, 60.0, 300.0)
    found = forecast.time_to_limit(trajectory_of(observer, load), np.full(4, 90.0), observer.winding_c)
    exact = observer.model.time_to(90.0, observer.state_c, load, 25.0)
    np.testing.assert_allclose(found.p50, exact, rtol=0.03)
    np.testing.assert_allclose(found.p10, found.p90, rtol=1e-3)


def test_the_time_to_limit_can_be_never_now_or_unknown():
    observer = certain(3)
    observer.mean[1, 0] = 95.0
    found = forecast.time_to_limit(
        trajectory_of(observer, load_of(1.0, 1.0, 20.0)), np.array([90.0, 90.0, np.nan]), observer.winding_c
    )
    assert found.p50[0] == np.inf
    assert found.p50[1] == 0.0
    assert np.isnan(found.p50[2])


def test_the_cool_down_time_equals_that_of_the_exact_solution():
    observer = certain(2, winding=80.0, housing=60.0)
    found = forecast.cool_down_time(
        trajectory_of(observer, load_of(0.0, 0.0)), np.array([50.0, 90.0]), observer.winding_c
    )
    state = observer.model.step(observer.state_c, load_of(0.0, 0.0), 25.0, float(found.p50[0]))
    assert state[0, 0] == pytest.approx(50.0, abs=0.5)
    assert found.p50[1] == 0.0


def test_the_quantiles_equal_those_of_sampled_trajectories():
    observer = HeatObserver(TwoNodeModel([CONSTANTS]), ObserverConfig(ambient_std_k=3.0, scale_std=0.12))
    for _ in range(200):
        observer.step(load_of(10.0), 1.0, {"housing": np.round(observer.housing_c)})
    load = load_of(24.0)
    found = forecast.time_to_limit(trajectory_of(observer, load), np.array([90.0]), observer.winding_c)
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(observer.mean[0], observer.covariance[0], 4000)
    many = TwoNodeModel([CONSTANTS] * len(draws))
    scaled = Load(24.0 * np.exp(draws[:, 3]), np.zeros(len(draws)))
    times = many.time_to(90.0, draws[:, :2], scaled, draws[:, 2])
    for quantile, value in ((0.1, found.p10), (0.5, found.p50), (0.9, found.p90)):
        assert value[0] == pytest.approx(np.quantile(times, quantile, method="lower"), rel=0.08)


def test_an_uncertain_load_widens_the_quantiles():
    observer, load = certain(1), load_of(20.0)
    narrow = forecast.time_to_limit(trajectory_of(observer, load), np.array([90.0]), observer.winding_c)
    wide = forecast.time_to_limit(trajectory_of(observer, load, 0.2), np.array([90.0]), observer.winding_c)
    assert wide.p10[0] < narrow.p10[0] < narrow.p90[0] < wide.p90[0]


@pytest.mark.parametrize("watts", [2.0, 12.0, 40.0, 200.0])
def test_the_allowed_load_ends_at_the_target(watts):
    observer, load = certain(1), load_of(watts)
    factor = forecast.allowed_load_factor(
        observer.model, observer.state_c, np.array([25.0]), np.array([80.0]), load, 240.0
    )
    end = observer.model.winding_at(np.asarray(240.0), observer.state_c, load * factor, 25.0)
    assert end[0] == pytest.approx(80.0, abs=0.5)
