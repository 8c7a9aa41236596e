"""The two-node model against analytic solutions and numerical integration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, Load, TwoNodeModel, resistance_at


def constants(winding=5.0, housing=40.0, r1=4.0, r2=3.0):
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="assumed",
        source="a test",
    )


def constant_loss(watts):
    """A load that does not depend on the winding's temperature."""
    watts = np.asarray(watts, dtype=float)
    return Load(np.zeros_like(watts), watts)


def copper(watts):
    watts = np.asarray(watts, dtype=float)
    return Load(watts, np.zeros_like(watts))


def analytic(c, loss_w, seconds, ambient_c):
    """The winding temperature from cold, by the quadratic formula instead of a matrix."""
    a = 1 / (c.winding_j_per_k * c.winding_to_housing_k_per_w)
    b = 1 / (c.housing_j_per_k * c.winding_to_housing_k_per_w)
    d = 1 / (c.housing_j_per_k * c.housing_to_ambient_k_per_w)
    mean, root = (a + b + d) / 2, math.sqrt((a + b + d) ** 2 / 4 - a * d)
    fast, slow = -mean - root, -mean + root
    final = loss_w * (c.winding_to_housing_k_per_w + c.housing_to_ambient_k_per_w)
    # T(0) = 0 and dT/dt(0) = P / C_w fix the two weights.
    slope = loss_w / c.winding_j_per_k
    w_fast = (slope + final * slow) / (fast - slow)
    w_slow = -final - w_fast
    return ambient_c + final + w_fast * math.exp(fast * seconds) + w_slow * math.exp(slow * seconds)


def integrated(c, load, seconds, ambient_c, steps=20000):
    """The winding temperature from cold, by Heun's method on the differential equations."""

    def slope(w, h):
        across, out = (w - h) / c.winding_to_housing_k_per_w, (h - ambient_c) / c.housing_to_ambient_k_per_w
        return (float(load.at(np.array([w]))[0]) - across) / c.winding_j_per_k, (across - out) / c.housing_j_per_k

    w = h = ambient_c
    dt = seconds / steps
    for _ in range(steps):
        a, b = slope(w, h)
        c2, d = slope(w + dt * a, h + dt * b)
        w, h = w + dt * (a + c2) / 2, h + dt * (b + d) / 2
    return w


@given(
    loss=st.floats(0.1, 50),
    seconds=st.floats(0.01, 3000),
    r1=st.floats(0.5, 8),
    r2=st.floats(0.5, 8),
    winding=st.floats(1, 60),
    housing=st.floats(70, 900),
)
def test_step_is_the_analytic_solution(loss, seconds, r1, r2, winding, housing):
    c = constants(winding, housing, r1, r2)
    model = TwoNodeModel([c])
    state = model.step(model.at_ambient(25.0), constant_loss([loss]), 25.0, seconds)
    assert state[0, 0] == pytest.approx(analytic(c, loss, seconds, 25.0), abs=1e-5)


@pytest.mark.parametrize("watts", [1.0, 8.0, 60.0])
def test_temperature_dependent_copper_loss_is_solved_exactly(watts):
    c = constants()
    model, load = TwoNodeModel([c]), copper([watts])
    found = model.step(model.at_ambient(25.0), load, 25.0, 20.0)[0, 0]
    assert found == pytest.approx(integrated(c, load, 20.0, 25.0), rel=1e-5)
    assert found > analytic(c, watts, 20.0, 25.0)


def test_a_load_beyond_the_critical_one_diverges():
    model = TwoNodeModel([constants()])
    # 1 / (α (R1 + R2)) is the copper loss at which the loop of heat and resistance has a gain of one.
    critical = 1 / (COPPER_ALPHA_PER_K * 7)
    assert np.isfinite(model.steady(copper([0.9 * critical]), 25.0)).all()
    assert np.isinf(model.steady(copper([1.1 * critical]), 25.0)[0, 0])
    late = model.step(model.at_ambient(25.0), copper([1.1 * critical]), 25.0, 1e6)
    assert late[0, 0] > 1e4
    assert np.isfinite(late).all()


def test_many_short_steps_equal_one_long_step():
    model = TwoNodeModel([constants(), constants(r2=1.0)])
    load = Load(np.array([3.0, 5.0]), np.array([0.5, 0.0]))
    state = model.at_ambient(20.0)
    for _ in range(600):
        state = model.step(state, load, 20.0, 1 / 60)
    np.testing.assert_allclose(state, model.step(model.at_ambient(20.0), load, 20.0, 10.0), atol=1e-9)


def test_the_fast_step_is_exact_for_a_constant_loss():
    model = TwoNodeModel([constants(), constants(r2=1.0)])
    state, loss = np.array([[40.0, 30.0], [50.0, 45.0]]), np.array([3.0, 5.0])
    np.testing.assert_allclose(model.stepper(0.5)(state, loss, 22.0), model.step(state, constant_loss(loss), 22.0, 0.5))


def test_steady_state_is_reached_and_stays():
    model = TwoNodeModel([constants()])
    steady = model.steady(constant_loss([2.0]), 25.0)
    np.testing.assert_allclose(steady, [[25 + 2 * 7, 25 + 2 * 3]])
    np.testing.assert_allclose(model.step(steady, constant_loss([2.0]), 25.0, 1e5), steady)
    hot = model.steady(copper([2.0]), 25.0)
    np.testing.assert_allclose(model.step(hot, copper([2.0]), 25.0, 1e5), hot)


@pytest.mark.parametrize("load", [constant_loss([20.0]), copper([20.0]), copper([300.0])])
def test_the_time_to_a_limit_agrees_with_the_step(load):
    model = TwoNodeModel([constants()])
    state = model.at_ambient(25.0)
    seconds = model.time_to(70.0, state, load, 25.0)
    assert model.step(state, load, 25.0, float(seconds[0]))[0, 0] == pytest.approx(70.0, abs=1e-3)


def test_the_time_to_a_limit_can_be_never_now_or_unknown():
    model = TwoNodeModel([constants()])
    state = model.at_ambient(25.0)
    assert model.time_to(70.0, state, copper([1.0]), 25.0)[0] == np.inf
    assert model.time_to(20.0, state, copper([1.0]), 25.0)[0] == 0.0
    assert np.isnan(model.time_to(np.nan, state, copper([1.0]), 25.0)[0])


def test_the_resistance_of_copper_rises_with_temperature():
    assert resistance_at(2.0, np.array(125.0)) == pytest.approx(2.0 * 1.393)
    assert copper([18.0]).at(np.array([25.0]))[0] == pytest.approx(18.0)
