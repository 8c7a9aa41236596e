"""A session while it is recorded: the next episode of the plan, the reset between two, start and stop by motion, rests.

It is a view of the recorder like those of the operator: it sees the status and the joints, and makes requests. Time is
passed in as a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from waldo.collect.notice import Notice
from waldo.collect.recorder.checks.start_gates import OVERRIDE_S
from waldo.collect.recorder.operator_view import OperatorView
from waldo.collect.recorder.recorder import Recorder
from waldo.collect.recorder.status import RecordingStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.collect.sessions.motion import MotionWatch
from waldo.collect.sessions.plan import SESSION, Cell, SessionPlan
from waldo.collect.sessions.progress import Progress
from waldo.collect.sessions.rest import Rest, propose_rest
from waldo.errors import WaldoError
from waldo.robots.diagnostics import ERROR, OK, WARN, MotorStatus
from waldo.typing import Array

SETTLE_S = 0.5
"""Time without motion after which the robot counts as still between two episodes [s]; only then motion starts one."""
REPEAT_S = OVERRIDE_S + 1.0
"""Time after which a request that was refused is made again, if its condition still holds [s]; a start that is repeated
earlier would override what refused it."""


class RecordingSession(OperatorView):
    """Leads through a plan."""

    def __init__(
        self,
        plan: SessionPlan,
        recorder: Recorder,
        notify: Callable[[Notice], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Initialize.

        Args:
            plan: The plan.
            recorder: The recorder, whose next task it sets.
            notify: Shows a notice to the operator.
            clock: Returns the time of a monotonic clock [s].
        """
        self.plan, self._recorder, self._notify, self._clock = plan, recorder, notify, clock
        self.progress = Progress(plan, recorder.dataset)
        self.progress.refresh()
        self._motion = MotionWatch(plan.moving_rad)
        self._state = "idle"
        self._saved = recorder.saved
        self._edits = recorder.dataset.edits.nbytes
        self._must_refresh = False
        self._unread = ""
        self._counted: Mapping[str, int] | None = None
        self._upcoming: list[Cell] = []
        """Cell of each episode that is still to be recorded, for `_counted`."""
        self._cell: Cell | None = None
        self._selected = False
        self._recorded: Cell | None = None
        self._reset_until_s = -float("inf")
        self._requested_s: dict[str, float] = {}
        self._following = False
        self._ready = False
        self._was_still = False
        self._seconds = 0.0
        self._motors: Mapping[str, MotorStatus] = {}
        self._rest: Rest | None = None
        self._motion.reset(clock())
        self._select()

    # what it sees

    def condition(self, condition: RobotCondition) -> None:
        """Follow the robot's condition: only a robot that follows starts an episode."""
        self._following = condition.level == OK

    def motors(self, motors: Mapping[str, MotorStatus]) -> None:
        """Follow the heat forecast."""
        self._motors = motors

    def positions(self, position: Array) -> None:
        """Follow the joints."""
        self._motion.add(position, self._clock())

    def status(self, status: RecordingStatus) -> None:
        """Follow the recorder: count what was saved, and prepare the next episode."""
        before, self._state = self._state, status.state
        self._seconds, self._ready = status.seconds, not status.gates
        if status.state != before:
            self._requested_s.clear()  # it was fulfilled: the next one is another episode's
        if before == "idle" and status.state != "idle":
            self._recorded = self._cell
            self._motion.reset()
        if status.saved != self._saved:
            self._saved = status.saved
            if self._recorded is not None:
                self.progress.add(self._recorded.key, self._recorder.last_outcome)
            self._must_refresh = True
        if before != "idle" and status.state == "idle":
            self._reset_until_s = self._clock() + self.plan.reset_s
            self._motion.reset(self._clock())
            self._was_still = False
        self._refresh(status.pending)
        if status.state == "idle":
            self._select()
            self._propose()

    def _refresh(self, pending: int) -> None:
        """Read the dataset again when episodes have been finalized or edited."""
        try:
            edits = self._recorder.dataset.edits
            if pending or (not self._must_refresh and edits.nbytes == self._edits):
                return
            self._must_refresh, self._edits = False, edits.nbytes
            self.progress.refresh()
        except WaldoError as error:  # the recording matters more than the progress
            if str(error) != self._unread:
                self._unread = str(error)
                self._notify(Notice(level=ERROR, text=f"the progress of the session is not up to date: {error}"))

    # what it does

    def take_requests(self) -> Sequence[str]:
        """Return the start or the stop of an episode that is due."""
        now_s = self._clock()
        still_s = self._motion.still_s(now_s)
        if self._state == "recording":
            late = self.plan.max_episode_s and self._seconds >= self.plan.max_episode_s
            # An episode in which nothing has moved yet is not over.
            stopped = self.plan.stop == "motion" and self.plan.still_s <= still_s < float("inf")
            return self._request("stop", now_s) if late or stopped else ()
        if self._state != "idle" or self.plan.start != "motion" or self._cell is None:
            return ()
        if now_s < self._reset_until_s:
            self._was_still = False
            return ()
        # The motion with which the scene was arranged is not that of the episode.
        self._was_still = self._was_still or still_s >= SETTLE_S
        if self._was_still and still_s < SETTLE_S and self._following and self._ready:
            return self._request("start", now_s)
        return ()

    def _request(self, name: str, now_s: float) -> Sequence[str]:
        if now_s - self._requested_s.get(name, -float("inf")) < REPEAT_S:
            return ()
        self._requested_s[name] = now_s
        return (name,)

    def _select(self) -> None:
        """Prepare the next episode of the plan."""
        if self.progress.done is not self._counted:
            self._counted = self.progress.done
            self._upcoming = self.plan.upcoming(self._counted)
        cell = self._upcoming[0] if self._upcoming else None
        if cell is not None:
            # A robot may also publish a task.
            self._recorder.task = cell.attributes(self.plan.name)
        elif self._recorder.task.get(SESSION) == self.plan.name:  # further episodes are of no cell
            self._recorder.task = {"task": str(self._recorder.task["task"])}
        if cell == self._cell and self._selected:
            return
        self._cell, self._selected = cell, True
        if cell is None:
            text = f"the plan {self.plan.name} is complete: {self.plan.episodes} episodes"
            self._notify(Notice(level=OK, text=text, confirmation=True))
            return
        parts = [f"next: {cell.instruction}", cell.scene, cell.operator]
        text = "; ".join(part for part in parts if part)
        self._notify(Notice(level=OK, text=text, confirmation=True))

    def _propose(self) -> None:
        """Propose a rest, once for each joint and length."""
        rest = propose_rest(self._motors, self._upcoming)
        if rest is not None and rest.after == 0 and (self._rest is None or self._rest.after > 0):
            text = f"rest now for {rest.seconds / 60:.0f} min: {rest.joint} is hot, and {rest.reason}"
            self._notify(Notice(level=WARN, text=text, confirmation=True))
        self._rest = rest

    def state(self) -> dict[str, Any]:
        """Return what a page shows, as JSON."""
        # Each is read once: the recorder's thread may replace it meanwhile.
        counted, upcoming, rest = self.progress.done, self._cell, self._rest
        done = {cell.key: min(counted.get(cell.key, 0), cell.episodes) for cell in self.plan.cells}
        return {
            "name": self.plan.name,
            "done": sum(done.values()),
            "episodes": self.plan.episodes,
            "instruction": upcoming.instruction if upcoming else "",
            "scene": upcoming.scene if upcoming else "",
            "operator": upcoming.operator if upcoming else "",
            "reset_s": max(0.0, self._reset_until_s - self._clock()) if self._state == "idle" else 0.0,
            "start": self.plan.start,
            "rest": None if rest is None else asdict(rest),
            "cells": [
                {"name": cell.key.strip(" /"), "done": done[cell.key], "episodes": cell.episodes}
                for cell in self.plan.cells
            ],
        }
