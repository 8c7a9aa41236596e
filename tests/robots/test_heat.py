"""The two-node model against its analytic solutions, and what the duty meter counts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.errors import ConfigError
from waldo.robots.heat import DutyMeter, HeatModel, ThermalConstants, copper_loss, resistance_at


def constants(winding=5.0, housing=40.0, r1=4.0, r2=3.0):
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="assumed",
        source="a test",
    )


def analytic(c, loss_w, seconds, ambient_c):
    """The winding's temperature from cold, by the quadratic formula instead of a matrix."""
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
    model = HeatModel([c])
    state = model.step(model.at_ambient(25.0), np.array([loss]), 25.0, seconds)
    assert state[0, 0] == pytest.approx(analytic(c, loss, seconds, 25.0), abs=1e-6)


def test_many_short_steps_are_one_long_step():
    model = HeatModel([constants(), constants(r2=1.0)])
    loss = np.array([3.0, 5.0])
    state = model.at_ambient(20.0)
    for _ in range(600):
        state = model.step(state, loss, 20.0, 1 / 60)
    np.testing.assert_allclose(state, model.step(model.at_ambient(20.0), loss, 20.0, 10.0), atol=1e-9)


def test_steady_state_is_reached_and_stays():
    model = HeatModel([constants()])
    steady = model.steady(np.array([2.0]), 25.0)
    np.testing.assert_allclose(steady, [[25 + 2 * 7, 25 + 2 * 3]])
    np.testing.assert_allclose(model.step(steady, np.array([2.0]), 25.0, 1e5), steady)


def test_time_to_limit_is_when_the_step_gets_there():
    model = HeatModel([constants()])
    loss, state = np.array([20.0]), model.at_ambient(25.0)
    seconds = model.time_to(70.0, state, loss, 25.0)
    assert model.step(state, loss, 25.0, float(seconds[0]))[0, 0] == pytest.approx(70.0, abs=1e-3)


def test_time_to_limit_is_never_or_now():
    model = HeatModel([constants()])
    state = model.at_ambient(25.0)
    assert model.time_to(70.0, state, np.array([1.0]), 25.0)[0] == np.inf
    assert model.time_to(20.0, state, np.array([1.0]), 25.0)[0] == 0.0


def test_copper_resists_more_when_hot():
    assert resistance_at(2.0, np.array(125.0)) == pytest.approx(2.0 * 1.393)
    assert copper_loss(np.array(3.0), 2.0, np.array(25.0)) == pytest.approx(18.0)


def test_duty_meter_counts_what_was_asked():
    meter = DutyMeter(np.array([1.0, np.nan]))
    for tick in range(600):
        torque = np.array([2.0 if tick % 4 == 0 else 0.0, 1.0])
        meter.add(torque, np.array([1.0, 2.0]), np.array([30.0 + tick / 100, 25.0]), 0.1)
    assert meter.seconds[0] == pytest.approx(60.0)
    np.testing.assert_allclose(meter.duty_ratio, [0.25, 1.0])
    np.testing.assert_allclose(meter.equivalent_torque_nm, [1.0, 1.0])
    assert meter.utilization_ratio[0] == pytest.approx(1.0)
    assert np.isnan(meter.utilization_ratio[1])
    np.testing.assert_allclose(meter.joules, [60.0, 120.0])
    assert meter.peak_winding_c[0] == pytest.approx(35.99)


def test_duty_meter_restarts_one_world_alone():
    meter = DutyMeter(np.array([1.0]), worlds=(2,))
    meter.add(np.ones((2, 1)), np.ones((2, 1)), np.full((2, 1), 40.0), 1.0)
    meter.restart(np.array([1]))
    meter.add(np.zeros((2, 1)), np.ones((2, 1)), np.full((2, 1), 30.0), 1.0)
    np.testing.assert_allclose(meter.duty_ratio[:, 0], [0.5, 0.0])
    np.testing.assert_allclose(meter.joules[:, 0], [2.0, 1.0])
    np.testing.assert_allclose(meter.peak_winding_c[:, 0], [40.0, 30.0])


def test_constants_that_no_body_has_are_refused():
    with pytest.raises(ConfigError) as error:
        constants(winding=0.0)
    assert str(error.value) == "winding_j_per_k is 0.0, expected a number above 0"


def test_an_unknown_basis_is_refused():
    with pytest.raises(ConfigError) as error:
        ThermalConstants(
            winding_j_per_k=1,
            housing_j_per_k=1,
            winding_to_housing_k_per_w=1,
            housing_to_ambient_k_per_w=1,
            basis="guessed",
            source="",
        )
    assert str(error.value) == "basis is 'guessed', expected published, fitted or assumed"
