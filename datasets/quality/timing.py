"""Timing and loss of a stream: rate, gaps, jitter, staleness, order and coverage of the episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.quality.finding import Finding, note, problem
from waldo.datasets.quality.rules import Rules
from waldo.datasets.reading.gaps import gaps_of
from waldo.datasets.schema import APPLIED
from waldo.errors import count

CLOCK_OFFSET_S = 60.0
"""Difference between receipt and header stamp from which the two are considered to be of different clocks [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """The stamps of a stream's messages, and how many are missing."""

    name: str
    nominal_hz: float
    """Nominal rate [Hz]."""
    header_ns: NDArray[np.int64]
    """The publishers' stamps in order of arrival, shape (T,) [ns since the epoch]."""
    receipt_ns: NDArray[np.int64]
    """Times of receipt, shape (T,) [ns since the epoch]."""
    lost: int
    """Number of lost messages."""
    how_lost: str = ""
    """How they were lost, such as "3 missing in the sequence"."""
    latency_ns: int = 0
    """Delay of a camera between exposure and stamp [ns]."""


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


def report_times(times: StreamTimes) -> StreamReport:
    """Return timing and loss of a stream."""
    header = times.header_ns
    steps = np.diff(header) / 1e9
    span = float(header[-1] - header[0]) / 1e9 if len(header) > 1 else 0.0
    # Intervals longer than 1.5 periods are gaps, not jitter.
    regular = np.abs(steps[steps < 1.5 / times.nominal_hz] - 1 / times.nominal_hz)
    age, _ = _staleness(header, times.receipt_ns)
    return StreamReport(
        name=times.name,
        count=len(header),
        lost=times.lost,
        rate_hz=(len(header) - 1) / span if span > 0 else float("nan"),
        nominal_hz=times.nominal_hz,
        longest_gap_s=float(np.diff(np.sort(header)).max(initial=0)) / 1e9,
        jitter_s=float(np.quantile(regular, 0.99)) if len(regular) else 0.0,
        staleness_s=float(age.max(initial=0.0)),
    )


def check_times(
    times: StreamTimes, report: StreamReport, rules: Rules, span_ns: tuple[int, int], *, may_pause: bool
) -> Iterator[Finding]:
    """Yield the findings on a stream's timing.

    Args:
        times: The stamps.
        report: The report of these stamps.
        rules: The limits.
        span_ns: First and last stamp of the episode [ns since the epoch].
        may_pause: Whether the stream is published only at times, so that gaps are expected.
    """
    name, period = report.name, 1 / report.nominal_hz
    if report.lost > rules.lost_messages:
        how = f" ({times.how_lost})" if times.how_lost else ""
        yield problem("loss", name, f"lost {report.lost} of {count(report.count + report.lost, 'message')}{how}")
    if not report.count:
        # The applied command is published by waldo's robot node, and by few others.
        make = note if name == APPLIED else problem
        yield make("empty", name, "no message was recorded")
        return
    if report.staleness_s > rules.staleness_s:
        yield problem("staleness", name, f"messages are up to {report.staleness_s * 1e3:.0f} ms old when received")
    if (back := int((np.diff(times.header_ns) < 0).sum())) > 0:
        yield problem("order", name, f"stamps decrease {count(back, 'time')}")
    if may_pause:
        return
    yield from _coverage(times, rules, span_ns)
    if report.count < 2:
        return
    if abs(report.rate_hz - report.nominal_hz) > rules.rate_ratio * report.nominal_hz:
        yield problem("rate", name, f"{report.rate_hz:.2f} Hz, expected {report.nominal_hz:g} Hz")
    if gaps := gaps_of(times.header_ns - times.latency_ns, rules.gap_periods * period):
        longest = max(gaps, key=lambda gap: gap.seconds)
        yield problem("gap", name, f"{count(len(gaps), 'gap')}, the longest {longest.after(span_ns[0])}")
    if report.jitter_s > rules.jitter_periods * period:
        text = f"{report.jitter_s * 1e3:.1f} ms of jitter with a period of {period * 1e3:.1f} ms"
        yield problem("jitter", name, text)
    if not _staleness(times.header_ns, times.receipt_ns)[1]:
        text = "header and receipt stamps are of different clocks; staleness is relative to the freshest message"
        yield note("clock", name, text)


def _coverage(times: StreamTimes, rules: Rules, span_ns: tuple[int, int]) -> Iterator[Finding]:
    first, last = span_ns
    header = times.header_ns
    for end, silent_s in (("first", (header.min() - first) / 1e9), ("last", (last - header.max()) / 1e9)):
        if silent_s > max(rules.silence_s, rules.gap_periods / times.nominal_hz):
            yield problem("silence", times.name, f"no message in the {end} {silent_s:.2f} s of the episode")


def _staleness(header: NDArray[np.int64], receipt: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """Return the age of each message at its receipt, (T,) [s], and whether both stamps are of one clock."""
    age = (receipt - header) / 1e9
    same_clock = not len(age) or abs(float(np.median(age))) < CLOCK_OFFSET_S
    return (age if same_clock else age - age.min()), same_clock
