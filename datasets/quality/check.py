"""Check a recording: rates, gaps, loss, staleness, jitter, cameras, limits, delay, heat and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.quality.finding import Finding, note, problem
from waldo.datasets.quality.images import LOOKS, brightness, check_dark, check_frozen, describe_dark
from waldo.datasets.quality.motion import STRETCH_S, Positions, Stretch, check_heat, check_limits, check_motion, measure
from waldo.datasets.quality.rules import Rules
from waldo.datasets.quality.timing import StreamReport, StreamTimes, check_times, report_times
from waldo.datasets.quality.verify import verify
from waldo.datasets.reading import following
from waldo.datasets.reading.clocks import foreign_clocks
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

INTERMITTENT = (schema.COMMAND,)
"""Streams that are published only while an operator is engaged: gaps are expected if `joints/sent` is recorded."""

QUALITY = "quality"
"""Kind of the event with which a recorder notes a finding during the recording."""


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


def check_dataset(dataset: Dataset, rules: Rules | None = None) -> Iterator[EpisodeReport]:
    """Yield the report of each episode; an episode that cannot be read is a problem, not an exception."""
    episodes = dataset.episodes
    for position, index in enumerate(dataset.indices):
        try:
            yield check_episode(episodes[position], rules)
        except WaldoError as error:
            yield _unreadable(index, str(error))


def check_episode(episode: Episode, rules: Rules | None = None) -> EpisodeReport:
    """Return the report of one episode."""
    limits = rules or Rules()
    episode.keep_arrays()
    findings = [problem("checksum", d.stream, f"{d.path}: {d.found}") for d in verify(episode)]
    if findings:
        # The data is not what was recorded: further checks would only add noise.
        return _report(episode, (), findings, float("nan"))
    robot, notes = _robot(episode)
    foreign = foreign_clocks(episode)
    findings += notes
    findings += [problem("clock", name, one.text) for name, one in foreign.items()]
    # Everything else is checked as an export with the receipts of these streams would read it.
    episode = episode.with_receipt(foreign)
    streams: list[StreamReport] = []
    for name in episode.streams:
        times = stream_times(episode, name)
        streams.append(report_times(times))
        may_pause = name in INTERMITTENT and APPLIED in episode.streams
        findings += check_times(times, streams[-1], limits, episode.span_ns, may_pause=may_pause)
        findings += _values(episode, name)
    findings += _not_following(episode)
    if not foreign.keys() & {schema.STATE, *COMMANDS}:
        findings += check_motion(list(_stretches(episode, limits)), limits)
    for camera in episode.cameras:
        findings += _frozen(episode, camera, limits)
        findings += _dark(episode, camera, limits)
    if robot is not None:
        for name in COMMANDS:
            findings += _commands(episode, name, robot, limits)
    max_winding_c, heat = _heat(episode, robot, limits)
    findings += heat
    findings += _noted(episode, findings)
    if episode.reason == "interrupted":
        findings.append(note("interrupted", "", "the recording was interrupted"))
    return _report(episode, streams, findings, max_winding_c)


def stream_times(episode: Episode, name: str) -> StreamTimes:
    """Return the stamps of a stream, and its losses."""
    summary = episode.attributes["streams"][name]
    parts = (("in_sequence", "missing in the sequence"), ("dropped", "dropped"), ("reported", "reported"))
    header = episode.time_ns(name)
    # Of an older layout, or of an importer: without the kinds of losses.
    how = ", ".join(f"{summary['lost_' + key]} {verb}" for key, verb in parts if summary.get("lost_" + key))
    return StreamTimes(
        name=name,
        nominal_hz=episode.streams[name].rate_hz,
        header_ns=header,
        receipt_ns=episode.time_ns(name, "receipt"),
        lost=episode.lost(name),
        how_lost=how,
        latency_ns=int(header[0] - episode.capture_ns(name)[0]) if len(header) else 0,
    )


def stream_report(episode: Episode, name: str) -> StreamReport:
    """Return timing and loss of one stream."""
    return report_times(stream_times(episode, name))


def _values(episode: Episode, name: str) -> Iterator[Finding]:
    """Check that the values of a scalar stream are finite; a robot may publish no velocity and no effort."""
    stream = episode.streams[name]
    if not isinstance(stream, ScalarStream) or name in NON_FINITE_ALLOWED:
        return
    for field in stream.fields:
        values = episode.values(name, field.name)
        if name == schema.STATE and field.name != "position" and len(values) and np.isnan(values).all():
            yield note("unknown", name, f"the robot publishes no {field.name}")
            continue
        bad = ~np.isfinite(values)
        if name in INTERMITTENT:
            # A command without any joint is valid: the operator has disengaged.
            bad &= ~bad.all(axis=1, keepdims=True)
        if bad.any():
            labels = [field.labels[i] for i in np.flatnonzero(bad.any(axis=0))]
            text = f"{field.name} is not finite in {count(int(bad.any(axis=1).sum()), 'row')} ({', '.join(labels)})"
            yield problem("value", name, text)


def _not_following(episode: Episode) -> Iterator[Finding]:
    """Check that the robot followed its commands."""
    for lapse in following.lapses(episode):
        at = (lapse.start_ns - episode.span_ns[0]) / 1e9
        text = f"the robot did not follow its commands for {lapse.seconds:.2f} s from {at:.2f} s ({lapse.reason})"
        yield problem("not_following", "", text)


def _positions(episode: Episode, name: str) -> Positions | None:
    """Return the positions of a joint stream in order of their stamps; None if they are no angles, or absent."""
    stream = episode.streams.get(name)
    fields = {one.name: one for one in stream.fields} if isinstance(stream, ScalarStream) else {}
    if "position" not in fields or fields["position"].unit != "rad":
        return None  # the actions of an imported dataset may be poses, differences or torques
    stamps, position = episode.time_ns(name), episode.values(name, "position")
    order = np.argsort(stamps, kind="stable")
    return Positions(stamp_ns=stamps[order], position=position[order])


def _stretches(episode: Episode, rules: Rules) -> Iterator[Stretch]:
    """Yield what happens in each two seconds."""
    state, command, applied = (_positions(episode, name) for name in (schema.STATE, *COMMANDS))
    if state is None or not len(state.stamp_ns):
        return
    # Of an import or another writer, which may have commands of other joints.
    joints = state.position.shape[1]
    command, applied = (one if one and one.position.shape[1] == joints else None for one in (command, applied))
    step = int(STRETCH_S * 1e9)
    first, last = int(state.stamp_ns[0]), int(state.stamp_ns[-1])
    # A clock that was set forward leaves millions of stretches without a state.
    for number in np.unique((state.stamp_ns - first) // step).tolist():
        if (start := first + number * step) <= last - step:
            yield measure(state, command, applied, start, rules)


def _frozen(episode: Episode, camera: str, rules: Rules) -> Iterator[Finding]:
    """Check that a camera's image changes while the robot moves."""
    stamps, repeated = episode.time_ns(camera), episode.repeated(camera)
    for first, last in _runs(repeated):
        start, stop = int(stamps[max(first - 1, 0)]), int(stamps[last])
        moved = _movement(episode, start, stop) if (stop - start) / 1e9 >= rules.frozen_s else None
        found = check_frozen(camera, start, stop, moved, rules, episode.span_ns[0])
        if found is not None:
            yield found


