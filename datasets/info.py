"""The summary of a dataset as plain values: episodes, outcomes, tasks, streams, size, lost messages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from waldo.datasets.catalog import Catalog
from waldo.datasets.dataset import Dataset


def dataset_info(dataset: Dataset) -> dict[str, Any]:
    """Return a summary of a dataset; reads its catalog and one episode of each set of streams."""
    catalog = dataset.catalog
    peaks = [entry.max_winding_c for entry in catalog if entry.max_winding_c is not None]
    return {
        "path": str(dataset.path),
        "robot": dataset.robot,
        "episodes": len(catalog),
        "deleted": len(dataset.deleted),
        "duration_s": sum(entry.duration_s for entry in catalog),
        "bytes": sum(entry.nbytes for entry in catalog),
        "lost": sum(entry.lost for entry in catalog),
        "max_winding_c": max(peaks, default=None),
        "outcomes": dict(Counter(entry.outcome for entry in catalog)),
        "reasons": dict(Counter(entry.reason for entry in catalog)),
        "tasks": dict(Counter(entry.task for entry in catalog).most_common()),
        "streams": _streams(dataset, catalog),
        "latency_ns": dict(dataset.latency_ns),
        "unfinished": [path.name for path in dataset.unfinished],
        "unreadable": dict(catalog.unreadable),
    }


def _streams(dataset: Dataset, catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Return each stream's rates, contents and number of episodes."""
    episodes = Counter(entry.signature for entry in catalog)
    example = {entry.signature: entry.episode for entry in catalog}
    streams: dict[str, dict[str, Any]] = {}
    for signature, index in example.items():
        for name, stream in dataset.episodes.with_index(index).streams.items():
            found = streams.setdefault(name, {"rates_hz": [], "holds": [], "episodes": 0})
            found["rates_hz"] = sorted({*found["rates_hz"], stream.rate_hz})
            found["holds"] = sorted({*found["holds"], stream.summary})
            found["episodes"] += episodes[signature]
    return streams
