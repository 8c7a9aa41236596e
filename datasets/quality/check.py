"""Check a recording: rates, gaps, loss, staleness, jitter, frozen cameras, limits, heat and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.quality.verify import verify
from waldo.datasets.reading import following
from waldo.datasets.reading.clocks import foreign_clocks
from waldo.datasets.reading.gaps import stream_gaps
from waldo.datasets.schema import APPLIED, MOTORS
from waldo.datasets.streams import ScalarStream
from waldo.errors import UnknownNameError, WaldoError, count
from waldo.robots.description import Robot, load_robot

WINDING = "winding"
"""Field of the motors' winding temperature."""

COMMANDS = (schema.COMMAND, schema.APPLIED)
"""Streams with positions that must be within the joint limits."""

NON_FINITE_ALLOWED = (schema.MOTORS, schema.POLICY)
"""Streams in which NaN means unknown or no command, and infinity means that a limit is never reached."""

CLOCK_OFFSET_S = 60.0
"""Difference between receipt and header stamp from which the two are considered to be of different clocks [s]."""

INTERMITTENT = (schema.COMMAND,)
"""Streams that are published only while an operator is engaged: gaps are expected if `joints/sent` is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits beyond which a finding is reported."""

    rate_ratio: float = 0.1
    """Largest relative deviation of a stream's mean rate from its nominal rate."""
    gap_periods: float = 2.5
    """Longest interval between two messages, in periods of the stream."""
    jitter_periods: float = 0.5
    """Largest jitter, the deviation from the period that 1 % of the intervals exceed, in periods."""
    staleness_s: float = 0.25
    """Largest age of a message at its receipt [s]."""
    silence_s: float = 0.5
    """Longest time without messages at either end of the episode [s]."""
    frozen_s: float = 0.5
    """Longest time with an unchanged image while the robot moves [s]."""
    moving_rad: float = 0.05
    """Joint movement from which the robot is considered moving [rad]."""
    limit_rad: float = 1e-4
    """Tolerance beyond a joint limit: the resolution of stored positions [rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem of an episode, or a note on it."""

    level: Literal["problem", "note"]
    """A problem makes the check fail; a note does not."""
    kind: str
    """The check that reports it: rate, gap, loss, ..."""
    stream: str
    """The stream; empty for the whole episode."""
    text: str
    """The finding and the expected value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """Timing and loss of one stream."""

    name: str
    count: int
    """Number of rows or frames."""
    lost: int
    """Number of lost messages."""
    rate_hz: float
    """Mean rate [Hz]; NaN for fewer than two messages."""
    nominal_hz: float
    """Nominal rate [Hz]."""
    longest_gap_s: float
    """Longest interval between two messages [s]."""
    jitter_s: float
    """Deviation from the period that 1 % of the intervals exceed [s]."""
    staleness_s: float
    """Largest age of a message at its receipt [s]; relative to the smallest age if the clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeReport:
    """The findings of one episode."""

    index: int
    outcome: str
    reason: str
    duration_s: float
    max_winding_c: float
    """Maximum winding temperature [°C]; NaN if not recorded."""
    streams: tuple[StreamReport, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """Number of findings that make the check fail."""
        return sum(finding.level == "problem" for finding in self.findings)


def check_dataset(dataset: Dataset, thresholds: Thresholds | None = None) -> Iterator[EpisodeReport]:
    """Yield the report of each episode; an episode that cannot be read is a problem, not an exception."""
    episodes = dataset.episodes
    for position, index in enumerate(dataset.indices):
        try:
            yield check_episode(episodes[position], thresholds)
        except WaldoError as error:
            yield _unreadable(index, str(error))


def check_episode(episode: Episode, thresholds: Thresholds | None = None) -> EpisodeReport:
    """Return the report of one episode."""
    limits = thresholds or Thresholds()
    episode.keep_arrays()
    findings = [
        Finding(level="problem", kind="checksum", stream=d.stream, text=f"{d.path}: {d.found}") for d in verify(episode)
    ]
    if findings:
        # The data is not what was recorded: further checks would only add noise.
        return _report(episode, (), findings, float("nan"))
    robot, note = _robot(episode)
    foreign = foreign_clocks(episode)
    findings += note
    findings += [Finding(level="problem", kind="clock", stream=name, text=one.text) for name, one in foreign.items()]
    # Everything else is checked as an export with the receipts of these streams would read it.
    episode = episode.with_receipt(foreign)
    streams: list[StreamReport] = []
    for name in episode.streams:
        report = stream_report(episode, name)
        streams.append(report)
        findings += _timing(episode, report, limits)
        findings += _values(episode, name)
    findings += _not_following(episode)
    for camera in episode.cameras:
        findings += _frozen(episode, camera, limits)
    if robot is not None:
        for name in COMMANDS:
            findings += _commands(episode, name, robot, limits)
    max_winding_c, heat = _heat(episode, robot)
    findings += heat
    if episode.reason == "interrupted":
        findings.append(Finding(level="note", kind="interrupted", stream="", text="the recording was interrupted"))
    return _report(episode, streams, findings, max_winding_c)


def stream_report(episode: Episode, name: str) -> StreamReport:
    """Return timing and loss of one stream."""
    header, receipt = episode.time_ns(name), episode.time_ns(name, "receipt")
    nominal = episode.streams[name].rate_hz
    steps = np.diff(header) / 1e9
    span = float(header[-1] - header[0]) / 1e9 if len(header) > 1 else 0.0
    # Intervals longer than 1.5 periods are gaps, not jitter.
    regular = np.abs(steps[steps < 1.5 / nominal] - 1 / nominal)
    age, _ = _staleness(header, receipt)
    return StreamReport(
        name=name,
        count=len(header),
        lost=episode.lost(name),
        rate_hz=(len(header) - 1) / span if span > 0 else float("nan"),
        nominal_hz=nominal,
        longest_gap_s=float(np.diff(np.sort(header)).max(initial=0)) / 1e9,
        jitter_s=float(np.quantile(regular, 0.99)) if len(regular) else 0.0,
        staleness_s=float(age.max(initial=0.0)),
    )


def _staleness(header: NDArray[np.int64], receipt: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """Return the age of each message at its receipt, (T,) [s], and whether both stamps are of one clock."""
    age = (receipt - header) / 1e9
    same_clock = not len(age) or abs(float(np.median(age))) < CLOCK_OFFSET_S
    return (age if same_clock else age - age.min()), same_clock


def _timing(episode: Episode, report: StreamReport, limits: Thresholds) -> Iterator[Finding]:
    """Check the rate, gaps, jitter, staleness, loss and coverage of a stream."""
    name, period = report.name, 1 / report.nominal_hz

    def problem(kind: str, text: str) -> Finding:
        return Finding(level="problem", kind=kind, stream=name, text=text)

    if report.lost:
        summary = episode.attributes["streams"][name]
        parts = (("in_sequence", "missing in the sequence"), ("dropped", "dropped"), ("reported", "reported"))
        how = ", ".join(f"{summary['lost_' + key]} {verb}" for key, verb in parts if summary["lost_" + key])
        yield problem("loss", f"lost {report.lost} of {count(report.count + report.lost, 'message')} ({how})")
    if not report.count:
        # The applied command is published by waldo's robot node, and by few others.
        level = "note" if name == APPLIED else "problem"
        yield Finding(level=level, kind="empty", stream=name, text="no message was recorded")
        return
    header = episode.time_ns(name)
    if report.staleness_s > limits.staleness_s:
        yield problem("staleness", f"messages are up to {report.staleness_s * 1e3:.0f} ms old when received")
    if (back := int((np.diff(header) < 0).sum())) > 0:
        yield problem("order", f"stamps decrease {count(back, 'time')}")
    if name in INTERMITTENT and APPLIED in episode.streams:
        return
    first, last = episode.span_ns
    for end, silent_s in (("first", (header.min() - first) / 1e9), ("last", (last - header.max()) / 1e9)):
        if silent_s > max(limits.silence_s, limits.gap_periods * period):
            yield problem("silence", f"no message in the {end} {silent_s:.2f} s of the episode")
    if report.count < 2:
        return
    if abs(report.rate_hz - report.nominal_hz) > limits.rate_ratio * report.nominal_hz:
        yield problem("rate", f"{report.rate_hz:.2f} Hz, expected {report.nominal_hz:g} Hz")
    if gaps := stream_gaps(episode, name, limits.gap_periods * period):
        longest = max(gaps, key=lambda gap: gap.seconds)
        yield problem("gap", f"{count(len(gaps), 'gap')}, the longest {longest.text(episode)}")
    if report.jitter_s > limits.jitter_periods * period:
        yield problem("jitter", f"{report.jitter_s * 1e3:.1f} ms of jitter with a period of {period * 1e3:.1f} ms")
    if not _staleness(header, episode.time_ns(name, "receipt"))[1]:
        text = "header and receipt stamps are of different clocks; staleness is relative to the freshest message"
        yield Finding(level="note", kind="clock", stream=name, text=text)


def _values(episode: Episode, name: str) -> Iterator[Finding]:
    """Check that the values of a scalar stream are finite; a robot may publish no velocity and no effort."""
    stream = episode.streams[name]
    if not isinstance(stream, ScalarStream) or name in NON_FINITE_ALLOWED:
        return
    for field in stream.fields:
        values = episode.values(name, field.name)
        if name == schema.STATE and field.name != "position" and len(values) and np.isnan(values).all():
            yield Finding(level="note", kind="unknown", stream=name, text=f"the robot publishes no {field.name}")
            continue
        bad = ~np.isfinite(values)
        if name in INTERMITTENT:
            # A command without any joint is valid: the operator has disengaged.
            bad &= ~bad.all(axis=1, keepdims=True)
        if bad.any():
            labels = [field.labels[i] for i in np.flatnonzero(bad.any(axis=0))]
            text = f"{field.name} is not finite in {count(int(bad.any(axis=1).sum()), 'row')} ({', '.join(labels)})"
            yield Finding(level="problem", kind="value", stream=name, text=text)


def _not_following(episode: Episode) -> Iterator[Finding]:
    """Check that the robot followed its commands."""
    for lapse in following.lapses(episode):
        at = (lapse.start_ns - episode.span_ns[0]) / 1e9
        text = f"the robot did not follow its commands for {lapse.seconds:.2f} s from {at:.2f} s ({lapse.reason})"
        yield Finding(level="problem", kind="not_following", stream="", text=text)


def _frozen(episode: Episode, camera: str, limits: Thresholds) -> Iterator[Finding]:
    """Check that a camera's image changes while the robot moves."""
    stamps, repeated = episode.time_ns(camera), episode.repeated(camera)
    for first, last in _runs(repeated):
        start, stop = int(stamps[max(first - 1, 0)]), int(stamps[last])
        if (stop - start) / 1e9 < limits.frozen_s:
            continue
        moved = _movement(episode, start, stop)
        if moved is None or moved > limits.moving_rad:
            at = (start - episode.span_ns[0]) / 1e9
            context = "" if moved is None else f" while a joint moved {moved:.2f} rad"
            text = f"the image does not change for {(stop - start) / 1e9:.2f} s from {at:.2f} s{context}"
            yield Finding(level="problem", kind="frozen", stream=camera, text=text)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _movement(episode: Episode, start_ns: int, stop_ns: int) -> float | None:
    """Return the largest movement of a joint between two stamps [rad]; None if no joints were recorded."""
    if schema.STATE not in episode.streams:
        return None
    stamps = episode.time_ns(schema.STATE)
    inside = episode.values(schema.STATE, "position")[(stamps >= start_ns) & (stamps <= stop_ns)]
    return float(np.ptp(inside, axis=0).max()) if len(inside) else None


def _commands(episode: Episode, name: str, robot: Robot, limits: Thresholds) -> Iterator[Finding]:
    """Check that commanded positions are within the joint limits."""
    stream = episode.streams.get(name)
    if not isinstance(stream, ScalarStream):
        return
    joints = {joint.name: joint for joint in robot.joints}
    position = episode.values(name, "position")
    for column, label in enumerate(episode.field(name, "position").labels):
        if label not in joints or not len(position):
            continue
        low, high = joints[label].lower, joints[label].upper
        beyond = np.maximum(low - position[:, column], position[:, column] - high)
        worst = int(np.nanargmax(np.append(beyond, -np.inf)))
        if worst < len(beyond) and beyond[worst] > limits.limit_rad:
            text = (
                f"{label} is commanded to {position[worst, column]:.3f} rad (limits {low:.3f} to {high:.3f} rad); "
                f"{count(int((beyond > limits.limit_rad).sum()), 'row')} beyond the limits"
            )
            yield Finding(level="problem", kind="limit", stream=name, text=text)


def _heat(episode: Episode, robot: Robot | None) -> tuple[float, list[Finding]]:
    """Return the maximum winding temperature [°C] and the findings on it."""
    stream = episode.streams.get(MOTORS)
    if not isinstance(stream, ScalarStream) or WINDING not in [field.name for field in stream.fields]:
        return float("nan"), []
    winding = episode.values(MOTORS, WINDING)
    known = np.where(np.isfinite(winding), winding, -np.inf)
    peaks = known.max(axis=0, initial=-np.inf)
    max_winding_c = float(peaks.max())
    findings: list[Finding] = []
    motors = {joint.name: joint.motor for joint in robot.joints} if robot is not None else {}
    for label, peak in zip(episode.field(MOTORS, WINDING).labels, peaks.tolist(), strict=True):
        limit = motors[label].winding_limit_c if label in motors else None
        if limit is not None and peak >= limit:
            text = f"the winding of {label} reached {peak:.1f} °C (limit {limit:.1f} °C)"
            findings.append(Finding(level="problem", kind="heat", stream=MOTORS, text=text))
    return (max_winding_c if np.isfinite(max_winding_c) else float("nan")), findings


def _robot(episode: Episode) -> tuple[Robot | None, list[Finding]]:
    """Return the episode's robot; None with a note if it is not registered."""
    try:
        return load_robot(episode.robot), []
    except (UnknownNameError, ModuleNotFoundError):
        text = f"robot {episode.robot!r} is not registered: limits and heat are not checked"
        return None, [Finding(level="note", kind="robot", stream="", text=text)]


def _report(
    episode: Episode,
    streams: tuple[StreamReport, ...] | list[StreamReport],
    findings: list[Finding],
    max_winding_c: float,
) -> EpisodeReport:
    return EpisodeReport(
        index=episode.index,
        # Not `episode.outcome`: the key may be absent in damaged metadata.
        outcome=str(episode.attributes.get("outcome", "")),
        reason=str(episode.attributes.get("reason", "")),
        duration_s=episode.duration_s if streams else float("nan"),
        max_winding_c=max_winding_c,
        streams=tuple(streams),
        findings=tuple(findings),
    )


def _unreadable(index: int, text: str) -> EpisodeReport:
    """Return the report of an episode that cannot be opened."""
    finding = Finding(level="problem", kind="unreadable", stream="", text=text)
    nan = float("nan")
    return EpisodeReport(
        index=index, outcome="", reason="", duration_s=nan, max_winding_c=nan, streams=(), findings=(finding,)
    )
