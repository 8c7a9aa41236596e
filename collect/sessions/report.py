"""The report of a session: yield, losses, rates, heat, progress, and what to fix, as one HTML page without scripts."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waldo.collect.sessions.plan import SESSION, SessionPlan
from waldo.collect.sessions.progress import Progress
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import EpisodeReport, check_episode
from waldo.datasets.quality.finding import Finding
from waldo.datasets.quality.rules import Rules
from waldo.errors import NoMatchError
from waldo.files import atomic_file
from waldo.robots.description import load_robot
from waldo.templates import load_template

PAUSE_S = 1800.0
"""Time between two episodes from which the time does not count as time at work [s]."""

ADVICE: Mapping[str, str] = {
    "loss": "check the load of the recorder's machine, the network and the cables; waldo doctor measures them",
    "rate": "find what slows the publisher down: another program, a thermal limit, a wrong frame rate",
    "gap": "look at the same instant in the other streams: a gap in all of them is the machine's, in one its driver's",
    "jitter": "run the robot node with real-time priority, and nothing else on its machine",
    "staleness": "check the network between publisher and recorder, and their clocks",
    "silence": "wait until every stream publishes before an episode is started",
    "order": "check the publisher's clock: its stamps go back",
    "clock": "synchronize the clocks, or stamp at receipt: --stamps STREAM=receipt",
    "frozen": "check the camera's cable and driver, and list the kind in rules.yaml: block: [frozen]",
    "dark": "check lens caps, exposure and light",
    "limit": "check the calibration of the leader: it commands positions that the robot does not have",
    "clipped": "move more slowly, or raise the robot's speed limit; what is recorded is not what was commanded",
    "lag": "reduce the filters of the device, the load of the robot's machine, or the speed of the motion",
    "idle": "start and end episodes by motion: start: motion and stop: motion in the plan",
    "heat": "rest earlier: the console proposes when; reduce the load or the pose's lever",
    "not_following": "enable the robot before an episode; episodes in which it is stopped are of no use",
    "value": "check the driver: it reports numbers that are not finite",
    "checksum": "restore the file from a copy; the disk may be failing",
}
"""Kind of finding -> what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLine:
    """One episode on the page."""

    index: int
    task: str
    outcome: str
    start_s: float
    """Start after that of the session [s]."""
    duration_s: float
    lost: int
    problems: tuple[str, ...]
    """Kinds of its problems."""
    max_winding_c: float
    """Highest winding temperature [°C]; NaN if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A kind of problem and what to do about it."""

    kind: str
    episodes: int
    """Number of episodes with it."""
    example: str
    """Text of one of its findings."""
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLine:
    """One stream over the session."""

    name: str
    nominal_hz: float
    """Nominal rate [Hz]."""
    rate_hz: float
    """Median of the episodes' rates [Hz]."""
    worst_hz: float
    """Lowest rate of an episode [Hz]."""
    lost: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """What a session has brought."""

    name: str
    robot: str
    episodes: tuple[EpisodeLine, ...]
    streams: tuple[StreamLine, ...]
    fixes: tuple[Fix, ...]
    cells: tuple[tuple[str, int, int], ...]
    """Name of each cell of the plan, its episodes that count, and those that were planned."""
    work_s: float
    """Time from the first start to the last end without long pauses [s]."""
    limit_c: float
    """Lowest temperature limit of a winding [°C]; NaN if none is known."""

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(one.outcome == "success" for one in self.episodes)

    @property
    def per_hour(self) -> float:
        """Successful episodes per hour at work; NaN without time."""
        return self.successes / self.work_s * 3600 if self.work_s > 0 else math.nan

    @property
    def recorded_s(self) -> float:
        """Recorded time [s]."""
        return sum(one.duration_s for one in self.episodes)

    @property
    def lost(self) -> int:
        """Lost messages."""
        return sum(one.lost for one in self.episodes)

    @property
    def messages(self) -> int:
        """Recorded messages."""
        return sum(one.messages for one in self.streams)

    @property
    def clean(self) -> int:
        """Number of episodes without a problem."""
        return sum(not one.problems for one in self.episodes)

    @property
    def span_s(self) -> float:
        """Time from the first start to the last end [s]."""
        return max((one.start_s + one.duration_s for one in self.episodes), default=0.0)


