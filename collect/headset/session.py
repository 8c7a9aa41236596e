"""One page of the headset server: its poses, round trips, and what it is shown.

`/session` carries poses as binary messages and everything else as JSON; `/images` carries images, so that neither a
pose nor a vibration waits behind one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect

from waldo.collect.console.image_line import ImageLine
from waldo.collect.headset.clock_offset import ClockOffset
from waldo.collect.headset.operator import OperatorStation
from waldo.collect.headset.pose_message import PoseMessageError, parse_pose_message
from waldo.robots.diagnostics import ERROR
from waldo.web.access import visitor_of
from waldo.web.audit import Audit
from waldo.web.rate_limit import RateLimit
from waldo.web.roles import Role

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

STATE_S = 0.1
"""Interval of states [s]."""
PULSE_S = 0.02
"""Interval at which vibrations are sent [s]."""
ROUND_TRIP_S = 0.5
"""Interval of the round trips that measure the page's clock [s]."""
FIRST_ROUND_TRIPS, FIRST_ROUND_TRIP_S = 8, 0.05
"""Number and interval [s] of the first round trips: the clock must be known before the first pose."""
MESSAGES_HZ, MESSAGES_BURST = 400.0, 800
"""Rate of a page's messages [1/s], and how many may come at once, above which it is disconnected: headsets have up to
144 frames per second."""
TOO_MANY = 4429
"""Code with which the WebSocket of a page that sends too much is closed."""
MAX_TEXT = 2048
"""Largest text message of a page [characters]."""


