"""Facts about an episode as a whole, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from waldo.datasets.dataset import RESERVED
from waldo.datasets.episode import Episode
from waldo.errors import count
from waldo.files import format_bytes

SHOWN_ELSEWHERE = (*RESERVED, "task", "robot", "software")
"""Attributes that are internal or have their own place; all others are listed."""

MAX_CHARACTERS = 200
"""Longest text of an attribute that is shown completely."""


def facts(episode: Episode) -> list[tuple[str, str]]:
    """Return the facts about an episode as (name, text)."""
    lost = sum(episode.lost(name) for name in episode.streams)
    messages = sum(episode.count(name) for name in episode.streams)
    max_winding_c = episode.max_winding_c
    start = datetime.fromtimestamp(episode.span_ns[0] / 1e9, UTC)
    found = [
        ("Robot", episode.robot or "unknown"),
        ("Recorded", f"{start:%Y-%m-%d %H:%M:%S} UTC"),
        ("Duration", f"{episode.duration_s:.2f} s"),
        ("Ended by", episode.reason),
        ("Lost", f"{lost} of {count(messages + lost, 'message')}" if lost else "nothing"),
        ("Max. winding temperature", "unknown" if max_winding_c is None else f"{max_winding_c:.1f} °C"),
        ("Size", format_bytes(episode.nbytes)),
    ]
    latencies = {name: ns for name, ns in episode.edits.latency_ns.items() if name in episode.image_streams}
    found += [(f"Latency of {name}", f"{ns / 1e6:.1f} ms") for name, ns in latencies.items()]
    software = episode.attributes.get("software")
    if isinstance(software, Mapping):
        found.append(("Software", ", ".join(f"{name} {version}" for name, version in software.items())))
    for key, value in episode.attributes.items():
        if key not in SHOWN_ELSEWHERE:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            shown = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
            found.append((key.replace("_", " "), shown))
    return found
