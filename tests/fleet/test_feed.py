"""Events are encoded once for all browsers, compressed or not."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from waldo.fleet import feed as module
from waldo.fleet.feed import Feed
from waldo.fleet.store import FleetStore

BROWSERS = 40


@pytest.fixture
def store(motor, clock) -> FleetStore:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=41.5)}, clock())
    return store


@pytest.fixture
def feed(store, clock, monkeypatch) -> Feed:
    monkeypatch.setattr(module, "EVENT_PERIOD_S", 0.05)
    return Feed(store, clock, lambda: None, threading.Event())


class Browser:
    """One stream, parsed into events."""

    def __init__(self, feed: Feed, *, compressed: bool = False) -> None:
        self._stream: AsyncIterator[bytes] = feed.stream(compressed=compressed)
        self._decompress = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress if compressed else bytes
        self._buffer = b""

    async def event(self) -> tuple[str, dict[str, Any]]:
        while b"\n\n" not in self._buffer:
            self._buffer += self._decompress(await anext(self._stream))
        event, _, self._buffer = self._buffer.partition(b"\n\n")
        name, data = event.decode().split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def close(self) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]


def windings(fleet: dict[str, Any]) -> dict[str, float]:
    return {robot["name"]: robot["motors"][0]["winding_celsius"] for robot in fleet["robots"]}


def test_many_browsers_share_each_encoding(feed, store, clock, motor) -> None:
    async def run() -> None:
        browsers = [Browser(feed, compressed=n % 2 == 0) for n in range(BROWSERS)]
        first = await asyncio.gather(*(one.event() for one in browsers))
        assert {name for name, _ in first} == {"all"}
        assert all(windings(data) == {"arm": 41.5} for _, data in first)
        for round_number in range(1, 4):
            store.add_motors("arm", {"elbow": motor(winding_celsius=50 + round_number)}, clock())
            while True:
                events = await asyncio.gather(*(one.event() for one in browsers))
                assert {name for name, _ in events} == {"update"}
                if any(data["robots"] for _, data in events):
                    break
            assert all(windings(data) == {"arm": 50 + round_number} for _, data in events)
        # The whole fleet once, each update once, and the one that may be in progress.
        assert feed.encodings <= 2 + feed._number
        await asyncio.gather(*(one.close() for one in browsers))
        assert feed.browsers == 0

    asyncio.run(run())


def test_a_browser_that_falls_behind_receives_the_whole_fleet_again(feed, store, clock, motor) -> None:
    async def run() -> None:
        slow, fast = Browser(feed), Browser(feed)
        await slow.event(), await fast.event()
        store.add_motors("second", {"wrist": motor(winding_celsius=30)}, clock())
        for _ in range(module.KEPT_EVENTS + 2):
            await fast.event()
        name, data = await slow.event()
        assert (name, windings(data)) == ("all", {"arm": 41.5, "second": 30})

    asyncio.run(run())


def test_a_slow_browser_misses_no_change(feed, store, clock, motor) -> None:
    async def run() -> None:
        slow, fast = Browser(feed), Browser(feed)
        await slow.event(), await fast.event()
        for n in range(5):
            store.add_motors(f"robot {n}", {"wrist": motor(winding_celsius=n)}, clock())
            await fast.event()
        await fast.event()
        found: dict[str, float] = {}
        while len(found) < 5:
            name, data = await slow.event()
            assert name == "update"
            found |= windings(data)
        assert found == {f"robot {n}": n for n in range(5)}

    asyncio.run(run())


def test_nothing_is_encoded_without_browsers_and_the_next_one_gets_the_present_state(feed, store, clock, motor) -> None:
    async def run() -> None:
        first = Browser(feed)
        await first.event()
        await first.close()
        await feed._ticker
        encodings = feed.encodings
        store.add_motors("arm", {"elbow": motor(winding_celsius=60)}, clock())
        await asyncio.sleep(0.2)
        assert feed.encodings == encodings
        name, data = await Browser(feed).event()
        assert (name, windings(data)) == ("all", {"arm": 60})

    asyncio.run(run())


def test_other_tasks_run_while_a_large_fleet_is_encoded(feed, store, clock, motor) -> None:
    for n in range(50):
        store.add_motors(f"robot {n}", {"wrist": motor(winding_celsius=n)}, clock())

    async def run() -> None:
        turns = 0
        encoding = asyncio.create_task(Browser(feed).event())
        while not encoding.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50

    asyncio.run(run())


def test_an_event_is_sent_in_slices(feed, store, clock, motor, monkeypatch) -> None:
    monkeypatch.setattr(module, "SLICE_BYTES", 100)

    async def run() -> None:
        stream = feed.stream(compressed=False)
        parts = [await anext(stream) for _ in range(3)]
        assert [len(part) for part in parts] == [100] * 3
        assert b"".join(parts).startswith(b'event: all\ndata: {"now_s":')

    asyncio.run(run())


def test_browsers_receive_an_event_one_after_the_other(feed, monkeypatch) -> None:
    """Otherwise every other request waits for all of them."""
    monkeypatch.setattr(module, "BYTES_PER_S", 20_000)
    sizes: list[int] = []

    async def run() -> list[float]:
        clock = asyncio.get_running_loop().time

        async def first_part(browser: AsyncIterator[bytes]) -> float:
            sizes.append(len(await anext(browser)))
            return clock()

        streams = [feed.stream(compressed=False) for _ in range(5)]
        times = await asyncio.gather(*(first_part(stream) for stream in streams))
        for stream in streams:
            await stream.aclose()
        return sorted(times)

    times = asyncio.run(run())
    assert times[-1] - times[0] >= 0.9 * 4 * sizes[0] / 20_000
