"""Which streams have fallen silent: a camera whose cable came off is told to the operator while it can be mended."""

from __future__ import annotations

from dataclasses import dataclass

SILENCE_S = 0.5
"""A stream that says nothing for so long is silent [s], unless its own period is longer."""

SILENT_PERIODS = 3.0
"""So many periods of a slow stream are needed before it is silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stream that fell silent or is heard again."""

    stream: str
    silent: bool
    """True: it fell silent; False: it is back."""
    seconds: float
    """How long it has been silent so far, or was [s]."""


class SilenceWatch:
    """Watches the streams that should never pause. Time is passed in, in nanoseconds of any one clock."""

    def __init__(self) -> None:
        """Begin without streams; each is watched from its first message on."""
        self._patience_ns: dict[str, int] = {}
        self._heard_ns: dict[str, int] = {}
        self._silent: set[str] = set()

    def heard(self, stream: str, rate_hz: float, now_ns: int) -> Change | None:
        """Note a message of a stream with this nominal rate [Hz]; return the change if it had been silent."""
        before = self._heard_ns.get(stream, now_ns)
        self._heard_ns[stream] = now_ns
        if stream not in self._patience_ns:
            self._patience_ns[stream] = round(1e9 * max(SILENCE_S, SILENT_PERIODS / rate_hz))
        if stream not in self._silent:
            return None
        self._silent.remove(stream)
        return Change(stream=stream, silent=False, seconds=(now_ns - before) / 1e9)

    def check(self, now_ns: int) -> list[Change]:
        """Return the streams that have fallen silent since the last check."""
        fallen = [
            Change(stream=name, silent=True, seconds=(now_ns - heard) / 1e9)
            for name, heard in self._heard_ns.items()
            if name not in self._silent and now_ns - heard > self._patience_ns[name]
        ]
        self._silent.update(change.stream for change in fallen)
        return fallen

    @property
    def silent(self) -> frozenset[str]:
        """The streams that are silent now."""
        return frozenset(self._silent)
