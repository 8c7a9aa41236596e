"""A stream that stops is detected once, and so is its return."""

from waldo.collect.recorder.checks.stream_watchdog import StreamWatchdog

MS = 1_000_000


def test_a_stream_stops_once_and_resumes() -> None:
    watch = StreamWatchdog()
    watch.received("cameras/front", 30.0, 0)
    for k in range(60):
        watch.received("joints/state", 200.0, k * 10 * MS)
    assert watch.check(500 * MS) == []
    (change,) = watch.check(600 * MS)
    assert (change.stream, change.stopped, change.seconds) == ("cameras/front", True, 0.6)
    assert watch.stopped == {"cameras/front"}
    watch.received("joints/state", 200.0, 700 * MS)
    assert watch.check(700 * MS) == []
    back = watch.received("cameras/front", 30.0, 900 * MS)
    assert back is not None
    assert (back.stopped, back.seconds) == (False, 0.9)
    assert watch.stopped == frozenset()
    assert watch.received("cameras/front", 30.0, 930 * MS) is None


def test_a_slow_stream_has_a_longer_timeout() -> None:
    watch = StreamWatchdog()
    watch.received("battery", 1.0, 0)
    assert watch.check(2900 * MS) == []
    assert [change.stream for change in watch.check(3100 * MS)] == ["battery"]


def test_a_stream_is_watched_from_its_first_message() -> None:
    watch = StreamWatchdog()
    assert watch.check(10_000 * MS) == []
    watch.received("motors", 10.0, 10_000 * MS)
    assert watch.check(10_100 * MS) == []
