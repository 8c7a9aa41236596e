"""The recorder at one moment, as shown to the operator and published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.checks.gate import Gate
from waldo.datasets import schema
from waldo.datasets.quality.finding import Finding
from waldo.errors import count
from waldo.robots.diagnostics import ERROR, OK, WARN
from waldo.ros import ns_to_stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One stream since the last status."""

    rate_hz: float
    """Messages per second."""
    nominal_hz: float
    """Nominal rate [Hz]."""
    lost: int = 0
    """Lost messages of the live episode."""
    stopped: bool = False
    """Whether its messages have stopped."""


@dataclass(frozen=True, kw_only=True)
class RecordingStatus:
    """The recorder at one moment."""

    state: str
    """State of the recorder: "idle", "recording" or "stopped"."""
    task: str
    """Instruction of the live or the next episode."""
    episode: int
    """Index of the live or the next episode."""
    saved: int
    """Number of episodes saved since the start."""
    seconds: float
    """Duration of the live episode [s]."""
    streams: Mapping[str, StreamStatus]
    """Stream -> its status."""
    waiting: int
    """Number of frames that wait for an encoder."""
    space: Space
    """Remaining recording time on the disk."""
    pending: int = 0
    """Number of saved episodes that are not finalized yet."""
    faults: tuple[str, ...] = field(default_factory=tuple[str, ...])
    """Motors and components with a warning or an error."""
    gates: tuple[Gate, ...] = ()
    """What is not in order for the next episode."""
    subtask: str = ""
    """Subtask of the live episode that was marked last."""
    next_subtask: str = ""
    """Subtask that follows; empty if the task names none."""
    breaches: tuple[Finding, ...] = ()
    """Problems of the live episode, by the rules of quality."""
    blocking: tuple[str, ...] = ()
    """Kinds of problems with which the episode is not saved as a success."""

    @property
    def lost(self) -> int:
        """Number of lost messages of the live episode."""
        return sum(stream.lost for stream in self.streams.values())

    @property
    def stopped(self) -> list[str]:
        """The streams whose messages have stopped."""
        return sorted(name for name, stream in self.streams.items() if stream.stopped)

    @property
    def level(self) -> int:
        """Diagnostic level: `OK`, `WARN` or `ERROR`."""
        if self.stopped or self.space.full:
            return ERROR
        return WARN if self.lost or self.space.low or self.breaches else OK

    @property
    def elapsed(self) -> str:
        """The duration of the live episode as minutes and seconds."""
        return f"{int(self.seconds) // 60}:{int(self.seconds) % 60:02d}"

    def __str__(self) -> str:
        """Return one line for logs and diagnostics."""
        cameras = [stream.rate_hz for name, stream in self.streams.items() if schema.is_camera(name)]
        parts = [f"{self.state} {self.task}".strip()]
        if self.seconds:
            parts.append(self.elapsed)
        if cameras:
            parts.append(f"{count(len(cameras), 'camera')} {min(cameras):.0f} Hz")
        if schema.STATE in self.streams:
            parts.append(f"joints {self.streams[schema.STATE].rate_hz:.0f} Hz")
        parts.append(f"lost {self.lost}")
        if self.stopped:
            parts.append(f"NO MESSAGES: {', '.join(self.stopped)}")
        if self.faults:
            parts.append(f"FAULTS: {', '.join(self.faults)}")
        return "  ".join([*parts, str(self.space)])


def to_message(status: RecordingStatus, robot: str, namespace: str, stamp_ns: int) -> Any:
    """Return a status as a `DiagnosticArray`, which the robot and the fleet receive on `/diagnostics`.

    Args:
        status: The status.
        robot: Name of the robot.
        namespace: Namespace of the robot.
        stamp_ns: Time of the status [ns].
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    values = {
        "state": status.state,
        "task": status.task,
        "episode": str(status.episode),
        "recording_seconds": f"{status.seconds:.1f}",
        "lost_messages": str(status.lost),
        "frames_waiting": str(status.waiting),
        "disk_seconds_left": f"{status.space.remaining_s:.0f}",
        "silent": ", ".join(status.stopped),
        "breaches": "; ".join(f"{one.kind} {one.stream}".strip() for one in status.breaches),
        **{f"{name} rate_hertz": f"{stream.rate_hz:.1f}" for name, stream in status.streams.items()},
    }
    message = DiagnosticArray()
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.status = [
        DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{robot}: recorder",
            message=str(status),
            hardware_id=namespace,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
    ]
    return message
