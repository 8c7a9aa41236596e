"""Supervision of a recording: stopped streams, clock jumps, disk space, and faults of the robot.

Each finding becomes a notice for the operator and an event of the episode. No ROS; all times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waldo.collect.notice import Notice
from waldo.collect.recorder.checks.clock_jump import ClockWatch
from waldo.collect.recorder.checks.disk_space import DiskWatch, Space
from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.checks.intermittent_faults import IntermittentFaults
from waldo.collect.recorder.checks.stamp_offset import StampWatch, describe
from waldo.collect.recorder.checks.start_gates import camera_gates, check_gates
from waldo.collect.recorder.checks.stream_watchdog import StreamChange, StreamWatchdog
from waldo.collect.recorder.recorder import Recorder, State
from waldo.collect.recorder.status import RecordingStatus, StreamStatus
from waldo.collect.robot_condition import ABSENT, DISCONNECTED, GONE, STATUS_TIMEOUT_S, RobotCondition, robot_condition
from waldo.collect.status_watch import FIGURE, StatusChange, StatusWatch
from waldo.datasets import schema
from waldo.datasets.quality.check import QUALITY
from waldo.datasets.quality.finding import Finding
from waldo.datasets.reading.following import CONTROL_MODE
from waldo.robots.diagnostics import CONTROL, ERROR, OK, WARN, ComponentStatus, MotorStatus, level_name

PAUSE_NS = 1_000_000_000
"""Time between two checks from which this process was paused [ns]."""

STALL_NS = 400_000_000
"""Time between two checks after which the timeouts are extended, since messages of that time are not yet read [ns]."""

LOOK_NS = 1_000_000_000
"""Interval at which the live episode is checked by the rules of quality [ns]."""

CONTROL_TIMEOUT_NS = 3_000_000_000
"""Time without a status of the robot's control after which its node is taken for absent [ns]; it sends one a second."""

MAY_PAUSE = (schema.COMMAND, schema.APPLIED, schema.ENVIRONMENT, schema.POLICY)
"""Streams that may pause: without an engaged operator there are no commands."""


def _key(control: ComponentStatus) -> tuple[int, str]:
    """Return what makes a control mode a new one: not the figures in its reason."""
    return control.level, FIGURE.sub("#", control.message)


