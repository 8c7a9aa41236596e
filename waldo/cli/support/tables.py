"""Terminal output of the commands of the episode store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from waldo.console import out
from waldo.errors import count
from waldo.files import format_bytes

if TYPE_CHECKING:
    from waldo.datasets.catalog import Entry
    from waldo.datasets.quality.check import EpisodeReport, StreamReport
    from waldo.datasets.recording.recover import Recovered

MARKS = {"problem": "[red]problem[/red]", "note": "[yellow]note[/yellow]"}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with right-aligned numbers; unlike rich's own tables, it is never truncated."""
    cells = [["-" if str(value) == "nan" else str(value) for value in row] for row in rows]
    lines: list[list[str]] = [list(columns), *cells]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    numeric = [
        all(row[position][:1].isdigit() or row[position] in ("", "-") for row in cells)
        for position in range(len(columns))
    ]
    out().print(f"[italic]{escape(title)}[/italic]")
    for number, line in enumerate(lines):
        text = "  ".join(
            cell.rjust(width) if right and cells else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        out().print(escape(text.rstrip()), style="bold" if number == 0 else None)
    out().print()


def print_info(info: Mapping[str, Any]) -> None:
    """Print the contents of a dataset."""
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(info["outcomes"].items())) or "none"
    deleted = f", {info['deleted']} deleted" if info["deleted"] else ""
    max_winding_c = info["max_winding_c"]
    heat = f", max. winding temperature {max_winding_c:.1f} °C" if max_winding_c is not None else ""
    out().print(
        f"{escape(info['path'])}: robot {escape(info['robot'])}, "
        f"{count(info['episodes'], 'episode')} ({outcomes}){deleted}, {info['duration_s'] / 60:.1f} min, "
        f"{format_bytes(info['bytes'])}, {count(info['lost'], 'message')} lost{heat}\n"
    )
    streams = [
        (name, ", ".join(f"{rate:g}" for rate in s["rates_hz"]), s["episodes"], "; ".join(s["holds"]))
        for name, s in info["streams"].items()
    ]
    table("streams", ("stream", "Hz", "episodes", "contents"), streams)
    table("tasks", ("task", "episodes"), list(info["tasks"].items()))
    for camera, latency in info["latency_ns"].items():
        out().print(f"{escape(camera)}: {latency / 1e6:.1f} ms latency (exposure to timestamp)")
    _print_unreadable(info["unreadable"])
    _print_cut(info["unfinished"])


def print_entries(entries: Sequence[Entry], unreadable: Mapping[int, str]) -> None:
    """Print one line per episode."""
    columns = ("episode", "outcome", "reason", "seconds", "size", "lost", "max. winding °C", "task")
    rows = [
        (
            e.episode,
            e.outcome,
            e.reason,
            f"{e.duration_s:.1f}",
            format_bytes(e.nbytes),
            e.lost,
            "-" if e.max_winding_c is None else f"{e.max_winding_c:.1f}",
            e.task,
        )
        for e in entries
    ]
    table(count(len(entries), "episode"), columns, rows)
    _print_unreadable(unreadable)


def print_check(reports: Sequence[EpisodeReport], cut: Sequence[str]) -> None:
    """Print the results of the checks: the worst values of each stream, each episode and each finding."""
    by_name: dict[str, list[StreamReport]] = {}
    for report in reports:
        for stream in report.streams:
            by_name.setdefault(stream.name, []).append(stream)
    columns = ("stream", "nominal Hz", "Hz", "messages", "lost", "gap ms", "jitter ms", "stale ms")
    table("streams (worst episode)", columns, [_worst(name, found) for name, found in by_name.items()])
    episodes = [
        (r.index, r.outcome, r.reason, f"{r.duration_s:.1f}", f"{r.max_winding_c:.1f}", r.problems) for r in reports
    ]
    table("episodes", ("episode", "outcome", "reason", "seconds", "max. winding °C", "problems"), episodes)
    for report in reports:
        for finding in report.findings:
            where = f"episode {report.index}" + (f", {finding.stream}" if finding.stream else "")
            out().print(f"{MARKS[finding.level]}  {escape(where)}: {escape(finding.text)}")
    _print_cut(cut)
    problems = sum(report.problems for report in reports)
    known = [report.max_winding_c for report in reports if math.isfinite(report.max_winding_c)]
    heat = f", max. winding temperature {max(known):.1f} °C" if known else ""
    color = "red" if problems else "green"
    found = f"[{color}]{count(problems, 'problem')}[/{color}]"
    out().print(f"{found} in {count(len(reports), 'episode')}{heat}")


def _worst(name: str, found: Sequence[StreamReport]) -> Sequence[object]:
    """Return the row of one stream over all episodes."""
    rates = [stream.rate_hz for stream in found if math.isfinite(stream.rate_hz)]
    span = f"{min(rates):.2f} to {max(rates):.2f}" if rates else "-"
    return (
        name,
        f"{found[0].nominal_hz:g}",
        span,
        sum(stream.count for stream in found),
        sum(stream.lost for stream in found),
        f"{max(stream.longest_gap_s for stream in found) * 1e3:.1f}",
        f"{max(stream.jitter_s for stream in found) * 1e3:.1f}",
        f"{max(stream.staleness_s for stream in found) * 1e3:.1f}",
    )


def print_recovered(recovered: Sequence[Recovered]) -> None:
    """Print the result for each recovered episode."""
    if not recovered:
        out().print("no interrupted recording found")
    for one in recovered:
        out().print(str(one), markup=False)


def _print_unreadable(unreadable: Mapping[int, str]) -> None:
    for index, why in unreadable.items():
        out().print(f"[red]episode {index} cannot be read:[/red] {escape(why)}; see: waldo check")


def _print_cut(cut: Sequence[str]) -> None:
    for name in cut:
        out().print(f"{MARKS['note']}  {escape(name)}: in progress or interrupted; if interrupted, run: waldo recover")