class HeadsetSession:
    """The session of a page."""

    def __init__(self, socket: WebSocket, station: OperatorStation, number: int, audit: Audit) -> None:
        """Serve an accepted WebSocket; `number` identifies the page."""
        self._socket, self._station, self.number, self._audit = socket, station, number, audit
        self._visitor = visitor_of(socket)
        self._offset = ClockOffset()
        self._asked_ns: dict[int, int] = {}
        """Number of a round trip that is not complete -> when it was started [ns]."""
        self._messages = RateLimit(MESSAGES_HZ, MESSAGES_BURST)

    async def run(self) -> None:
        """Serve the page until it is closed."""
        tasks = [asyncio.create_task(one()) for one in (self._send_states, self._send_pulses, self._measure)]
        self._audit.record("opened", self._visitor, page=self.number)
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._receive_all()
        finally:
            # First of all: the device's next cycle must find no hand.
            self._station.release(self.number)
            self._audit.record("closed", self._visitor, page=self.number)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # sending to a closed page fails

    async def _receive_all(self) -> None:
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            if not self._messages.allow():
                self._audit.refuse("too many messages", visitor=self._visitor, path="/session")
                await self._socket.close(TOO_MANY, "too many messages")
                return
            if (data := message.get("bytes")) is not None:
                self._receive_pose(data)
            else:
                self._receive_text(message.get("text") or "")

    def _receive_pose(self, data: bytes) -> None:
        """Store a pose; a damaged one is logged, and the page's hands count as lost."""
        try:
            message = parse_pose_message(data)
        except PoseMessageError as error:
            self._station.blur(self.number)
            self._audit.refuse(str(error), visitor=self._visitor, path="/session")
            return
        self._station.receive(self.number, message, self._offset)

    def _receive_text(self, text: str) -> None:
        now_ns = self._station.clock_ns()
        message = _parsed(text)
        kind = message.get("kind")
        if kind == "pong":
            self._complete(message, now_ns)
        elif kind == "claim":
            self._claim(force=message.get("force") is True)
        elif kind == "end":
            self._station.release(self.number)
            self._audit.record("control", self._visitor, page=self.number, control="ended")
        elif kind == "blur":
            self._station.blur(self.number)
        else:
            self._audit.refuse(f"{str(kind)[:40]}: not understood", visitor=self._visitor, path="/session")

    def _complete(self, message: dict[str, Any], now_ns: int) -> None:
        """Complete a round trip."""
        number, page_ms = message.get("number"), message.get("page_ms")
        sent_ns = self._asked_ns.pop(int(number), None) if isinstance(number, float) and number < 2**53 else None
        if sent_ns is not None and isinstance(page_ms, float):
            self._offset.add(sent_ns, page_ms, now_ns)

    def _claim(self, *, force: bool) -> None:
        """Let the page operate if its visitor may, and no other page does."""
        if self._visitor.role < Role.OPERATE:
            self._audit.refuse("claim: paired to watch", visitor=self._visitor, path="/session")
            return
        is_granted = self._station.claim(self.number, force=force and self._visitor.role >= Role.ADMINISTER)
        self._audit.record("control", self._visitor, page=self.number, control="taken" if is_granted else "refused")

    # what is sent

    async def _send_states(self) -> None:
        while True:
            await self._socket.send_text(json.dumps(self._state(), allow_nan=False))
            await asyncio.sleep(STATE_S)

    def _state(self) -> dict[str, Any]:
        condition, notices, _ = self._station.shown()
        ages = self._station.video.ages_s(self._station.clock_ns())
        operates = self._station.operates(self.number)
        return {
            "kind": "state",
            "role": "operator" if operates else "watcher",
            "rights": self._visitor.role.word,
            "taken": self._station.is_operated() and not operates,
            "word": condition.word if condition else "WAITING",
            "level": condition.level if condition else ERROR,
            "reason": "; ".join(filter(None, (condition.reason, condition.action))) if condition else "",
            "notices": [{"number": n, "text": one.text, "level": one.level} for n, one in notices],
            "ages_s": {camera: age if math.isfinite(age) else None for camera, age in ages.items()},
        }

    async def _send_pulses(self) -> None:
        """Send the vibrations that were requested while this page operates."""
        sent = max((pulse.number for pulse in self._station.shown()[2]), default=0)
        while True:
            await asyncio.sleep(PULSE_S)
            new = [pulse for pulse in self._station.shown()[2] if pulse.number > sent]
            sent = max([sent, *(pulse.number for pulse in new)])
            for pulse in new if self._station.operates(self.number) else ():
                content = {"side": pulse.side, "amplitude": pulse.amplitude, "duration_ms": 1000 * pulse.duration_s}
                await self._socket.send_text(json.dumps({"kind": "pulse", **content}, allow_nan=False))

    async def _measure(self) -> None:
        """Measure the offset of the page's clock continuously."""
        number = 0
        while True:
            number += 1
            self._asked_ns = {n: at for n, at in self._asked_ns.items() if n > number - 10}
            self._asked_ns[number] = self._station.clock_ns()
            await self._socket.send_text(json.dumps({"kind": "ping", "number": number}))
            await asyncio.sleep(FIRST_ROUND_TRIP_S if number <= FIRST_ROUND_TRIPS else ROUND_TRIP_S)


class ImageSession:
    """The images of a page, on a connection of their own."""

    def __init__(self, socket: WebSocket, station: OperatorStation) -> None:
        """Serve an accepted WebSocket."""
        self._socket, self._station = socket, station
        self._line = ImageLine(socket, station.video.images)
        self.new = self._line.new
        """Set when there may be a new image."""

    async def run(self) -> None:
        """Serve the page until it is closed."""
        task = asyncio.create_task(self._line.send())
        try:
            with contextlib.suppress(WebSocketDisconnect):
                while (message := await self._socket.receive())["type"] == "websocket.receive":
                    self._drawn(_parsed(message.get("text") or ""))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _drawn(self, message: dict[str, Any]) -> None:
        """Note an image that the page has drawn; it counts as seen by the operator only if the page operates."""
        camera, page = str(message.get("camera")), message.get("page")
        stamp_ns = self._line.shown(camera, message.get("stamp_ns"))
        if stamp_ns is not None and isinstance(page, float) and page < 2**53 and self._station.operates(int(page)):
            self._station.video.draw(camera, stamp_ns)


def _parsed(text: str) -> dict[str, Any]:
    """Return a message; an empty one for any text that is not a JSON object."""
    try:
        parsed = json.loads(text, parse_int=float) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
