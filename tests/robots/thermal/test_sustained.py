"""Utilization and time to limit under constant heating are one question with one answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.sustained import sustain
from waldo.robots.thermal.two_node import Load, TwoNodeModel


def model_of(cw: float, ch: float, r1: float, r2: float) -> TwoNodeModel:
    constants = ThermalConstants(
        winding_j_per_k=cw,
        housing_j_per_k=ch,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="assumed",
        source="test",
    )
    return TwoNodeModel([constants])


models = st.builds(model_of, st.floats(0.5, 500), st.floats(5, 50_000), st.floats(0.05, 20), st.floats(0.05, 20))


@settings(max_examples=500, deadline=None)
@given(models, st.floats(0, 1000), st.floats(40, 180), st.floats(-20, 39))
@example(model_of(1, 10, 1, 1), 22.5, 70.0, 25.0)
@example(model_of(500, 50_000, 20, 20), 1.12501, 70.0, 25.0)
def test_the_utilization_is_above_1_exactly_if_there_is_a_time_to_the_limit(model, heating, limit, ambient) -> None:
    found = sustain(model, np.array([heating]), np.array([limit]), ambient)
    ratio, seconds, steady = (
        float(found.utilization_ratio[0]), float(found.seconds_to_limit[0]), float(found.steady_winding_c[0])
    )  # fmt: skip
    assert (ratio > 1) == math.isfinite(seconds)
    assert ratio == pytest.approx((steady - ambient) / (limit - ambient))
    if abs(ratio - 1) < 1e-6:
        return
    # The model itself, stepped for longer than any of these motors takes to settle.
    load = Load(np.zeros(1), np.array([heating]))
    cold = model.at_ambient(ambient)
    assert (float(model.winding_at(np.asarray(1e9), cold, load, ambient)[0]) > limit) == (ratio > 1)
    if ratio > 1:
        assert float(model.winding_at(np.asarray(seconds), cold, load, ambient)[0]) == pytest.approx(limit, abs=1e-3)


def test_without_a_limit_both_are_unknown() -> None:
    found = sustain(model_of(10, 100, 1, 2), np.array([5.0]), np.array([np.nan]), 25.0)
    assert np.isnan(found.utilization_ratio[0])
    assert np.isnan(found.seconds_to_limit[0])
    assert found.steady_winding_c[0] == pytest.approx(40.0)


def test_many_worlds_at_once() -> None:
    heating = np.array([[1.0], [15.0], [30.0]])
    found = sustain(model_of(10, 100, 1, 2), heating, np.array([70.0]), 25.0)
    np.testing.assert_allclose(found.utilization_ratio[:, 0], [1 / 15, 1.0, 2.0])
    assert np.isfinite(found.seconds_to_limit[:, 0]).tolist() == [False, False, True]
