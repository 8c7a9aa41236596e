"""The rules of quality, applied to the episode that is being recorded.

The functions are those of `waldo check`; here their input arrives row by row. Findings that stay true (a gap, a frozen
camera) are kept; those on a mean (rate, jitter, delay) are valid until the next look. No ROS; time is that of the rows.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from waldo.collect.recorder.checks.camera_watch import CameraWatch
from waldo.datasets import schema
from waldo.datasets.quality.check import COMMANDS, INTERMITTENT, WINDING
from waldo.datasets.quality.finding import Finding, problem
from waldo.datasets.quality.motion import (
    MAX_LAG_S,
    STRETCH_S,
    Positions,
    Stretch,
    check_heat,
    check_limits,
    check_motion,
    measure,
)
from waldo.datasets.quality.rules import Rules
from waldo.datasets.quality.timing import StreamTimes, check_times, report_times
from waldo.datasets.recording.stamps import Stamps
from waldo.robots.cameras.ros_images import Image
from waldo.robots.description import Robot
from waldo.typing import Array

LOG = logging.getLogger("waldo.collect")

LOOK_S = 10.0
"""Length of the last part of the episode over which timing is checked while it is recorded [s]."""
SETTLE_S = 0.5
"""Time after which the rows of a stretch have arrived [s]."""
MIN_S = 2.0
"""Duration of an episode from which its rates are checked [s]."""
PASSING = ("rate", "jitter", "clipped", "lag", "idle", "silence")
"""Kinds of findings that are valid until the next look."""


@dataclass(slots=True)
class _Times:
    """Stamps of a stream, 16 bytes for each message of the episode."""

    header: array[int] = field(default_factory=lambda: array("q"))
    receipt: array[int] = field(default_factory=lambda: array("q"))


class LiveQuality:
    """Checks one episode while it is recorded; `begin` starts the next one."""

    def __init__(
        self,
        robot: Robot,
        rules: Rules,
        *,
        rate_hz: Callable[[str], float],
        lost: Callable[[str], int] = lambda _: 0,
    ) -> None:
        """Initialize.

        Args:
            robot: Description of the robot.
            rules: The limits.
            rate_hz: Returns the nominal rate of a stream [Hz].
            lost: Returns the number of lost messages of a stream in the episode.
        """
        self._robot, self.rules = robot, rules
        self._rate_hz, self._lost = rate_hz, lost
        self.begin(())

    def begin(self, streams: Collection[str]) -> None:
        """Forget the episode before; expect these streams in the next one."""
        self._times: dict[str, _Times] = {name: _Times() for name in streams}
        self._positions: dict[str, deque[tuple[int, Array]]] = {name: deque() for name in (schema.STATE, *COMMANDS)}
        self._stretches: list[Stretch] = []
        self._stretch_ns: int | None = None
        self._cameras = CameraWatch(self.rules)
        self._peaks_c = np.full(len(self._robot.joints), -np.inf)
        self._found: dict[tuple[str, str], Finding] = {}
        self._passing: list[Finding] = []
        self._first_ns: int | None = None
        self._has_failed = False

    # what is recorded

    def row(self, stream: str, values: Mapping[str, Array], stamps: Stamps) -> None:
        """Add a row that is recorded."""
        self._attempt(lambda: self._row(stream, values, stamps))

    def frame(self, stream: str, image: bytes | Image | None, stamps: Stamps) -> None:
        """Add an image of a camera that is recorded; None for one of H.264 that is not a key frame."""
        self._attempt(lambda: self._frame(stream, image, stamps))

    def _attempt(self, check: Callable[[], object]) -> None:
        """Run a check. If it fails, a finding reports it: an error in a rule must not cost what is recorded."""
        if self._has_failed:
            return
        try:
            check()
        except Exception as error:
            self._has_failed = True
            LOG.exception("the live check of this episode failed")
            text = f"the live check failed and has ended for this episode ({error!r}); run waldo check"
            self._keep(problem("live_check", "", text))

    def _row(self, stream: str, values: Mapping[str, Array], stamps: Stamps) -> None:
        self._add_times(stream, stamps)
        if stream == schema.MOTORS and WINDING in values:
            self._peaks_c = np.fmax(self._peaks_c, np.where(np.isfinite(values[WINDING]), values[WINDING], -np.inf))
        if stream not in self._positions:
            return
        position = np.array(values["position"], dtype=float)
        self._positions[stream].append((stamps["header_ns"], position))
        if stream == schema.STATE:
            self._add_state(stamps["header_ns"], position)

    def _frame(self, stream: str, image: bytes | Image | None, stamps: Stamps) -> None:
        self._add_times(stream, stamps)
        if image is None:
            return
        for found in self._cameras.image(stream, image, stamps["header_ns"], self._first_ns or stamps["header_ns"]):
            self._keep(found)

    # findings

    def look(self, *, complete: bool = False) -> list[Finding]:
        """Return what was found so far: of a complete episode, what `waldo check` will find."""
        self._passing = []
        self._attempt(lambda: self._look(complete))
        return [*self._found.values(), *self._passing]

    def _look(self, complete: bool) -> None:
        if complete:
            self._end()
        for name, times in self._times.items():
            self._check_stream(name, times, complete=complete)
        self._passing += check_motion(self._stretches, self.rules)
        for found in check_heat(
            schema.MOTORS, self._peaks_c.tolist(), self._robot.joint_names, self._robot.joints, self.rules
        ):
            self._keep(found)

    def _end(self) -> None:
        """Measure what has not been measured yet."""
        states = self._positions[schema.STATE]
        if states and self._stretch_ns is not None:
            self._end_stretches(max(stamp for stamp, _ in states))
            self._check_limits(
                {name: _positions(rows) for name, rows in self._positions.items() if rows}, self._stretch_ns
            )

    def blocking(self) -> list[Finding]:
        """Return the findings on the complete episode with which it is not saved as a success."""
        return [one for one in self.look(complete=True) if one.level == "problem" and one.kind in self.rules.block]

    def _keep(self, found: Finding | None) -> None:
        if found is not None and found.level == "problem":
            self._found[found.kind, found.stream] = found

    def _add_times(self, stream: str, stamps: Stamps) -> None:
        times = self._times.setdefault(stream, _Times())
        times.header.append(stamps["header_ns"])
        times.receipt.append(stamps["receipt_ns"])
        if self._first_ns is None:
            self._first_ns = stamps["header_ns"]

    def _check_stream(self, name: str, times: _Times, *, complete: bool) -> None:
        """Check the timing of a stream: of its last ten seconds, or of all of it."""
        last_ns = max((one.receipt[-1] for one in self._times.values() if one.receipt), default=0)
        first = 0 if complete else bisect_left(times.receipt, last_ns - int(LOOK_S * 1e9))
        header = np.frombuffer(times.header[first:], np.int64) if len(times.header) > first else np.empty(0, np.int64)
        receipt = np.frombuffer(times.receipt[first:], np.int64) if len(header) else header
        short = (last_ns - (self._first_ns or last_ns)) / 1e9 < MIN_S
        if not complete and (short or not len(header)):
            return  # it has just begun, or its stop is reported as such
        found = StreamTimes(
            name=name,
            nominal_hz=self._rate_hz(name),
            header_ns=header,
            receipt_ns=receipt,
            lost=self._lost(name),
        )
        span_ns = self._span_ns() if complete else (int(header.min()), int(header.max()))
        may_pause = name in INTERMITTENT and bool(self._times.get(schema.APPLIED, _Times()).header)
        for one in check_times(found, report_times(found), self.rules, span_ns, may_pause=may_pause):
            if one.kind in PASSING:
                self._passing.append(one)
            else:
                self._keep(one)

    def _span_ns(self) -> tuple[int, int]:
        """Return the first and last stamp of all streams."""
        known = [one.header for one in self._times.values() if one.header]
        return (min(min(one) for one in known), max(max(one) for one in known)) if known else (0, 0)

    def _add_state(self, at_ns: int, position: Array) -> None:
        self._cameras.state(position)
        if not np.isfinite(position).all():
            bad = np.flatnonzero(~np.isfinite(position)).tolist()
            names = ", ".join(self._robot.joint_names[k] for k in bad)
            self._keep(problem("value", schema.STATE, f"the position of {names} is not finite"))
        if self._stretch_ns is None:
            self._stretch_ns = at_ns
        # Half a second later, so that commands that were on their way are included.
        self._end_stretches(at_ns - int(SETTLE_S * 1e9))

    def _end_stretches(self, until_ns: int) -> None:
        """Measure the stretches that have ended by a time."""
        step_ns = int(STRETCH_S * 1e9)
        while self._stretch_ns is not None and self._stretch_ns + step_ns <= until_ns:
            self._end_stretch(self._stretch_ns)
            self._stretch_ns += step_ns
            # A clock that is set forward leaves millions of stretches without a state.
            later = [stamp for stamp, _ in self._positions[schema.STATE] if stamp >= self._stretch_ns]
            self._stretch_ns += (min(later, default=until_ns) - self._stretch_ns) // step_ns * step_ns

    def _end_stretch(self, start_ns: int) -> None:
        known = {name: _positions(rows) for name, rows in self._positions.items() if rows}
        state, command, applied = (known.get(name) for name in (schema.STATE, *COMMANDS))
        if state is None:
            return
        self._stretches.append(measure(state, command, applied, start_ns, self.rules))
        self._check_limits(known, start_ns)
        oldest_ns = start_ns + int((STRETCH_S - MAX_LAG_S) * 1e9)
        for rows in self._positions.values():
            # One row before is kept: it is the command that is valid then.
            while len(rows) > 1 and rows[1][0] < oldest_ns:
                rows.popleft()

    def _check_limits(self, known: Mapping[str, Positions], start_ns: int) -> None:
        """Check the commands of a stretch, or of what follows the last one."""
        for name in COMMANDS:
            if name in known:
                inside = known[name].between(start_ns, start_ns + int((STRETCH_S + SETTLE_S) * 1e9))
                names, joints = self._robot.joint_names, self._robot.joints
                for found in check_limits(name, inside.position, names, joints, self.rules):
                    self._keep(found)


def _positions(rows: deque[tuple[int, Array]]) -> Positions:
    ordered = sorted(rows, key=lambda row: row[0])
    return Positions(
        stamp_ns=np.array([stamp for stamp, _ in ordered], np.int64),
        position=np.array([position for _, position in ordered]),
    )
