"""Intervals against published values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.errors import ConfigError
from waldo.sim.evaluation.intervals import clopper_pearson, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, Table I, methods 3 and 5
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson(successes, trials, expected):
    assert wilson(successes, trials) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (81, 263, (0.2527, 0.3676)),
        (15, 148, (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1684)),
        (1, 29, (0.0009, 0.1776)),
    ],
)
def test_clopper_pearson(successes, trials, expected):
    assert clopper_pearson(successes, trials) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_rate_and_mirror(numbers):
    successes, trials = numbers
    for interval in (wilson, clopper_pearson):
        low, high = interval(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1
        assert interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_impossible_counts_are_refused():
    with pytest.raises(ConfigError) as none:
        wilson(0, 0)
    assert str(none.value) == "trials is 0, expected a number from 1"
    with pytest.raises(ConfigError) as many:
        clopper_pearson(4, 3)
    assert str(many.value) == "successes is 4, expected a number from 0 to 3"
