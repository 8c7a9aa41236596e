"""A stream that stops is noticed once, and so is its return."""

from waldo.collect.silence import SilenceWatch

MS = 1_000_000


def test_a_stream_falls_silent_once_and_comes_back() -> None:
    watch = SilenceWatch({"cameras/front": 30.0, "joints/state": 200.0}, 0)
    for k in range(1, 60):
        watch.heard("joints/state", k * 10 * MS)
    assert watch.check(500 * MS) == []
    (change,) = watch.check(600 * MS)
    assert (change.stream, change.silent, change.seconds) == ("cameras/front", True, 0.6)
    assert watch.silent == {"cameras/front"}
    watch.heard("joints/state", 700 * MS)
    assert watch.check(700 * MS) == []
    back = watch.heard("cameras/front", 900 * MS)
    assert back is not None
    assert (back.silent, back.seconds) == (False, 0.9)
    assert watch.silent == frozenset()
    assert watch.heard("cameras/front", 930 * MS) is None


def test_a_slow_stream_may_take_its_time() -> None:
    watch = SilenceWatch({"battery": 1.0}, 0)
    assert watch.check(2900 * MS) == []
    assert [change.stream for change in watch.check(3100 * MS)] == ["battery"]


def test_a_stream_that_is_not_watched_is_passed_over() -> None:
    watch = SilenceWatch({"motors": 10.0}, 0)
    assert watch.heard("joints/command", 5) is None
    assert [change.stream for change in watch.check(10_000 * MS)] == ["motors"]
