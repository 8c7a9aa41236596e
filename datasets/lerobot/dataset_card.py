"""The README.md of an exported dataset, which a hub shows as its dataset card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waldo import __version__
from waldo.datasets.catalog import Entry
from waldo.datasets.episode import Episode
from waldo.datasets.streams import ScalarStream
from waldo.templates import load_template

TEMPLATE = Path(__file__).with_name("dataset_card.md.jinja")

OTHER_LICENSE = "other"
"""The Hugging Face Hub's identifier for a license that is not on its list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """A recorded stream, before resampling."""

    name: str
    kind: str
    """"numbers", "video" or "depth"."""
    rate_hz: float
    contents: str
    """Fields, or size and codec."""
    latency_ms: float | None
    """Calibrated latency that is subtracted from the stamps [ms]; None if not calibrated."""


def stream_summaries(episode: Episode) -> tuple[StreamSummary, ...]:
    """Return a summary of each stream of an episode."""
    latency_ns = episode.edits.latency_ns
    return tuple(
        StreamSummary(
            name=name,
            kind="numbers" if isinstance(stream, ScalarStream) else stream.kind,
            rate_hz=stream.rate_hz,
            contents=stream.summary,
            latency_ms=latency_ns[name] / 1e6 if name in latency_ns else None,
        )
        for name, stream in episode.streams.items()
    )


def dataset_card(
    *,
    name: str,
    robot: str,
    license: str,
    fps: int,
    rows: int,
    entries: Sequence[Entry],
    streams: Sequence[StreamSummary],
    notes: Sequence[str],
) -> str:
    """Return the text of README.md.

    Args:
        name: Name of the exported dataset.
        robot: Name of the robot.
        license: License of the data, such as "apache-2.0"; may be empty.
        fps: Rows per second.
        rows: Number of rows.
        entries: Catalog entries of the exported episodes.
        streams: The recorded streams.
        notes: Information that the format cannot store, one sentence each.
    """
    front_matter = {
        "license": license or OTHER_LICENSE,
        "task_categories": ["robotics"],
        "tags": ["LeRobot", "waldo", *([robot] if robot else [])],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    return load_template(TEMPLATE, {"cell": _cell}).render(
        # JSON is valid YAML and escapes any character that a name may contain.
        front_matter={key: json.dumps(value, ensure_ascii=False) for key, value in front_matter.items()},
        name=name,
        robot=robot,
        fps=fps,
        rows=rows,
        version=__version__,
        entries=entries,
        minutes=sum(entry.duration_s for entry in entries) / 60,
        tasks=Counter(entry.task for entry in entries).most_common(),
        outcomes=Counter(entry.outcome for entry in entries).most_common(),
        streams=streams,
        lost=sum(entry.lost for entry in entries),
        lossy=sum(entry.lost > 0 for entry in entries),
        winding=_winding(entries),
        notes=notes,
    )


def _winding(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Return the maximum winding temperature, its episode and the mean of the maxima; None if none is known."""
    known = [(entry.max_winding_c, entry.episode) for entry in entries if entry.max_winding_c is not None]
    if not known:
        return None
    max_c, episode = max(known)
    return {"max_c": max_c, "episode": episode, "mean_c": sum(value for value, _ in known) / len(known)}


def _cell(text: str) -> str:
    """Return text that stays in one table cell, whatever characters it contains."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