class RecordingMonitor:
    """Supervises a recorder. In simulated time the streams' timeouts and the clock are not checked."""

    def __init__(self, recorder: Recorder, *, wall_ns: int, monotonic_ns: int, lockstep: bool = False) -> None:
        """Initialize with the wall clock and the monotonic clock at one instant [ns]."""
        self._recorder, self._lockstep = recorder, lockstep
        self._watchdog = StreamWatchdog()
        self._stamps = StampWatch()
        self._clock = ClockWatch(wall_ns, monotonic_ns)
        self._disk = DiskWatch(recorder.dataset.folder("record"))
        self._space = Space(float("inf"))
        self._motors, self._components = StatusWatch(), StatusWatch()
        self._readings: Mapping[str, MotorStatus] = {}
        self._intermittent = IntermittentFaults()
        self._status_ns = 0
        self._control: ComponentStatus | None = None
        self._control_is_new = False
        self._control_ns = self._checked_ns = monotonic_ns
        self._lapse_since_ns: int | None = None
        self._lapse_ns = 0
        self._lapse_reason = ""
        self._counts: dict[str, int] = {}
        self._counted_ns = monotonic_ns
        self._breaches: dict[tuple[str, str], Finding] = {}
        self._reported: set[tuple[str, str]] = set()
        self._look_ns = monotonic_ns

    # messages

    def received(self, stream: str, monotonic_ns: int, wall_ns: int, header_ns: int = 0) -> list[Notice]:
        """Register a message of a stream; return a notice if the stream has resumed, or has stamps of another clock.

        Args:
            stream: The stream.
            monotonic_ns: Time of the monotonic clock [ns].
            wall_ns: Time of the wall clock [ns].
            header_ns: Stamp of the message, unless it is replaced by the receipt; 0 if it has none [ns].
        """
        self._counts[stream] = self._counts.get(stream, 0) + 1
        if self._lockstep:
            return []
        notices: list[Notice] = []
        # An applied command has the stamp of the state, which stands still while the robot is disconnected.
        stamped = header_ns and stream != schema.APPLIED
        if stamped and (offset_ns := self._stamps.received(stream, header_ns, wall_ns)) is not None:
            self._add_offset(stream, offset_ns, wall_ns)
            notices.append(Notice(level=ERROR, text=describe(stream, offset_ns)))
        if stream not in MAY_PAUSE:
            change = self._watchdog.received(stream, self._recorder.rate_hz(stream), monotonic_ns)
            notices += [self._report_stream(change, wall_ns)] if change else []
        return notices

    def _add_offset(self, stream: str, offset_ns: int, at_ns: int) -> None:
        self._event(
            "stamp_offset", describe(stream, offset_ns), at_ns, stream=stream, level="error", offset_ns=offset_ns
        )

    def motors(self, statuses: Mapping[str, MotorStatus], at_ns: int) -> list[Notice]:
        """Register the statuses of the motors at a time [ns]; return a notice for each new or cleared fault."""
        self._readings = statuses
        changes = [
            self._motors.update(joint, status.level, status.message, at_ns) for joint, status in statuses.items()
        ]
        # A motor's temperature is recorded as a stream: without a fault, a change of its text is not an event.
        faults = [change for change in changes if change and (change.level > OK or change.previous_level)]
        self._intermittent.add(statuses, at_ns)
        self._status_ns = at_ns
        return self._report_statuses("motor_status", faults)

    def components(self, statuses: Mapping[str, ComponentStatus], at_ns: int) -> list[Notice]:
        """Register the statuses of the components at a time [ns]; return a notice for each new or cleared fault."""
        changes = [
            self._components.update(name, status.level, status.message, at_ns) for name, status in statuses.items()
        ]
        found = [change for change in changes if change and (change.level > OK or change.previous_level is not None)]
        if CONTROL in statuses:
            self._set_control(statuses[CONTROL], at_ns)
        return self._report_statuses("component_status", found)

    def _set_control(self, control: ComponentStatus, at_ns: int) -> None:
        """Register the control mode: a stretch in which the robot does not follow is part of the episode's record."""
        before, self._control, self._control_is_new = self._control, control, True
        if before is None or _key(before) != _key(control):
            self._add_control_mode(control, at_ns)
        if control.level > OK:
            self._lapse_reason = control.message
            if self._lapse_since_ns is None:
                self._lapse_since_ns = at_ns
        elif self._lapse_since_ns is not None:
            self._lapse_ns += at_ns - self._lapse_since_ns
            self._lapse_since_ns = None

    def _add_control_mode(self, control: ComponentStatus, at_ns: int) -> None:
        mode = control.values.get("mode", "")
        self._event(CONTROL_MODE, control.message, at_ns, mode=mode, level=level_name(control.level))

    @property
    def control(self) -> ComponentStatus | None:
        """The last status of the robot's control; None if the robot publishes none."""
        return self._control

    def lapse(self, now_ns: int) -> tuple[float, str]:
        """Return for how long the robot did not follow in this episode [s], and the last reason."""
        open_ns = now_ns - self._lapse_since_ns if self._lapse_since_ns is not None else 0
        return (self._lapse_ns + max(0, open_ns)) / 1e9, self._lapse_reason

    def condition(self, monotonic_ns: int) -> RobotCondition:
        """Return the robot's condition for its operator."""
        return robot_condition(
            self._control,
            status_age_s=0.0 if self._control_is_new else (monotonic_ns - self._control_ns) / 1e9,
            received=schema.STATE in self._counts,
            silent=schema.STATE in self._watchdog.stopped,
        )

    def trouble(self, monotonic_ns: int) -> str:
        """Return why the robot cannot follow, because it is stopped or was disconnected; empty if it can."""
        condition = self.condition(monotonic_ns)
        if condition.level < ERROR or condition == ABSENT:
            return ""
        if self._control is None or condition.word == DISCONNECTED.word:
            return condition.reason
        return self._control.message

    def episode_started(self, now_ns: int) -> None:
        """Add the present faults and the control mode to the episode that has just been started."""
        self._lapse_ns = 0
        self._breaches, self._reported = {}, set()
        if self._lapse_since_ns is not None:
            self._lapse_since_ns = now_ns
        if self._control is not None:
            self._add_control_mode(self._control, now_ns)
        for stream, offset_ns in self._stamps.offsets_ns.items():
            self._add_offset(stream, offset_ns, now_ns)
        for kind, watch in (("motor_status", self._motors), ("component_status", self._components)):
            for change in watch.faults:
                self._add_status(kind, change)

    def gates(self) -> list[Gate]:
        """Return what is not in order for an episode; the robot's own trouble is not among it."""
        faults = [one for one in (*self._motors.faults, *self._components.faults) if one.name != CONTROL]
        return [
            *check_gates(
                stopped=sorted(self._watchdog.stopped),
                offsets_ns=self._stamps.offsets_ns,
                space=self._space,
                faults=faults,
                motors=self._readings,
            ),
            *camera_gates(self._recorder.cameras),
            *self._recorder.joints.gates(),
            *self._intermittent.gates(self._status_ns),
        ]

    # checks

    def check(self, wall_ns: int, monotonic_ns: int, free_bytes: int | None = None) -> list[Notice]:
        """Check streams, clock and disk; return a notice for each finding. A full disk ends the episode, saved.

        Args:
            wall_ns: Time of the wall clock [ns].
            monotonic_ns: Time of the monotonic clock [ns].
            free_bytes: Free space, for tests; by default that of the disk.
        """
        notices: list[Notice] = []
        if not self._lockstep:
            notices += self._check_pause(wall_ns, monotonic_ns)
            notices += [self._report_stream(change, wall_ns) for change in self._watchdog.check(monotonic_ns)]
            notices += self._check_control(wall_ns, monotonic_ns)
            jump_ns = self._clock.check(wall_ns, monotonic_ns)
            if jump_ns:
                notices.append(self._report_jump(jump_ns, wall_ns))
        if self._recorder.state is State.RECORDING and monotonic_ns - self._look_ns >= LOOK_NS:
            self._look_ns = monotonic_ns
            notices += self._check_quality(wall_ns)
        before, self._space = self._space, self._disk.check(monotonic_ns / 1e9, self._recorder.nbytes, free_bytes)
        if self._space.full and self._recorder.state is not State.IDLE:
            notices.append(self._save_on_full_disk(wall_ns))
        elif self._space.low and not before.low:
            notices.append(Notice(level=WARN, text=f"{self._space}; free some space or record to another disk"))
        return notices

    def _check_pause(self, wall_ns: int, monotonic_ns: int) -> list[Notice]:
        """Report that this process did not run for a time: the streams have not stopped, it has not looked."""
        paused_ns, self._checked_ns = monotonic_ns - self._checked_ns, monotonic_ns
        if paused_ns < STALL_NS:
            return []
        self._watchdog.delay(paused_ns)
        self._control_ns += paused_ns
        if paused_ns < PAUSE_NS:
            return []
        text = f"the recorder did not run for {paused_ns / 1e9:.1f} s: messages of that time may be lost or late"
        self._event("recorder_paused", text, wall_ns, seconds=paused_ns / 1e9)
        return [Notice(level=ERROR, text=f"{text}; check the load of this machine, and that nothing suspends it")]

    def _check_control(self, wall_ns: int, monotonic_ns: int) -> list[Notice]:
        """Register that the robot is disconnected when its states or its statuses have stopped."""
        if self._control_is_new:
            self._control_is_new, self._control_ns = False, monotonic_ns
        control, age_ns = self._control, monotonic_ns - self._control_ns
        if control is None or control.values.get("mode") == GONE:
            return []
        # A robot node whose robot is disconnected sends no states, and reports why.
        silent = schema.STATE in self._watchdog.stopped and not (
            control.level >= ERROR and age_ns < STATUS_TIMEOUT_S * 1e9
        )
        if not silent and age_ns < CONTROL_TIMEOUT_NS:
            return []
        missing = "state" if silent else f"status for {CONTROL_TIMEOUT_NS / 1e9:g} s"
        text = f"{GONE}: no {missing} from the robot node"
        gone = ComponentStatus(component=CONTROL, level=ERROR, message=text, values={"mode": GONE})
        self._set_control(gone, wall_ns)
        self._control_is_new = False
        return [] if silent else [Notice(level=ERROR, text=f"robot {text}; check that waldo robot is running")]

    def _check_quality(self, wall_ns: int) -> list[Notice]:
        """Look at the live episode; return a notice for each kind of finding on a stream, once in an episode."""
        found = {(one.kind, one.stream): one for one in self._recorder.quality.look() if one.level == "problem"}
        notices: list[Notice] = []
        for key, one in found.items():
            if key not in self._reported:
                self._reported.add(key)
                text = f"{one.kind}: {one.stream}: {one.text}" if one.stream else f"{one.kind}: {one.text}"
                self._event(QUALITY, text, wall_ns, finding=one.kind, stream=one.stream, level="warning")
                notices.append(Notice(level=WARN, text=text))
        self._breaches = found
        return notices

    def status(self, monotonic_ns: int) -> RecordingStatus:
        """Return the present status; its rates are those since the last call."""
        seconds = max((monotonic_ns - self._counted_ns) / 1e9, 1e-9)
        streams = {
            name: StreamStatus(
                rate_hz=number / seconds,
                nominal_hz=self._recorder.rate_hz(name),
                lost=self._recorder.lost(name),
                stopped=name in self._watchdog.stopped,
            )
            for name, number in sorted(self._counts.items())
        }
        self._counts, self._counted_ns = dict.fromkeys(self._counts, 0), monotonic_ns
        return RecordingStatus(
            state=self._recorder.state.value,
            task=str(self._recorder.task.get("task", "")),
            episode=self._recorder.index,
            saved=self._recorder.saved,
            seconds=self._recorder.seconds,
            streams=streams,
            waiting=self._recorder.waiting,
            space=self._space,
            pending=self._recorder.dataset.pending,
            faults=tuple(one.name for one in (*self._motors.faults, *self._components.faults)),
            breaches=tuple(self._breaches.values()),
            blocking=self._recorder.config.rules.block,
        )

    # events and notices

    def _event(self, kind: str, text: str, at_ns: int, **detail: Any) -> None:
        self._recorder.event(kind, text, at_ns=at_ns, **detail)

    def _add_status(self, kind: str, change: StatusChange) -> None:
        """Add a status to the episode; the control mode has events of its own kind."""
        if change.name == CONTROL:
            return
        key = "joint" if kind == "motor_status" else "component"
        detail = {key: change.name, "level": level_name(change.level)}
        self._event(kind, f"{change.name}: {change.text}", change.at_ns, **detail)

    def _report_statuses(self, kind: str, changes: Iterable[StatusChange]) -> list[Notice]:
        """Add each change to the episode; return notices for those that are faults, or the end of one."""
        notices: list[Notice] = []
        for change in changes:
            self._add_status(kind, change)
            if change.level > OK or change.previous_level:
                text = f"{change.name}: {change.text or level_name(change.level)}"
                notices.append(Notice(level=change.level, text=text))
        return notices

    def _report_stream(self, change: StreamChange, wall_ns: int) -> Notice:
        if change.stopped:
            cause = "that waldo robot is running" if change.stream == schema.STATE else "its cable and its driver"
            text = f"no message on {change.stream} for {change.seconds:.1f} s; check {cause}"
        else:
            text = f"{change.stream} resumed after {change.seconds:.1f} s"
        kind = "stream_lost" if change.stopped else "stream_back"
        self._event(kind, text, wall_ns, stream=change.stream, seconds=change.seconds)
        return Notice(level=ERROR if change.stopped else OK, text=text)

    def _report_jump(self, jump_ns: int, wall_ns: int) -> Notice:
        text = f"the system clock jumped by {jump_ns / 1e9:+.3f} s: timestamps before and after are inconsistent"
        self._event("clock_jump", text, wall_ns, jump_ns=jump_ns)
        do = "configure chrony or systemd-timesyncd to slew the clock, and record this episode again"
        return Notice(level=ERROR, text=f"{text}; {do}")

    def _save_on_full_disk(self, wall_ns: int) -> Notice:
        text = "the disk is full: the recording was stopped"
        self._event("disk_full", text, wall_ns)
        saved = self._recorder.save("unknown", "disk_full")
        return Notice(level=ERROR, text=f"{text}; {saved}; free some space, then start again")
