from waldo.web.rate_limit import RateLimit


def test_a_burst_and_then_the_rate() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 3, clock=lambda: now[0])
    assert [limit.allow() for _ in range(4)] == [True, True, True, False]
    now[0] += 0.5
    assert [limit.allow() for _ in range(2)] == [True, False]
    now[0] += 100
    assert [limit.allow() for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_is_set_back_allows_nothing_more() -> None:
    now = [100.0]
    limit = RateLimit(1.0, 1, clock=lambda: now[0])
    assert limit.allow()
    now[0] = 0.0
    assert not limit.allow()
    now[0] = 1.0
    assert limit.allow()
