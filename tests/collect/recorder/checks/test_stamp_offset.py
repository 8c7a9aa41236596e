import pytest

from waldo.collect.recorder.checks.stamp_offset import StampWatch, describe

SECOND_NS = 1_000_000_000


def test_stamps_of_another_clock_are_reported_once() -> None:
    watch = StampWatch()
    found = [watch.received("cameras/front", 5 * SECOND_NS, 1000 * SECOND_NS) for _ in range(5)]
    assert found == [None, None, 995 * SECOND_NS, None, None]
    assert watch.offsets_ns == {"cameras/front": 995 * SECOND_NS}


def test_a_late_message_is_not_another_clock() -> None:
    watch = StampWatch()
    late, plausible = (0, 2 * SECOND_NS), (2 * SECOND_NS, 2 * SECOND_NS + 1)
    assert [watch.received("state", *one) for one in (late, late, plausible, late, late)] == [None] * 5
    assert watch.offsets_ns == {}


@pytest.mark.parametrize("sign", [1, -1])
def test_an_offset_of_one_second_is_plausible_and_a_longer_one_is_not(sign: int) -> None:
    watch = StampWatch()
    assert [watch.received("state", 0, sign * SECOND_NS) for _ in range(3)] == [None] * 3
    longer = sign * (SECOND_NS + 1)
    assert [watch.received("state", 0, longer) for _ in range(3)] == [None, None, longer]


def test_a_clock_that_was_corrected_is_no_longer_reported() -> None:
    watch = StampWatch()
    for _ in range(3):
        watch.received("state", 9 * SECOND_NS, 0)
    assert watch.offsets_ns == {"state": -9 * SECOND_NS}
    watch.received("state", 9 * SECOND_NS, 9 * SECOND_NS)
    assert watch.offsets_ns == {}


def test_the_notice_names_the_direction_and_the_option() -> None:
    assert describe("cameras/front", 995 * SECOND_NS).startswith(
        "the stamps of cameras/front are 995.0 s behind this machine's clock; "
    )
    assert describe("joints/state", -2 * SECOND_NS).endswith("--stamps joints/state=receipt")
    assert "2.0 s ahead of" in describe("joints/state", -2 * SECOND_NS)
