"""Options of an evaluation and confidence intervals, against published values."""

import math

import pytest

from waldo.errors import InvalidValueError
from waldo.sim.evaluation.results import EvalConfig, success_interval


@pytest.mark.parametrize(
    ("successes", "episodes", "wilson", "exact"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, Table I, methods 3 and 5
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_are_the_published_ones(successes, episodes, wilson, exact):
    assert success_interval(successes, episodes) == pytest.approx(wilson, abs=5e-5)
    assert success_interval(successes, episodes, "exact") == pytest.approx(exact, abs=5e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"episodes": 0}, "episodes is 0, expected a number from 1"),
        ({"worlds": 0}, "worlds is 0, expected a number from 1"),
        ({"threads": 0}, "threads is 0, expected a number from 1"),
        ({"videos": -1}, "videos is -1, expected a number from 0"),
        ({"first_seed": -1}, "seed is -1, expected a number from 0"),
        ({"horizon_s": math.inf}, "horizon is inf, expected a time above 0 s"),
        ({"start_c": math.nan}, "start_temperature is nan, expected a temperature in °C"),
    ],
)
def test_a_value_out_of_range_is_rejected(options, text):
    with pytest.raises(InvalidValueError) as error:
        EvalConfig(**options)
    assert str(error.value) == text
