"""What goes wrong around a recording: streams that fall silent, a clock that jumps, a disk that fills.

Each is told to the operator at once and stands in the episode's events. No ROS in here; every clock is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waldo.collect.recorder.clock_jump import ClockWatch
from waldo.collect.recorder.disk_space import DiskWatch, Space
from waldo.collect.recorder.recorder import Recorder, State
from waldo.collect.recorder.stream_watchdog import Change, SilenceWatch

PAUSING = ("joints/command", "joints/sent", "environment")
"""Streams that may pause: nothing is commanded while the operator's hand is off the device."""

OK, WARN, ERROR = 0, 1, 2
"""Levels of diagnostic_msgs/DiagnosticStatus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the operator has to hear."""

    level: int
    """WARN or ERROR; OK for trouble that is over."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """The recorder at one moment, as it is shown and published."""

    state: str
    task: str
    seconds: float
    """How long the episode has been recording [s]."""
    rates_hz: Mapping[str, float]
    """Messages a second of each stream since the last status."""
    lost: int
    """Messages of the episode that are missing."""
    waiting: int
    """Frames that wait for an encoder."""
    space: Space
    silent: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def level(self) -> int:
        """OK, WARN or ERROR."""
        if self.silent or self.space.full:
            return ERROR
        return WARN if self.lost or self.space.low else OK

    def __str__(self) -> str:
        """Return one line for the operator."""
        cameras = [rate for name, rate in self.rates_hz.items() if name.startswith(("cameras/", "depth/"))]
        parts = [f"{self.state} {self.task}".strip()]
        if self.seconds:
            parts.append(f"{int(self.seconds) // 60}:{int(self.seconds) % 60:02d}")
        if cameras:
            parts.append(f"{len(cameras)} cameras {min(cameras):.0f} Hz")
        if "joints/state" in self.rates_hz:
            parts.append(f"joints {self.rates_hz['joints/state']:.0f} Hz")
        parts.append(f"lost {self.lost}")
        if self.silent:
            parts.append(f"SILENT: {', '.join(sorted(self.silent))}")
        return "  ".join([*parts, str(self.space)])


class Health:
    """Watches a recorder. In simulated time only the disk is watched: the other clocks mean nothing there."""

    def __init__(self, recorder: Recorder, *, wall_ns: int, monotonic_ns: int, lockstep: bool = False) -> None:
        """Take the recorder and the present time on the clock that stamps and on the one that only goes forward."""
        self._recorder, self._lockstep = recorder, lockstep
        self._silence = SilenceWatch()
        self._clock = ClockWatch(wall_ns, monotonic_ns)
        self._disk = DiskWatch(recorder.dataset.folder("record"))
        self._space = Space(float("inf"))
        self._counted: dict[str, int] = {}
        self._counted_ns = monotonic_ns

    def heard(self, stream: str, monotonic_ns: int, wall_ns: int) -> list[Notice]:
        """Note a message."""
        self._counted[stream] = self._counted.get(stream, 0) + 1
        if self._lockstep or stream in PAUSING:
            return []
        change = self._silence.heard(stream, self._recorder.rate_hz(stream), monotonic_ns)
        return [self._tell_silence(change, wall_ns)] if change else []

    def check(self, wall_ns: int, monotonic_ns: int, free_bytes: int | None = None) -> list[Notice]:
        """Look at everything; what is found is recorded and returned. A full disk ends the episode, saved.

        `free_bytes` stands for the disk's own figure in tests.
        """
        notices: list[Notice] = []
        if not self._lockstep:
            notices += [self._tell_silence(change, wall_ns) for change in self._silence.check(monotonic_ns)]
            jump_ns = self._clock.check(wall_ns, monotonic_ns)
            if jump_ns:
                notices.append(self._tell_jump(jump_ns, wall_ns))
        before, self._space = self._space, self._disk.check(monotonic_ns / 1e9, self._recorder.nbytes, free_bytes)
        if self._space.full and self._recorder.state is not State.IDLE:
            notices.append(self._stop_full(wall_ns))
        elif self._space.low and not before.low:
            notices.append(Notice(level=WARN, text=f"{self._space}; free some space or record elsewhere"))
        return notices

    def status(self, monotonic_ns: int) -> Status:
        """Return the present state; the rates are those since the last call."""
        seconds = max((monotonic_ns - self._counted_ns) / 1e9, 1e-9)
        rates = {name: count / seconds for name, count in sorted(self._counted.items())}
        self._counted, self._counted_ns = dict.fromkeys(self._counted, 0), monotonic_ns
        return Status(
            state=self._recorder.state.value,
            task=str(self._recorder.task.get("task", "")),
            seconds=self._recorder.seconds,
            rates_hz=rates,
            lost=self._recorder.lost,
            waiting=self._recorder.waiting,
            space=self._space,
            silent=self._silence.silent,
        )

    def _event(self, kind: str, text: str, wall_ns: int, **detail: Any) -> None:
        self._recorder.event(kind, text, at_ns=wall_ns, **detail)

    def _tell_silence(self, change: Change, wall_ns: int) -> Notice:
        if change.silent:
            text = f"{change.stream} has been silent for {change.seconds:.1f} s: is its cable in, its driver running?"
        else:
            text = f"{change.stream} is back after {change.seconds:.1f} s"
        kind = "stream_lost" if change.silent else "stream_back"
        self._event(kind, text, wall_ns, stream=change.stream, seconds=change.seconds)
        return Notice(level=ERROR if change.silent else OK, text=text)

    def _tell_jump(self, jump_ns: int, wall_ns: int) -> Notice:
        text = f"the clock jumped by {jump_ns / 1e9:+.3f} s: times before and after do not fit together"
        self._event("clock_jump", text, wall_ns, jump_ns=jump_ns)
        return Notice(level=ERROR, text=f"{text}; let chrony or systemd-timesyncd slew it, and record this again")

    def _stop_full(self, wall_ns: int) -> Notice:
        text = "the disk is full: recording stopped while what was captured still fits"
        self._event("disk_full", text, wall_ns)
        saved = self._recorder.save("unknown", "disk_full")
        return Notice(level=ERROR, text=f"{text}; {saved}; free some space, then start anew")
