"""One page of the console: what it has been sent, and what it requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect

from waldo.collect.console.image_line import ImageLine
from waldo.collect.console.review import MAX_INDEX, EpisodeReview
from waldo.collect.console.view import STOP, ConsoleView
from waldo.errors import WaldoError
from waldo.web.access import visitor_of
from waldo.web.audit import Audit
from waldo.web.rate_limit import RateLimit
from waldo.web.roles import Role
from waldo.web.stops import StopLine

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

STATE_S = 0.1
"""Shortest interval between two states [s]."""
REPEAT_S = 1.0
"""Longest interval between two states [s], by which a page notices that the connection is lost."""
REQUESTS_HZ, REQUESTS_BURST = 20.0, 40
"""Rate of a page's requests [1/s], and how many may come at once; further ones are dropped, except a stop."""
MESSAGES_HZ, MESSAGES_BURST = 500.0, 1000
"""Rate of all messages of a page, with the acknowledgments of images [1/s], above which it is disconnected."""
TOO_MANY = 4429
"""Code with which the WebSocket of a page that sends too much is closed."""


class Session:
    """One page: what it has been sent, and what it requests."""

    def __init__(
        self,
        socket: WebSocket,
        view: ConsoleView,
        number: int,
        stops: StopLine,
        audit: Audit,
        *,
        review: EpisodeReview | None = None,
        max_text: int,
    ) -> None:
        """Serve an accepted WebSocket.

        Args:
            socket: The page.
            view: What it shows.
            number: Identifies the page.
            stops: Where its stops go.
            audit: The audit log.
            review: The episodes that the page can change; None if it cannot.
            max_text: Largest message [characters].
        """
        self._socket, self._view, self.number = socket, view, number
        self._review = review
        self._visitor, self._stops, self._audit, self._max_text = visitor_of(socket), stops, audit, max_text
        self._changed = asyncio.Event()
        self._images = ImageLine(socket, view.images, view.units)
        self._replies: deque[str] = deque(maxlen=10)
        self._edits: list[asyncio.Task[None]] = []
        self._edit_lock = asyncio.Lock()
        self._messages = RateLimit(MESSAGES_HZ, MESSAGES_BURST)
        self._requests = RateLimit(REQUESTS_HZ, REQUESTS_BURST)

    async def run(self) -> None:
        """Serve the page until it is closed."""
        loop = asyncio.get_running_loop()

        def wake(is_image: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the server has been stopped
                loop.call_soon_threadsafe((self._images.new if is_image else self._changed).set)

        operates = self._visitor.role >= Role.OPERATE
        self._view.open_page(self.number, self._visitor.label, wake, may_operate=operates)
        self._audit.record("opened", self._visitor, page=self.number)
        sending = [asyncio.create_task(self._send_states()), asyncio.create_task(self._images.send())]
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._receive_all()
        finally:
            self._view.close_page(self.number)
            self._audit.record("closed", self._visitor, page=self.number)
            for task in sending:
                task.cancel()
            # Sending to a page that has just been closed fails; its changes are completed.
            await asyncio.gather(*sending, *self._edits, return_exceptions=True)

    async def _receive_all(self) -> None:
        """Receive messages until the page is closed, or sends too many."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            if (edit := self._receive(message.get("text"))) is not None:
                # Beside this loop: a slow disk must not delay a stop that follows.
                self._edits.append(asyncio.create_task(self._edit(edit)))
                self._edits = [one for one in self._edits if not one.done()]
            if not self._messages.allow():
                self._audit.refuse("too many messages", visitor=self._visitor, path="/session")
                await self._socket.close(TOO_MANY, "too many messages")
                return

    def _receive(self, text: str | None) -> dict[str, Any] | None:
        """Handle a message of the page; return a change of an episode, which takes time.

        One that is not understood is answered and logged.
        """
        message = _parsed(text, self._max_text)
        kind = message.get("kind")
        if kind == "shown":
            self._images.shown(str(message.get("camera")), message.get("stamp_ns"))
        elif kind == "request" and message.get("name") == STOP:
            self._stops.stop(self._visitor)
        elif kind == "decodes":
            self._images.decodes_h264 = message.get("h264") is True
            self._images.new.set()
        elif not self._requests.allow():
            self._reject("too many requests; this one was dropped", kind)
        elif kind == "request":
            self._request(str(message.get("name")), message.get("server_s"))
        elif kind == "edit" and self._review is not None:
            return message
        elif kind == "take_control":
            self._take_control(force=message.get("force") is True)
        elif kind == "hand_over":
            self._view.hand_over(self.number)
            self._audit.record("control", self._visitor, page=self.number, control="handed over")
        else:
            self._reject("a message that is not understood was dropped; reload the page", kind)
        return None

    async def _edit(self, message: dict[str, Any]) -> None:
        """Change an episode, if this page operates."""
        index, change = _index_of(message.get("episode")), message.get("change")
        if self._visitor.role < Role.OPERATE or not self._view.operates(self.number):
            self._reject("only the page that operates changes episodes; take control first", "edit")
        elif self._review is None or index is None or not isinstance(change, dict):
            self._reject("a message that is not understood was dropped; reload the page", "edit")
        else:
            try:
                async with self._edit_lock:  # in the order in which they were made
                    text = await asyncio.to_thread(self._review.edit, index, change)
            except Exception as error:  # whatever it is, the operator must know that nothing was changed
                text = str(error) if isinstance(error, WaldoError | OSError) else repr(error)
                self._reject(f"the episode was not changed: {text}", "edit")
                return
            self._audit.record("edit", self._visitor, page=self.number, episode=index, change=change)
            self._view.edited(text)

    def _request(self, name: str, sent_s: object) -> None:
        """Make a request of the page, unless its visitor only watches."""
        if self._visitor.role < Role.OPERATE:
            self._reject("this browser is paired to watch; pair it again to operate", name)
            return
        age_s = time.time() - sent_s if isinstance(sent_s, float) else float("inf")
        if reason := self._view.request(self.number, name, age_s):
            self._reject(reason, name)
        else:
            self._audit.record("request", self._visitor, page=self.number, request=name)

    def _take_control(self, *, force: bool) -> None:
        if self._visitor.role < Role.OPERATE:
            self._reject("this browser is paired to watch; pair it again to operate", "take_control")
        elif force and self._visitor.role < Role.ADMINISTER:
            self._reject("only an administrator may take control by force", "take_control")
        else:
            if force:
                self._view.force_control(self.number)
            else:
                self._view.take_control(self.number)
            self._audit.record("control", self._visitor, page=self.number, control="forced" if force else "asked")

    def _reject(self, reason: str, subject: object) -> None:
        """Show on the page, and log, why something it sent was refused."""
        self._replies.append(reason)
        self._changed.set()
        self._audit.refuse(f"{str(subject)[:40]}: {reason}", visitor=self._visitor, path="/session")

    async def _send_states(self) -> None:
        while True:
            state = self._view.state(self.number)
            replies = list(self._replies)
            self._replies.clear()
            state |= {"server_s": time.time(), "latency_s": self._images.latency_s(), "replies": replies}
            state |= {"rights": self._visitor.role.word}
            await self._socket.send_text(json.dumps(state, allow_nan=False))
            await asyncio.sleep(STATE_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPEAT_S - STATE_S)
            self._changed.clear()


def _index_of(value: object) -> int | None:
    """Return the index of an episode in a message; None if it is none. Every number of a message is a float."""
    is_index = isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_INDEX
    return int(value) if isinstance(value, float) and is_index else None


def _parsed(text: str | None, max_text: int) -> dict[str, Any]:
    """Return a message; an empty one for any text that is not a JSON object."""
    if text is None or len(text) > max_text:
        return {}
    try:
        # Integers of thousands of digits cannot be converted to a time.
        parsed = json.loads(text, parse_int=float)
    except (ValueError, RecursionError, OverflowError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
