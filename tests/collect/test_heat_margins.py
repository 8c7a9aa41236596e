"""Heat margins of motors: the smaller one of temperature and time, and nothing for an unknown motor."""

from __future__ import annotations

import math

import pytest

from waldo.collect.heat_margins import heat_margins
from waldo.robots.diagnostics import MotorStatus


@pytest.mark.parametrize(
    ("winding_c", "time_s", "expected"),
    [
        (40.0, math.inf, 1.0),
        (75.0, math.inf, 0.5),
        (75.0, 150.0, 0.25),
        (89.0, 600.0, 1 / 30),
        (95.0, math.inf, 0.0),
        (math.nan, 60.0, 0.1),
        (75.0, math.nan, 0.5),
    ],
)
def test_the_margin_is_that_of_the_nearer_limit(winding_c: float, time_s: float, expected: float) -> None:
    values = {"winding_celsius": winding_c, "limit_celsius": 90.0, "time_to_limit_seconds": time_s}
    assert heat_margins({"elbow": MotorStatus(values=values)}) == {"elbow": pytest.approx(expected)}


def test_a_motor_of_unknown_temperature_is_left_out() -> None:
    assert heat_margins({"elbow": MotorStatus(values={"winding_celsius": 40.0})}) == {}
