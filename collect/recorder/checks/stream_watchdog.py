"""Detection of streams that stop, such as a camera with a disconnected cable."""

from __future__ import annotations

from dataclasses import dataclass

TIMEOUT_S = 0.5
"""A stream without a message for this long has stopped [s], unless its own period is longer."""

TIMEOUT_PERIODS = 3.0
"""Timeout of a slow stream, in periods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChange:
    """A stream that has stopped or resumed."""

    stream: str
    stopped: bool
    """True if it stopped, False if it resumed."""
    seconds: float
    """Time without a message [s]."""


class StreamWatchdog:
    """Watches streams that must not pause. The times are arguments, in nanoseconds of any one clock."""

    def __init__(self) -> None:
        """Initialize without streams; each is watched from its first message."""
        self._timeout_ns: dict[str, int] = {}
        self._received_ns: dict[str, int] = {}
        self._stopped: set[str] = set()

    def received(self, stream: str, rate_hz: float, now_ns: int) -> StreamChange | None:
        """Register a message of a stream with this nominal rate [Hz]; return the change if it had stopped."""
        before = self._received_ns.get(stream, now_ns)
        self._received_ns[stream] = now_ns
        if stream not in self._timeout_ns:
            self._timeout_ns[stream] = round(1e9 * max(TIMEOUT_S, TIMEOUT_PERIODS / rate_hz))
        if stream not in self._stopped:
            return None
        self._stopped.remove(stream)
        return StreamChange(stream=stream, stopped=False, seconds=(now_ns - before) / 1e9)

    def check(self, now_ns: int) -> list[StreamChange]:
        """Return the streams that have stopped since the last check."""
        changes = [
            StreamChange(stream=name, stopped=True, seconds=(now_ns - received) / 1e9)
            for name, received in self._received_ns.items()
            if name not in self._stopped and now_ns - received > self._timeout_ns[name]
        ]
        self._stopped.update(change.stream for change in changes)
        return changes

    def delay(self, ns: int) -> None:
        """Extend every timeout once, after a time in which messages could not be received [ns]."""
        self._received_ns = {stream: received + ns for stream, received in self._received_ns.items()}

    @property
    def stopped(self) -> frozenset[str]:
        """The streams without messages at present."""
        return frozenset(self._stopped)
