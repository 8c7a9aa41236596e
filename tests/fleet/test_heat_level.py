import math

import pytest

from waldo.fleet.heat_level import bands_c, headroom_ratio, heat_level, urgency


@pytest.mark.parametrize(
    ("winding_c", "level"),
    [
        (20, "cool"),
        (49.9, "cool"),
        (50, "warm"),
        (69.9, "warm"),
        (70, "hot"),
        (89.9, "hot"),
        (90, "over"),
        (200, "over"),
    ],
)
def test_bands_of_a_motor_with_an_unknown_limit(winding_c: float, level: str) -> None:
    assert heat_level(winding_c, math.nan, math.nan) == level


def test_bands_keep_their_fraction_of_the_rise_to_the_limit() -> None:
    assert bands_c(90.0) == pytest.approx((50, 70, 90))
    assert bands_c(70.0) == pytest.approx((25 + 45 * 25 / 65, 25 + 45 * 45 / 65, 70))
    assert bands_c(145.0)[2] == pytest.approx(145)
    assert heat_level(69.9, 30, 70.0) == "hot"
    assert heat_level(70.0, 30, 70.0) == "over"
    assert heat_level(90.0, 30, 145.0) == "warm"


def test_an_implausible_limit_counts_as_unknown() -> None:
    assert bands_c(0.0) == bands_c(math.nan)


def test_the_level_is_that_of_the_higher_of_winding_and_housing_temperature() -> None:
    assert heat_level(math.nan, 75, math.nan) == "hot"
    assert heat_level(40, 75, math.nan) == "hot"
    assert heat_level(math.nan, math.nan, 70) == "unknown"


def test_headroom_is_one_when_cold_and_zero_at_the_limit() -> None:
    assert headroom_ratio(25, 75) == 1
    assert headroom_ratio(75, 75) == 0
    assert headroom_ratio(85, 75) == pytest.approx(-0.2)
    assert math.isnan(headroom_ratio(40, math.nan))
    assert math.isnan(headroom_ratio(math.nan, 75))


@pytest.mark.parametrize(
    ("time_s", "level"),
    [(0, "critical"), (59.9, "critical"), (60, "warning"), (299, "warning"), (300, "none"), (math.inf, "none")],
)
def test_urgency(time_s: float, level: str) -> None:
    assert urgency(time_s) == level
    assert urgency(math.nan) == "none"
