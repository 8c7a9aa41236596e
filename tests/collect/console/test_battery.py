"""The forecast of the battery."""

from __future__ import annotations

import math

import pytest

from waldo.collect.console.battery import MIN_S, BatteryForecast


def discharged(per_hour: float, *, minutes: float, start: float = 0.9) -> BatteryForecast:
    forecast = BatteryForecast()
    for second in range(round(60 * minutes) + 1):
        forecast.add(round(start - per_hour * second / 3600, 2), float(second))
    return forecast


def test_a_falling_charge_states_when_the_battery_is_empty() -> None:
    forecast = discharged(0.5, minutes=10)
    assert forecast.ratio == pytest.approx(0.82, abs=0.005)
    assert forecast.remaining_s == pytest.approx(0.82 / 0.5 * 3600, rel=0.1)


def test_nothing_is_stated_before_it_can_be_measured() -> None:
    assert math.isnan(BatteryForecast().remaining_s)
    assert math.isnan(discharged(0.5, minutes=(MIN_S - 20) / 60).remaining_s)


def test_a_constant_charge_lasts() -> None:
    assert discharged(0.0, minutes=10).remaining_s == math.inf


def test_a_new_battery_starts_a_new_measurement() -> None:
    forecast = discharged(0.5, minutes=10)
    forecast.add(1.0, 620.0)
    assert forecast.ratio == 1.0
    assert math.isnan(forecast.remaining_s)


@pytest.mark.parametrize("ratio", [math.nan, -0.1, 1.5, math.inf])
def test_a_charge_that_is_none_is_unknown(ratio: float) -> None:
    forecast = discharged(0.5, minutes=10)
    forecast.add(ratio, 620.0)
    assert math.isnan(forecast.ratio)
    assert math.isnan(forecast.remaining_s)
