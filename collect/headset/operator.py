"""What the pages of a headset server share: who operates, the newest sample, and what the operator is shown.

The server's thread stores what the pages send; the device's thread reads it in each of its cycles. Of several pages one
operates and the others watch. When the operating page is closed, hidden or blurred, its hands are not tracked any more
from that moment: the device stops in its next cycle.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from waldo.collect.devices.tracking import Side, Tracking
from waldo.collect.headset.clock_offset import ClockOffset
from waldo.collect.headset.pose_message import PoseMessage
from waldo.collect.headset.video import Video
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition

NOTICES = 8
"""Number of notices that a page shows."""
SAME_S = 1.0
"""Time within which the same notice is shown once [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """A vibration of a controller."""

    number: int
    side: Side
    amplitude: float
    """Strength, 0 to 1."""
    duration_s: float
    """Duration [s]."""


@dataclass(slots=True, kw_only=True)
class OperatorStation:
    """The state that pages and device share; its methods may be called from any thread."""

    video: Video = field(default_factory=Video)
    """The cameras' images."""
    drop_after_s: float = 0.2
    """Age of a sample from which it is dropped [s]."""
    clock_ns: Callable[[], int] = time.time_ns
    """Clock of the samples [ns]."""
    dropped: int = 0
    """Number of samples that were dropped: too old, not in order, or of a page that does not operate."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _operator: int | None = None
    _last_number: int = -1
    _tracking: Tracking | None = None
    _sees_robot: bool = False
    _notices: deque[tuple[int, Notice]] = field(default_factory=lambda: deque(maxlen=NOTICES))
    _noticed_s: float = float("-inf")
    _count: int = 0
    _condition: RobotCondition | None = None
    _pulses: deque[Pulse] = field(default_factory=lambda: deque(maxlen=8))
    _requests: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    # the pages

    def claim(self, page: int, *, force: bool = False) -> bool:
        """Let a page operate if none does, or in any case with `force`; return whether it operates."""
        with self._lock:
            if self._operator != page and (self._operator is None or force):
                self._operator, self._last_number = page, -1
                self._lose_hands()
                self.video.forget_drawn()
            return self._operator == page

    def release(self, page: int) -> None:
        """End the operation of a page: its session has ended, or its connection is lost."""
        with self._lock:
            if self._operator == page:
                self._operator = None
                self._lose_hands()

    def blur(self, page: int) -> None:
        """Stop the hands of a page that is hidden or behind something else; it still operates."""
        with self._lock:
            if self._operator == page:
                self._lose_hands()

    def operates(self, page: int) -> bool:
        """Return whether a page operates."""
        return self._operator == page

    def is_operated(self) -> bool:
        """Return whether any page operates."""
        return self._operator is not None

    def receive(self, page: int, message: PoseMessage, offset: ClockOffset) -> None:
        """Store the sample of a page; one that is too old, not in order, or of another page is dropped."""
        now_ns = self.clock_ns()
        stamp_ns = offset.stamp_ns(message.page_ms, now_ns)
        with self._lock:
            is_new = self._operator == page and message.number > self._last_number
            if not is_new or stamp_ns is None or now_ns - stamp_ns > self.drop_after_s * 1e9:
                self.dropped += 1
                return
            self._last_number = message.number
            self._sees_robot = message.sees_robot
            self._tracking = Tracking(
                stamp_ns=stamp_ns,
                number=self._next_number(),
                head=message.head,
                hands=message.hands if message.visible else {},
            )

    def stop(self) -> None:
        """Request a stop of the robot, and let go of it."""
        with self._lock:
            self._requests.append("stop_motion")
            self._lose_hands()

    def _lose_hands(self) -> None:
        if self._tracking is not None:
            self._tracking = replace(self._tracking, hands={}, number=self._next_number())

    def _next_number(self) -> int:
        return 0 if self._tracking is None else self._tracking.number + 1

    # the device

    def latest(self) -> Tracking | None:
        """Return the newest sample with the present age of the video; None before the first one."""
        with self._lock:
            tracking, sees_robot = self._tracking, self._sees_robot
        if tracking is None:
            return None
        return replace(tracking, video_age_s=self.video.age_s(self.clock_ns(), sees_robot=sees_robot))

    def notify(self, notice: Notice) -> None:
        """Show a notice; the same text is shown once when several parts of waldo report it."""
        now_s = time.monotonic()
        with self._lock:
            if self._notices and self._notices[-1][1].text == notice.text and now_s - self._noticed_s < SAME_S:
                return
            self._count += 1
            self._noticed_s = now_s
            self._notices.append((self._count, notice))

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition."""
        self._condition = condition

    def pulse(self, side: Side, amplitude: float, duration_s: float) -> None:
        """Vibrate a controller of the page that operates."""
        with self._lock:
            self._count += 1
            self._pulses.append(Pulse(number=self._count, side=side, amplitude=amplitude, duration_s=duration_s))

    def take_requests(self) -> list[str]:
        """Return the services that the pages requested since the last call."""
        with self._lock:
            found = list(self._requests)
            self._requests.clear()
        return found

    # what the pages show

    def shown(self) -> tuple[RobotCondition | None, list[tuple[int, Notice]], list[Pulse]]:
        """Return the robot's condition, the notices with their numbers, and the last vibrations."""
        with self._lock:
            return self._condition, list(self._notices), list(self._pulses)