def _dark(episode: Episode, camera: str, rules: Rules) -> Iterator[Finding]:
    """Look at a few key frames of a camera; those between are looked at while it is recorded."""
    stamps = episode.time_ns(camera)
    if not len(stamps):
        return
    gop = episode.cameras[camera].gop
    keys = np.arange(0, len(stamps), gop)
    chosen = keys[np.unique(np.linspace(0, len(keys) - 1, LOOKS).round().astype(int))]
    for at in chosen.tolist():
        gray = brightness(episode.frames(camera, [at])[0])
        at_s = (int(stamps[at]) - episode.span_ns[0]) / 1e9
        if gray is not None and (text := describe_dark(gray, rules)):
            yield check_dark(camera, text, at_s)
            return


def _noted(episode: Episode, known: list[Finding]) -> Iterator[Finding]:
    """Yield the dark images that the recorder noted between those that are looked at here."""
    seen = {(one.kind, one.stream) for one in known}
    for event in episode.events:
        key = str(event.get("finding", "")), str(event.get("stream", ""))
        if event["kind"] == QUALITY and key[0] == "dark" and key not in seen:
            seen.add(key)
            yield problem(*key, str(event["text"]).partition(": ")[2])


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _movement(episode: Episode, start_ns: int, stop_ns: int) -> float | None:
    """Return the largest movement of a joint between two stamps [rad], 0 in a gap; None without a stream of states."""
    if schema.STATE not in episode.streams:
        return None
    stamps = episode.time_ns(schema.STATE)
    inside = episode.values(schema.STATE, "position")[(stamps >= start_ns) & (stamps <= stop_ns)]
    if not len(inside):
        return 0.0
    # A joint whose position is not known has not moved.
    return float(np.nan_to_num(np.fmax.reduce(inside) - np.fmin.reduce(inside)).max())


def _commands(episode: Episode, name: str, robot: Robot, rules: Rules) -> Iterator[Finding]:
    """Check that commanded positions are within the joint limits."""
    if isinstance(episode.streams.get(name), ScalarStream):
        labels = episode.field(name, "position").labels
        yield from check_limits(name, episode.values(name, "position"), labels, robot.joints, rules)


def _heat(episode: Episode, robot: Robot | None, rules: Rules) -> tuple[float, list[Finding]]:
    """Return the maximum winding temperature [°C] and the findings on it."""
    stream = episode.streams.get(MOTORS)
    if not isinstance(stream, ScalarStream) or WINDING not in [field.name for field in stream.fields]:
        return float("nan"), []
    winding = episode.values(MOTORS, WINDING)
    peaks = np.where(np.isfinite(winding), winding, -np.inf).max(axis=0, initial=-np.inf)
    max_winding_c = float(peaks.max())
    joints = robot.joints if robot is not None else ()
    labels = episode.field(MOTORS, WINDING).labels
    findings = list(check_heat(MOTORS, peaks.tolist(), labels, joints, rules))
    return (max_winding_c if np.isfinite(max_winding_c) else float("nan")), findings


def _robot(episode: Episode) -> tuple[Robot | None, list[Finding]]:
    """Return the episode's robot; None with a note if it is not registered."""
    try:
        return load_robot(episode.robot), []
    except (UnknownNameError, ModuleNotFoundError):
        text = f"robot {episode.robot!r} is not registered: limits and heat are not checked"
        return None, [note("robot", "", text)]


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
    finding = problem("unreadable", "", text)
    nan = float("nan")
    return EpisodeReport(
        index=index, outcome="", reason="", duration_s=nan, max_winding_c=nan, streams=(), findings=(finding,)
    )
