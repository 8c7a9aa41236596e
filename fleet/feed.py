"""The event stream of the page: every event is encoded and compressed once and sent to every browser.

An event is a sequence of whole deflate blocks that refer to nothing before them, so the same bytes continue the gzip
stream of any browser. Encoding pauses after each robot, and the browsers receive an event one after the other: other
requests are answered in between.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from threading import Event as StopEvent

from waldo.fleet.serialization import fleet_parts
from waldo.fleet.store import FleetStore

EVENT_PERIOD_S = 0.5
"""Interval between two events [s]; longer if encoding or sending them would take too much of the time."""

MAX_PERIOD_S = 3.0
"""Longest interval between two events [s]; the page reports a lost connection after 8 s."""

ENCODING_RATIO = 0.2
"""Maximum fraction of the time that is spent on encoding."""

BYTES_PER_S = 30e6
"""Rate at which all browsers together are sent events, as long as the interval is below its maximum [bytes/s]."""

SENDING_RATIO = 0.8
"""Fraction of the interval over which the turns of the browsers are spread."""

KEPT_EVENTS = 20
"""Events kept for slow browsers; one that is further behind receives the whole fleet again."""

WHOLE_EVENTS = 6
"""Updates for which the encoded whole fleet is reused; a new browser receives it and the updates since then."""

SLICE_BYTES = 65_536
"""Longest part of an event that is written at once, which bounds the memory of a slow browser."""

COMPRESSION_LEVEL = 1

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of an event or a document."""

    plain: bytes
    deflated: bytes
    """The same as deflate blocks; not the end of a stream."""
    whole: bool = False
    """Whether it is the whole fleet."""


async def encode(parts: Iterable[str], *, whole: bool = True) -> Encoded:
    """Return the joined and compressed parts, marked as `whole` or not; other tasks run after each part."""
    plain: list[bytes] = []
    deflated: list[bytes] = []
    compressor = zlib.compressobj(COMPRESSION_LEVEL, wbits=-zlib.MAX_WBITS)
    for part in parts:
        plain.append(part.encode())
        deflated.append(compressor.compress(plain[-1]))
        await asyncio.sleep(0)
    deflated.append(compressor.flush(zlib.Z_FULL_FLUSH))
    return Encoded(b"".join(plain), b"".join(deflated), whole)


class Feed:
    """The events of one server. All methods run in its event loop."""

    def __init__(
        self, store: FleetStore, clock: Callable[[], float], error: Callable[[], str | None], stopping: StopEvent
    ) -> None:
        """Serve the robots of `store` at times of `clock` [s] until `stopping` is set."""
        self._store, self._clock, self._error, self._stopping = store, clock, error, stopping
        self.encodings = 0
        """Number of events encoded so far."""
        self.browsers = 0
        """Number of open streams."""
        self._number = 0
        """Number of the latest update."""
        self._version = 0
        """Version of the store at the latest update."""
        self._updates: deque[Encoded] = deque(maxlen=KEPT_EVENTS)
        self._gap_s = 0.0
        """Time between the turns of two browsers for the latest update [s]."""
        self._turns_s: dict[bool, float] = {}
        """Whether the event is the whole fleet -> time of the next turn [s]."""
        self._waiting: list[asyncio.Future[None]] = []
        self._whole: tuple[int, asyncio.Task[Encoded]] | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def stream(self, *, compressed: bool) -> AsyncIterator[bytes]:
        """Yield the whole fleet, then every `EVENT_PERIOD_S` the robots that have changed, as server-sent events."""
        self.browsers += 1
        if self._ticker is None or self._ticker.done():
            self._whole = None
            robots = self._store.robots(self._clock(), history=False)
            self._version = max((robot.version for robot in robots), default=0)
            self._ticker = asyncio.create_task(self._tick())
        try:
            if compressed:
                yield GZIP_HEADER
            seen = -1
            while not self._stopping.is_set():
                seen, event = await self._next(seen)
                data = event.deflated if compressed else event.plain
                await self._wait_for_turn(event, len(data))
                for start in range(0, len(data), SLICE_BYTES):
                    yield data[start : start + SLICE_BYTES]
                    await asyncio.sleep(0)
        finally:
            self.browsers -= 1

    async def _next(self, seen: int) -> tuple[int, Encoded]:
        """Return the event after the update `seen` and its number; the whole fleet if that update is not kept."""
        if seen == self._number and not self._stopping.is_set():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        behind = self._number - seen
        if seen >= 0 and 0 < behind <= len(self._updates):
            return seen + 1, self._updates[-behind]
        if self._whole is None or not 0 <= self._number - self._whole[0] < WHOLE_EVENTS:
            self._whole = self._number, asyncio.create_task(self._encode("all", -1))
        number, task = self._whole
        return number, await asyncio.shield(task)

    async def _wait_for_turn(self, event: Encoded, size: int) -> None:
        """Wait until some time after the previous browser's turn; the whole fleet has turns of its own."""
        gap_s = size / BYTES_PER_S if event.whole else self._gap_s
        now = asyncio.get_running_loop().time()
        turn = max(now, self._turns_s.get(event.whole, now))
        self._turns_s[event.whole] = turn + gap_s
        await asyncio.sleep(turn - now)

    async def _tick(self) -> None:
        """Encode an update in every period while a browser is connected."""
        period_s = EVENT_PERIOD_S
        while self.browsers and not self._stopping.is_set():
            await self._pause(period_s)
            begin = time.thread_time()
            update = await self._encode("update", self._version)
            encoding_s = (time.thread_time() - begin) / ENCODING_RATIO
            sending_s = self.browsers * len(update.deflated) / BYTES_PER_S
            period_s = max(EVENT_PERIOD_S, min(MAX_PERIOD_S, max(encoding_s, sending_s)))
            self._gap_s = SENDING_RATIO * period_s / max(1, self.browsers)
            self._updates.append(update)
            self._number += 1
            self._wake()
        self._wake()

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond the stop of the server."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._stopping.is_set() and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, EVENT_PERIOD_S))

    def _wake(self) -> None:
        """Wake the browsers that wait for an event."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _encode(self, name: str, since: int) -> Encoded:
        """Return the event `name` with the robots that have changed after version `since`; -1 for all."""
        self.encodings += 1
        now = self._clock()
        robots = self._store.robots(now, history=since < 0)
        if since >= 0:
            self._version = max([since, *(robot.version for robot in robots)])
        parts = fleet_parts(robots, now, self._error(), since)
        event = itertools.chain([f"event: {name}\ndata: "], parts, ["\n\n"])
        return await encode(event, whole=since < 0)
