"""Is a recording fit to train on? Rates, gaps, loss, staleness, jitter, frozen cameras, limits, heat, checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.quality.verify import verify
from waldo.datasets.streams import ScalarStream
from waldo.errors import UnknownNameError, WaldoError
from waldo.robots.description import Robot, load_robot

COMMANDS = ("joints/command", "joints/sent")
"""Streams whose positions must lie inside the joints' limits."""

UNKNOWN_ALLOWED = ("motors",)
"""Streams in which NaN means that nobody knows, and infinity that a limit is never reached."""

CLOCK_OFFSET_S = 60.0
"""If receipt lies farther from the header's stamp than this, the two were taken from different clocks [s]."""

AT_WILL = ("joints/command",)
"""Streams that come only while an operator's hand is on the device: their silence is no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on a recording is called bad."""

    rate_ratio: float = 0.1
    """Largest deviation of a stream's mean rate from its own description."""
    gap_periods: float = 2.5
    """Longest time between two messages, in periods of the stream."""
    jitter_periods: float = 0.5
    """Largest deviation from the period that 1 % of the intervals may exceed, in periods."""
    staleness_s: float = 0.25
    """Oldest that a message may be when it is received [s]."""
    silence_s: float = 0.5
    """Longest time that a stream may miss at either end of the episode [s]."""
    frozen_s: float = 0.5
    """Longest time that a camera may show the same picture while the robot moves [s]."""
    moving_rad: float = 0.05
    """Joint movement from which on a robot moves [rad]."""
    limit_rad: float = 1e-4
    """How far beyond a limit a command may be: the resolution of what is stored [rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about an episode that somebody should know."""

    level: Literal["problem", "note"]
    """A problem makes the check fail; a note does not."""
    kind: str
    """Which check found it: rate, gap, loss, ..."""
    stream: str
    """The stream concerned; empty for the whole episode."""
    text: str
    """What was found and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """Figures of one stream."""

    name: str
    count: int
    """Rows or frames."""
    lost: int
    """Messages that are missing."""
    rate_hz: float
    """Mean rate [Hz]; NaN for fewer than two messages."""
    nominal_hz: float
    """Rate of its description [Hz]."""
    longest_gap_s: float
    """Longest time between two messages [s]."""
    jitter_s: float
    """Deviation from the period that 1 % of the intervals exceed [s]."""
    staleness_s: float
    """Oldest message at its receipt [s]; beyond the youngest where the clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeReport:
    """What the checks say of one episode."""

    index: int
    outcome: str
    reason: str
    duration_s: float
    hottest_c: float
    """Hottest winding [°C]; NaN where none was recorded."""
    streams: tuple[StreamReport, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """How many findings make the check fail."""
        return sum(finding.level == "problem" for finding in self.findings)


def check_dataset(dataset: Dataset, thresholds: Thresholds | None = None) -> Iterator[EpisodeReport]:
    """Check the episodes of a dataset one after another; one that cannot be read is a problem, not an exception."""
    episodes = dataset.episodes
    for position, index in enumerate(dataset.indices):
        try:
            yield check_episode(episodes[position], thresholds)
        except WaldoError as error:
            yield _unreadable(index, str(error))


def check_episode(episode: Episode, thresholds: Thresholds | None = None) -> EpisodeReport:
    """Run every check on one episode."""
    limits = thresholds or Thresholds()
    findings = [
        Finding(level="problem", kind="checksum", stream=d.stream, text=f"{d.place}: {d.found}")
        for d in verify(episode)
    ]
    if findings:
        # What the bytes say is no longer what was recorded: further checks would only add noise.
        return _report(episode, (), findings, float("nan"))
    robot, note = _robot(episode)
    findings += note
    streams: list[StreamReport] = []
    for name in episode.streams:
        report = stream_report(episode, name)
        streams.append(report)
        findings += _timing(episode, report, limits)
        findings += _values(episode, name)
    for camera in episode.cameras:
        findings += _frozen(episode, camera, limits)
    if robot is not None:
        for name in COMMANDS:
            findings += _commands(episode, name, robot, limits)
    hottest, heat = _heat(episode, robot)
    findings += heat
    if episode.reason == "interrupted":
        findings.append(Finding(level="note", kind="interrupted", stream="", text="the recording was cut off"))
    return _report(episode, streams, findings, hottest)


def stream_report(episode: Episode, name: str) -> StreamReport:
    """Return the figures of one stream."""
    header, receipt = episode.time_ns(name), episode.time_ns(name, "receipt")
    nominal = episode.streams[name].rate_hz
    steps = np.diff(header) / 1e9
    span = float(header[-1] - header[0]) / 1e9 if len(header) > 1 else 0.0
    # A gap is no jitter: intervals of more than a period and a half are left to the other checks.
    regular = np.abs(steps[steps < 1.5 / nominal] - 1 / nominal)
    age, _ = _staleness(header, receipt)
    return StreamReport(
        name=name,
        count=len(header),
        lost=episode.lost(name),
        rate_hz=(len(header) - 1) / span if span > 0 else float("nan"),
        nominal_hz=nominal,
        longest_gap_s=float(steps.max(initial=0.0)),
        jitter_s=float(np.quantile(regular, 0.99)) if len(regular) else 0.0,
        staleness_s=float(age.max(initial=0.0)),
    )


def _staleness(header: NDArray[np.int64], receipt: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """Return how old each message was at its receipt [s] and whether both stamps came from one clock."""
    age = (receipt - header) / 1e9
    same_clock = not len(age) or abs(float(np.median(age))) < CLOCK_OFFSET_S
    return (age if same_clock else age - age.min()), same_clock


def _timing(episode: Episode, report: StreamReport, limits: Thresholds) -> Iterator[Finding]:
    """Check one stream's rate, gaps, jitter, staleness, loss and coverage of the episode."""
    name, period = report.name, 1 / report.nominal_hz

    def problem(kind: str, text: str) -> Finding:
        return Finding(level="problem", kind=kind, stream=name, text=text)

    if report.lost:
        summary = episode.attributes["streams"][name]
        parts = (("in_sequence", "missing in the sequence"), ("dropped", "dropped"), ("reported", "reported"))
        how = ", ".join(f"{summary['lost_' + key]} {word}" for key, word in parts if summary["lost_" + key])
        yield problem("loss", f"lost {report.lost} of {report.count + report.lost} messages ({how})")
    if not report.count:
        yield problem("empty", "nothing was recorded")
        return
    header = episode.time_ns(name)
    if report.staleness_s > limits.staleness_s:
        yield problem("staleness", f"{report.staleness_s * 1e3:.0f} ms old when received")
    if (back := int((np.diff(header) < 0).sum())) > 0:
        yield problem("order", f"stamps go back {back} times")
    if name in AT_WILL:
        return
    first, last = episode.span_ns
    for end, silent_s in (("first", (header.min() - first) / 1e9), ("last", (last - header.max()) / 1e9)):
        if silent_s > max(limits.silence_s, limits.gap_periods * period):
            yield problem("silence", f"silent for the {end} {silent_s:.2f} s of the episode")
    if report.count < 2:
        return
    if abs(report.rate_hz - report.nominal_hz) > limits.rate_ratio * report.nominal_hz:
        yield problem("rate", f"{report.rate_hz:.2f} Hz, expected {report.nominal_hz:g} Hz")
    steps = np.diff(header) / 1e9
    gaps = np.flatnonzero(steps > limits.gap_periods * period)
    if len(gaps):
        at = (header[gaps[np.argmax(steps[gaps])]] - first) / 1e9
        yield problem("gap", f"{len(gaps)} gaps, the longest {report.longest_gap_s * 1e3:.0f} ms at {at:.2f} s")
    if report.jitter_s > limits.jitter_periods * period:
        yield problem("jitter", f"{report.jitter_s * 1e3:.1f} ms off the period of {period * 1e3:.1f} ms")
    if not _staleness(header, episode.time_ns(name, "receipt"))[1]:
        text = "header and receipt were stamped by different clocks; staleness is counted from the youngest message"
        yield Finding(level="note", kind="clock", stream=name, text=text)


def _values(episode: Episode, name: str) -> Iterator[Finding]:
    """Check that a scalar stream's values are numbers."""
    stream = episode.streams[name]
    if not isinstance(stream, ScalarStream) or name in UNKNOWN_ALLOWED:
        return
    for field in stream.fields:
        bad = ~np.isfinite(episode.values(name, field.name))
        if name in AT_WILL:
            # A command that names no joint is not a bad one: the operator's hand is off.
            bad &= ~bad.all(axis=1, keepdims=True)
        if bad.any():
            labels = [field.labels[i] for i in np.flatnonzero(bad.any(axis=0))]
            text = f"{field.name} is not finite in {int(bad.any(axis=1).sum())} rows ({', '.join(labels)})"
            yield Finding(level="problem", kind="value", stream=name, text=text)


def _frozen(episode: Episode, camera: str, limits: Thresholds) -> Iterator[Finding]:
    """Check that a camera's picture changes while the robot moves."""
    stamps, repeated = episode.time_ns(camera), episode.repeated(camera)
    for first, last in _runs(repeated):
        start, stop = int(stamps[max(first - 1, 0)]), int(stamps[last])
        if (stop - start) / 1e9 < limits.frozen_s:
            continue
        moved = _movement(episode, start, stop)
        if moved is None or moved > limits.moving_rad:
            at = (start - episode.span_ns[0]) / 1e9
            why = "" if moved is None else f" while a joint moved {moved:.2f} rad"
            text = f"the same picture for {(stop - start) / 1e9:.2f} s from {at:.2f} s on{why}"
            yield Finding(level="problem", kind="frozen", stream=camera, text=text)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _movement(episode: Episode, start_ns: int, stop_ns: int) -> float | None:
    """Return how far the joint that moved most moved in a span of time [rad]; None where no joints were recorded."""
    if "joints/state" not in episode.streams:
        return None
    stamps = episode.time_ns("joints/state")
    inside = episode.values("joints/state", "position")[(stamps >= start_ns) & (stamps <= stop_ns)]
    return float(np.ptp(inside, axis=0).max()) if len(inside) else None


def _commands(episode: Episode, name: str, robot: Robot, limits: Thresholds) -> Iterator[Finding]:
    """Check that commanded positions lie inside the joints' limits."""
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
                f"{label} is commanded to {position[worst, column]:.3f} rad, outside {low:.3f} to {high:.3f} rad, "
                f"in {int((beyond > limits.limit_rad).sum())} rows"
            )
            yield Finding(level="problem", kind="limit", stream=name, text=text)


def _heat(episode: Episode, robot: Robot | None) -> tuple[float, list[Finding]]:
    """Return the hottest winding [°C] and what is to be said of it."""
    stream = episode.streams.get("motors")
    if not isinstance(stream, ScalarStream) or "winding" not in [field.name for field in stream.fields]:
        return float("nan"), []
    winding = episode.values("motors", "winding")
    known = np.where(np.isfinite(winding), winding, -np.inf)
    peaks = known.max(axis=0, initial=-np.inf)
    hottest = float(peaks.max())
    findings: list[Finding] = []
    motors = {joint.name: joint.motor for joint in robot.joints} if robot is not None else {}
    for label, peak in zip(episode.field("motors", "winding").labels, peaks.tolist(), strict=True):
        limit = motors[label].winding_limit_c if label in motors else None
        if limit is not None and peak >= limit:
            text = f"the winding of {label} reached {peak:.1f} °C, its limit is {limit:.1f} °C"
            findings.append(Finding(level="problem", kind="heat", stream="motors", text=text))
    return (hottest if np.isfinite(hottest) else float("nan")), findings


def _robot(episode: Episode) -> tuple[Robot | None, list[Finding]]:
    """Return the episode's robot; where nobody knows it, say that limits are not checked."""
    try:
        return load_robot(episode.robot), []
    except (UnknownNameError, ModuleNotFoundError):
        text = f"the robot {episode.robot!r} is not known here: limits and heat are not checked"
        return None, [Finding(level="note", kind="robot", stream="", text=text)]


def _report(
    episode: Episode, streams: tuple[StreamReport, ...] | list[StreamReport], findings: list[Finding], hottest: float
) -> EpisodeReport:
    return EpisodeReport(
        index=episode.index,
        # Not `episode.outcome`: damaged metadata may lack it.
        outcome=str(episode.attributes.get("outcome", "")),
        reason=str(episode.attributes.get("reason", "")),
        duration_s=episode.duration_s if streams else float("nan"),
        hottest_c=hottest,
        streams=tuple(streams),
        findings=tuple(findings),
    )


def _unreadable(index: int, text: str) -> EpisodeReport:
    """Return the report of an episode that cannot be opened."""
    finding = Finding(level="problem", kind="unreadable", stream="", text=text)
    nan = float("nan")
    return EpisodeReport(
        index=index, outcome="", reason="", duration_s=nan, hottest_c=nan, streams=(), findings=(finding,)
    )
