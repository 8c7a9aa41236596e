"""Marks of subtasks in the live episode. Their texts are those of the task, or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waldo.collect.recorder.recorder import Recorder, RecorderError, State
from waldo.datasets.episode import SUBTASK


def subtasks_of(task: Mapping[str, Any]) -> list[str]:
    """Return the subtasks in the attributes of a task, `{"task": ..., "subtasks": ["reach", "lift"]}`."""
    found = task.get("subtasks")
    return [str(one) for one in found] if isinstance(found, list) else []


class SubtaskMarks:
    """Marks the start of each subtask as an event of the episode."""

    def __init__(self, recorder: Recorder) -> None:
        """Initialize."""
        self._recorder = recorder
        self._number = 0

    def start(self, at_ns: int) -> None:
        """Begin an episode: its first subtask, if the task has any, begins with it."""
        self._number = 0
        if subtasks_of(self._recorder.task):
            self.mark(at_ns)

    def mark(self, at_ns: int) -> str:
        """Mark that the next subtask starts at a time [ns]; return its text.

        Raises:
            RecorderError: If no episode is being recorded.
        """
        if self._recorder.state is not State.RECORDING:
            raise RecorderError("a subtask is marked while an episode is recorded; start one first")
        self._number += 1
        self._recorder.event(SUBTASK, self.current, at_ns=at_ns, number=self._number)
        return self.current

    @property
    def current(self) -> str:
        """The subtask that was marked last; empty before the first mark."""
        return self._text(self._number) if self._number and self._recorder.state is not State.IDLE else ""

    @property
    def next(self) -> str:
        """The subtask that follows; empty if the task names none."""
        done = self._number if self._recorder.state is not State.IDLE else 0
        known = subtasks_of(self._recorder.task)
        return known[done] if done < len(known) else ""

    def _text(self, number: int) -> str:
        known = subtasks_of(self._recorder.task)
        return known[number - 1] if number <= len(known) else f"subtask {number}"
