"""What the commands of the episode store say to people: tables on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from waldo.console import out

if TYPE_CHECKING:
    from waldo.datasets.catalog import Entry
    from waldo.datasets.lerobot.export import ExportResult
    from waldo.datasets.quality.check import EpisodeReport, StreamReport
    from waldo.datasets.recording.recover import Recovered

MARKS = {"problem": "[red]problem[/red]", "note": "[yellow]note[/yellow]"}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, numbers to the right; as wide as it needs, where rich's own cuts names without a terminal."""
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
    """Print what a dataset holds."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(info["outcomes"].items())) or "none"
    deleted = f", {info['deleted']} deleted" if info["deleted"] else ""
    heat = f", hottest winding {info['max_winding_c']:.1f} °C" if info["max_winding_c"] is not None else ""
    out().print(
        f"{escape(info['path'])}: robot {escape(info['robot'])}, {info['episodes']} episodes ({outcomes}){deleted}, "
        f"{info['duration_s'] / 60:.1f} min, {size(info['bytes'])}, {info['lost']} messages lost{heat}\n"
    )
    streams = [
        (name, ", ".join(f"{rate:g}" for rate in s["rates_hz"]), s["episodes"], "; ".join(s["holds"]))
        for name, s in info["streams"].items()
    ]
    table("streams", ("stream", "Hz", "episodes", "holds"), streams)
    table("tasks", ("task", "episodes"), list(info["tasks"].items()))
    for camera, latency in info["latency_ns"].items():
        out().print(f"{escape(camera)}: stamped {latency / 1e6:.1f} ms after the light")
    _print_unreadable(info["unreadable"])
    _print_cut(info["unfinished"])


def print_entries(entries: Sequence[Entry], unreadable: Mapping[int, str]) -> None:
    """Print a line for each episode."""
    columns = ("episode", "outcome", "reason", "seconds", "size", "lost", "hottest °C", "task")
    rows = [
        (
            e.episode,
            e.outcome,
            e.reason,
            f"{e.duration_s:.1f}",
            size(e.nbytes),
            e.lost,
            "-" if e.max_winding_c is None else f"{e.max_winding_c:.1f}",
            e.task,
        )
        for e in entries
    ]
    table(f"{len(entries)} episodes", columns, rows)
    _print_unreadable(unreadable)


def print_check(reports: Sequence[EpisodeReport], cut: Sequence[str]) -> None:
    """Print what the checks found: each stream's worst figures, each episode, each finding."""
    by_name: dict[str, list[StreamReport]] = {}
    for report in reports:
        for stream in report.streams:
            by_name.setdefault(stream.name, []).append(stream)
    columns = ("stream", "nominal Hz", "Hz", "messages", "lost", "gap ms", "jitter ms", "stale ms")
    table("streams (worst of all episodes)", columns, [_worst(name, found) for name, found in by_name.items()])
    episodes = [
        (r.index, r.outcome, r.reason, f"{r.duration_s:.1f}", f"{r.hottest_c:.1f}", r.problems) for r in reports
    ]
    table("episodes", ("episode", "outcome", "reason", "seconds", "hottest °C", "problems"), episodes)
    for report in reports:
        for finding in report.findings:
            where = f"episode {report.index}" + (f", {finding.stream}" if finding.stream else "")
            out().print(f"{MARKS[finding.level]}  {escape(where)}: {escape(finding.text)}")
    _print_cut(cut)
    problems = sum(report.problems for report in reports)
    heat = [report.hottest_c for report in reports if math.isfinite(report.hottest_c)]
    hottest = f", hottest winding {max(heat):.1f} °C" if heat else ""
    colour = "red" if problems else "green"
    out().print(f"[{colour}]{problems} problems[/{colour}] in {len(reports)} episodes{hottest}")


def _worst(name: str, found: Sequence[StreamReport]) -> Sequence[object]:
    """Return the table's row of one stream over all episodes."""
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
    """Print what became of each cut episode."""
    if not recovered:
        out().print("no episode was cut off")
    for one in recovered:
        out().print(str(one), markup=False)


def print_export(result: ExportResult) -> None:
    """Print what an export wrote."""
    out().print(
        f"{escape(str(result.path))}: {result.episodes} episodes, {result.rows} rows, "
        f"{result.frames_copied} frames copied, {result.frames_encoded} encoded anew"
    )
    for camera, error_ms in result.frame_error_ms.items():
        out().print(f"{escape(camera)}: the farthest frame lies {error_ms:.1f} ms from its row")
    if result.skipped:
        out().print(f"{result.skipped} episodes skipped (not asked for)")
    for note in result.notes:
        out().print(f"{MARKS['note']}  {escape(note)}")
    for index, why in result.left_out.items():
        out().print(f"[red]episode {index} is left out:[/red] {escape(why)}")


def size(nbytes: int) -> str:
    """Return a number of bytes for people."""
    value = float(nbytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _print_unreadable(unreadable: Mapping[int, str]) -> None:
    for index, why in unreadable.items():
        out().print(f"[red]episode {index} cannot be read:[/red] {escape(why)}; run waldo check")


def _print_cut(cut: Sequence[str]) -> None:
    for name in cut:
        out().print(f"{MARKS['note']}  {escape(name)}: being recorded or cut off; if cut off, run waldo recover")
