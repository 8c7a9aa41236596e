"""A stream that stops is noticed once, and so is its return."""

from waldo.collect.recorder.stream_watchdog import SilenceWatch

MS = 1_000_000


def test_a_stream_falls_silent_once_and_comes_back() -> None:
    watch = SilenceWatch()
    watch.heard("cameras/front", 30.0, 0)
    for k in range(60):
        watch.heard("joints/state", 200.0, k * 10 * MS)
    assert watch.check(500 * MS) == []
    (change,) = watch.check(600 * MS)
    assert (change.stream, change.silent, change.seconds) == ("cameras/front", True, 0.6)
    assert watch.silent == {"cameras/front"}
    watch.heard("joints/state", 200.0, 700 * MS)
    assert watch.check(700 * MS) == []
    back = watch.heard("cameras/front", 30.0, 900 * MS)
    assert back is not None
    assert (back.silent, back.seconds) == (False, 0.9)
    assert watch.silent == frozenset()
    assert watch.heard("cameras/front", 30.0, 930 * MS) is None


def test_a_slow_stream_may_take_its_time() -> None:
    watch = SilenceWatch()
    watch.heard("battery", 1.0, 0)
    assert watch.check(2900 * MS) == []
    assert [change.stream for change in watch.check(3100 * MS)] == ["battery"]


def test_a_stream_is_watched_from_its_first_message_on() -> None:
    watch = SilenceWatch()
    assert watch.check(10_000 * MS) == []
    watch.heard("motors", 10.0, 10_000 * MS)
    assert watch.check(10_100 * MS) == []
