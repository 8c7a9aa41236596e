import pytest

from waldo.collect.recorder.state_rate import MIN_RATE_SAMPLES, StateRate, round_rate


def measured(rate_hz: float, count: int = MIN_RATE_SAMPLES) -> StateRate:
    rate = StateRate()
    for number in range(count):
        rate.add(round(number * 1e9 / rate_hz))
    return rate


@pytest.mark.parametrize(
    ("rate", "announced_hz", "known_hz", "nominal_hz"),
    [
        (measured(60.0), 50.0, 100.0, 50.0),  # what the robot states is right
        (measured(62.0), None, None, 60.0),
        (measured(45.0), None, 60.0, 60.0),  # a busy machine delays states
        (measured(200.0), None, 60.0, 200.0),  # another robot
        (measured(60.0, count=2), None, 55.0, 55.0),
        (measured(60.0, count=2), None, None, None),
    ],
)
def test_the_nominal_rate(
    rate: StateRate, announced_hz: float | None, known_hz: float | None, nominal_hz: float | None
) -> None:
    assert rate.nominal_hz(announced_hz, known_hz) == nominal_hz


def test_a_new_measurement_starts_without_states() -> None:
    rate = measured(60.0)
    rate.clear()
    assert len(rate) == 0
    assert rate.nominal_hz(None, None) is None


@pytest.mark.parametrize(
    ("measured_hz", "rate_hz"),
    [(9.9, 10.0), (10.9, 11.0), (11.3, 11.0), (54.0, 50.0), (56.0, 60.0), (62.3, 60.0), (67.4, 67.0), (940.0, 1000.0)],
)
def test_a_measured_rate_is_rounded_to_a_common_one_if_it_is_close(measured_hz: float, rate_hz: float) -> None:
    assert round_rate(measured_hz) == rate_hz
