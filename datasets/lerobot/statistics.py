"""Per-episode statistics of a LeRobot dataset, and their aggregation over episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.video.histograms import QUANTILES, sampled_pixels

type Statistics = Mapping[str, NDArray[Any]]
"""min, max, mean, std, count and quantiles ("q01" ...) of a column, each of shape (names,)."""


def column_statistics(values: NDArray[Any]) -> Statistics:
    """Return the statistics of a column.

    Args:
        values: Shape (rows,) or (rows, names). Non-finite values are ignored; a name without any finite value counts
            as 0.
    """
    table = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(table).all():
        table = _filled(table)
    found = {"min": table.min(axis=0), "max": table.max(axis=0), "mean": table.mean(axis=0), "std": table.std(axis=0)}
    quantiles = np.quantile(table, QUANTILES, axis=0)
    found["count"] = np.array([len(table)])
    return found | {f"q{round(q * 100):02d}": row for q, row in zip(QUANTILES, quantiles, strict=True)}


def camera_statistics(episode: Episode, camera: str) -> Statistics:
    """Return the statistics of a camera, each (3, 1, 1), from the histogram that was counted while recording."""
    stream = episode.camera(camera)
    statistics = {key: value.reshape(3, 1, 1) for key, value in episode.image_statistics(camera).items()}
    images = episode.histogram(camera)[0].sum() // sampled_pixels(stream.height, stream.width)
    return statistics | {"count": np.array([images])}


def aggregate(episodes: Sequence[Statistics]) -> Statistics:
    """Return the statistics of all rows from the statistics of each episode.

    Mean and standard deviation are exact (parallel variance: Chan, Golub, LeVeque 1979). Quantiles are averages
    weighted by the number of rows, as in LeRobot.
    """
    stacked = {key: np.stack([episode[key] for episode in episodes]) for key in episodes[0]}
    total = stacked["count"].sum(axis=0)
    weight = stacked["count"].reshape(-1, *[1] * (stacked["mean"].ndim - 1)) / total
    mean = (stacked["mean"] * weight).sum(axis=0)
    variance = ((np.square(stacked["std"]) + np.square(stacked["mean"] - mean)) * weight).sum(axis=0)
    found = {"min": stacked["min"].min(axis=0), "max": stacked["max"].max(axis=0)}
    found |= {"mean": mean, "std": np.sqrt(variance), "count": total}
    return found | {key: (rows * weight).sum(axis=0) for key, rows in stacked.items() if key not in found}


def _filled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace non-finite values by the mean of the column's finite values, or by 0 if there is none."""
    finite = np.isfinite(table)
    mean = np.where(finite, table, 0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    return np.where(finite, table, mean)
