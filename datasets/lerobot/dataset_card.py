"""The card of a dataset for a hub: what was recorded on which robot, how much of it is lost, and how hot it became."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from waldo import __version__
from waldo.datasets.catalog import Entry
from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import ScalarStream

OWN_LICENCE = "other"
"""What a hub calls a licence that is not on its list."""


def card(dataset: Dataset, entries: Sequence[Entry], told: Mapping[str, Any]) -> str:
    """Return the text of README.md; `told` is what the exporter says: name, licence, fps, rows, notes."""
    head = {
        "license": told["licence"] or OWN_LICENCE,
        "task_categories": ["robotics"],
        "tags": ["LeRobot", "waldo", *([dataset.robot] if dataset.robot else [])],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    # JSON is YAML, and escapes whatever a name may hold.
    yaml = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    minutes = sum(entry.duration_s for entry in entries) / 60
    sections = [
        f"---\n{yaml}\n---",
        f"# {_plain(told['name'])}",
        f"{len(entries)} episodes ({minutes:.1f} min) of the robot {_plain(dataset.robot)} as a LeRobot dataset v3.0: "
        f"{told['rows']} rows at {told['fps']} Hz. Exported by waldo {__version__}.",
        "## Tasks\n\n" + _table(("task", "episodes"), Counter(entry.task for entry in entries).most_common()),
        "## Outcomes\n\n" + _table(("outcome", "episodes"), Counter(entry.outcome for entry in entries).most_common()),
        "## Recorded streams\n\n" + _streams(dataset, entries),
        "## Loss\n\n" + _loss(entries),
        "## Heat\n\n" + _heat(entries),
    ]
    if told["notes"]:
        sections.append("## What this format does not hold\n\n" + "\n".join(f"* {note}" for note in told["notes"]))
    return "\n\n".join(sections) + "\n"


def _streams(dataset: Dataset, entries: Sequence[Entry]) -> str:
    """Say what was recorded at which rate, before anything was brought to the rows' rate."""
    episode = dataset.episodes.with_index(entries[0].episode)
    rows: list[tuple[object, ...]] = []
    for name, stream in episode.streams.items():
        kind = "numbers" if isinstance(stream, ScalarStream) else stream.kind
        latency = episode.edits.latency_ns.get(name)
        note = "" if latency is None else f"{latency / 1e6:.1f} ms latency taken off"
        rows.append((name, kind, f"{stream.rate_hz:g}", stream.summary, note))
    return _table(("stream", "kind", "Hz", "holds", ""), rows)


def _loss(entries: Sequence[Entry]) -> str:
    lost, touched = sum(entry.lost for entry in entries), sum(entry.lost > 0 for entry in entries)
    if not lost:
        return "No message was lost in any stream."
    return f"{lost} messages were lost, in {touched} of {len(entries)} episodes."


def _heat(entries: Sequence[Entry]) -> str:
    known = [entry for entry in entries if entry.max_winding_c is not None]
    if not known:
        return "Motor temperatures were not recorded."
    hottest = max(known, key=lambda entry: entry.max_winding_c or 0)
    mean = sum(entry.max_winding_c or 0 for entry in known) / len(known)
    return (
        f"The hottest motor winding reached {hottest.max_winding_c:.1f} °C "
        f"(episode {hottest.episode} of the recording); "
        f"{mean:.1f} °C on average over the episodes' hottest. Temperatures of every row are in `telemetry.winding`."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return text that stays on its line and in its cell, whatever an instruction holds."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
