"""The operator's requests to the recorder, and the conditions under which they are refused or must be confirmed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.checks.start_gates import StartGates
from waldo.collect.recorder.recorder import Recorder, RecorderError, State
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.recorder.subtask_marks import SubtaskMarks
from waldo.datasets.reading.following import MIN_LAPSE_S


class RecorderRequests:
    """Starts and ends episodes; an episode in which the robot did not follow is not saved as a success unasked."""

    def __init__(
        self,
        recorder: Recorder,
        monitor: RecordingMonitor,
        *,
        expected: Callable[[], Sequence[str]],
        drain: Callable[[], None],
        now_ns: Callable[[], int],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        tasks: Sequence[Mapping[str, Any]] = (),
        gates: Callable[[], Sequence[Gate]] = tuple,
    ) -> None:
        """Initialize.

        Args:
            recorder: The recorder.
            monitor: Supervision of the recording.
            expected: Returns the streams that have a publisher.
            drain: Records everything that was published before its call.
            now_ns: Returns the time of the robot's messages [ns].
            monotonic_ns: Returns the time of the monitor's monotonic clock [ns].
            tasks: Attributes of the episodes, among which the operator chooses; the first is that of the next episode.
            gates: Returns what is not in order for an episode; a start is then refused once.
        """
        self._recorder, self._monitor = recorder, monitor
        self._expected, self._drain = expected, drain
        self._now_ns, self._monotonic_ns = now_ns, monotonic_ns
        self._tasks = list(tasks)
        self._gates = StartGates(gates)
        self.subtasks = SubtaskMarks(recorder)
        """The subtasks of the live episode."""
        self._unconfirmed = True
        self._lapse: str | None = None
        if self._tasks:
            recorder.task = self._tasks[0]

    @property
    def actions(self) -> Mapping[str, Callable[[], str]]:
        """Request -> the function that fulfills it and returns a confirmation for the operator."""
        return {
            "start": self.start,
            "stop": self.stop,
            "save": self.save,
            "fail": self.fail,
            "keep": self.keep,
            "discard": self._recorder.discard,
            "undo": self._recorder.undo,
            "next_task": self.next_task,
            "mark": self.mark,
        }

    def start(self) -> str:
        """Start an episode; refused while the robot is stopped or disconnected."""
        if trouble := self._monitor.trouble(self._monotonic_ns()):
            raise RecorderError(f"cannot start: the robot is {trouble}")
        # What cannot be overridden comes first.
        self._recorder.check_start(self._expected())
        reason, overridden = self._gates.refusal(self._monotonic_ns() / 1e9)
        if reason:
            raise RecorderError(f"cannot start: {reason}")
        text = self._recorder.start(self._expected())
        for gate in overridden:
            detail = f"{gate.name}: {gate.reason}"
            self._recorder.event("gate_overridden", detail, at_ns=self._now_ns(), gate=gate.name, level="warning")
        self._monitor.episode_started(self._now_ns())
        self.subtasks.start(self._now_ns())
        self._unconfirmed, self._lapse = True, None
        return text

    def mark(self) -> str:
        """Mark the start of the next subtask."""
        return self.subtasks.mark(self._now_ns())

    def save(self) -> str:
        """Save the episode as a success; one in which the robot did not follow must be confirmed by a second call."""
        self._drain()
        lapse = self._describe_lapse() if self._lapse is None else self._lapse
        if self._recorder.state is not State.IDLE and lapse and self._unconfirmed:
            self._unconfirmed = False
            raise RecorderError(f"{lapse}: fail or discard the episode, or save it again to keep it as a success")
        if self._recorder.state is not State.IDLE and (found := self._recorder.quality.blocking()):
            reasons = "; ".join(f"{one.kind}: {one.stream} {one.text}".replace("  ", " ") for one in found)
            raise RecorderError(f"{reasons}: discard the episode, or save it as a failure")
        return self._recorder.save("success")

    def fail(self) -> str:
        """Save the episode as a failure."""
        self._drain()
        return self._recorder.save("failure")

    def keep(self) -> str:
        """Save the episode without judging it."""
        self._drain()
        return self._recorder.save("unknown")

    def stop(self) -> str:
        """Close the episode, whose outcome is still to be decided."""
        self._drain()
        text = self._recorder.stop()
        self._lapse = self._describe_lapse()
        return text

    def _describe_lapse(self) -> str:
        """Return how long and why the robot did not follow in this episode, or cannot follow now; empty if neither."""
        seconds, reason = self._monitor.lapse(self._now_ns())
        if seconds >= MIN_LAPSE_S:
            return f"the robot did not follow its commands for {seconds:.1f} s ({reason})"
        trouble = self._monitor.trouble(self._monotonic_ns())
        return f"the robot is {trouble}" if trouble else ""

    def next_task(self) -> str:
        """Select the next of the instructions that were given at the start."""
        if self._recorder.state is not State.IDLE:
            raise RecorderError("the instruction can be changed between episodes; save, fail or discard this one first")
        if len(self._tasks) < 2:
            raise RecorderError('there is no other instruction; pass several: --task "lift the cube" "open the drawer"')
        # An instruction that the robot has published since is not one of them: the first one follows it.
        index = self._tasks.index(self._recorder.task) + 1 if self._recorder.task in self._tasks else 0
        self._recorder.task = self._tasks[index % len(self._tasks)]
        return str(self._recorder.task.get("task", ""))
