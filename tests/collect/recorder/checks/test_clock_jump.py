"""A step of the clock is detected; slewing is not."""

from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.recorder.checks.clock_jump import ClockWatch


def test_a_step_is_detected_once_with_its_sign() -> None:
    watch = ClockWatch(1_000_000_000_000, 500)
    assert watch.check(1_000_250_000_000, 250_000_500) == 0
    assert watch.check(1_002_500_000_000, 500_000_500) == 2_000_000_000
    assert watch.check(1_002_750_000_000, 750_000_500) == 0
    assert watch.check(1_002_900_000_000, 1_000_000_500) == -100_000_000


@given(st.lists(st.integers(1_000_000, 2_000_000_000), max_size=50), st.integers(-500, 500))
def test_slewing_by_half_a_millisecond_per_second_is_not_a_step(steps: list[int], ppm: int) -> None:
    watch = ClockWatch(0, 0)
    wall = monotonic = 0
    for step in steps:
        monotonic += step
        wall += step + step * ppm // 1_000_000
        assert watch.check(wall, monotonic) == 0


def test_the_smallest_step_is_ten_milliseconds() -> None:
    watch = ClockWatch(0, 0)
    assert watch.check(9_999_999, 0) == 0
    assert watch.check(19_999_999, 0) == 10_000_000
    assert watch.check(9_999_999, 0) == -10_000_000