def session_report(
    dataset: Dataset,
    plan: SessionPlan | None = None,
    rules: Rules | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SessionReport:
    """Return the report of a session.

    Args:
        dataset: The dataset.
        plan: The plan, whose episodes are reported; None for all episodes.
        rules: The rules of quality.
        progress: Called with the number of checked episodes and of all.

    Raises:
        NoMatchError: If there is no such episode.
    """
    entries = list(dataset.catalog.entries)
    if plan is not None:
        entries = [one for one in entries if dataset.episode(one.episode).attributes.get(SESSION) == plan.name]
    if not entries:
        name = "episode" if plan is None else f"episode of the session {plan.name!r}"
        raise NoMatchError(name, len(dataset.indices), "record some: waldo operate DATASET --plan PLAN.yaml")
    first_ns = min(one.start_ns for one in entries)
    lines: list[EpisodeLine] = []
    reports: list[EpisodeReport] = []
    for number, entry in enumerate(sorted(entries, key=lambda one: one.start_ns), 1):
        report = check_episode(dataset.episode(entry.episode), rules)
        reports.append(report)
        problems = {one.kind for one in report.findings if one.level == "problem"}
        lines.append(
            EpisodeLine(
                index=entry.episode,
                task=entry.task,
                outcome=entry.outcome,
                start_s=(entry.start_ns - first_ns) / 1e9,
                duration_s=entry.duration_s,
                lost=entry.lost,
                problems=tuple(sorted(problems)),
                max_winding_c=report.max_winding_c,
            )
        )
        progress(number, len(entries))
    return SessionReport(
        name=plan.name if plan else dataset.path.name,
        robot=dataset.robot,
        episodes=tuple(lines),
        streams=tuple(_streams(reports)),
        fixes=tuple(_fixes(reports)),
        cells=() if plan is None else tuple(_cells(plan, dataset)),
        work_s=_work_s(lines),
        limit_c=_limit_c(dataset.robot),
    )


def write_report(report: SessionReport, path: Path) -> None:
    """Write a report as an HTML page."""
    template = load_template(Path(__file__).with_name("report.html"), {"duration": _duration, "number": _number})
    maximum_c = max(
        [one.max_winding_c for one in report.episodes if math.isfinite(one.max_winding_c)], default=math.nan
    )
    ceiling = max(one for one in (maximum_c, report.limit_c, 40.0) if math.isfinite(one)) + 5
    page = template.render(report=report, maximum_c=maximum_c, ceiling=ceiling, finite=math.isfinite)
    with atomic_file(path) as file:
        file.write_text(page, "utf-8")


def _work_s(lines: Sequence[EpisodeLine]) -> float:
    """Return the time from the first start to the last end, without pauses longer than `PAUSE_S` [s]."""
    total_s = sum(one.duration_s for one in lines)
    for before, after in itertools.pairwise(lines):
        pause_s = after.start_s - before.start_s - before.duration_s
        total_s += pause_s if 0 < pause_s <= PAUSE_S else 0.0
    return total_s


def _streams(reports: Sequence[EpisodeReport]) -> list[StreamLine]:
    by_name = defaultdict(list)
    for report in reports:
        for stream in report.streams:
            by_name[stream.name].append(stream)
    found: list[StreamLine] = []
    for name, streams in sorted(by_name.items()):
        rates = [one.rate_hz for one in streams if math.isfinite(one.rate_hz)] or [math.nan]
        found.append(
            StreamLine(
                name=name,
                nominal_hz=streams[0].nominal_hz,
                rate_hz=float(np.median(rates)),
                worst_hz=min(rates),
                lost=sum(one.lost for one in streams),
                messages=sum(one.count for one in streams),
            )
        )
    return found


def _fixes(reports: Sequence[EpisodeReport]) -> list[Fix]:
    """Return the kinds of problems, the most frequent one first."""
    examples: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for report in reports:
        problems: list[Finding] = [one for one in report.findings if one.level == "problem"]
        counted.update({one.kind for one in problems})
        for one in problems:
            examples.setdefault(one.kind, f"episode {report.index}: {one.stream} {one.text}".replace("  ", " "))
    return [
        Fix(kind=kind, episodes=number, example=examples[kind], advice=ADVICE.get(kind, "see waldo check"))
        for kind, number in counted.most_common()
    ]


def _cells(plan: SessionPlan, dataset: Dataset) -> list[tuple[str, int, int]]:
    progress = Progress(plan, dataset)
    progress.refresh()
    return [(cell.key.strip(" /"), progress.done.get(cell.key, 0), cell.episodes) for cell in plan.cells]


def _limit_c(robot: str) -> float:
    try:
        limits = [joint.motor.winding_limit_c for joint in load_robot(robot).joints]
    except Exception:  # the robot of another installation
        return math.nan
    return min((one for one in limits if one is not None), default=math.nan)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "unknown"
