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
    """Return the statistics of a column of finite numbers, (rows,) or (rows, names)."""
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": table.min(axis=0), "max": table.max(axis=0), "mean": table.mean(axis=0), "std": table.std(axis=0)}
    return {**found, "count": np.array([len(table)]), **column_quantiles(table)}


def column_quantiles(values: NDArray[Any]) -> Statistics:
    """Return the quantiles of a column of finite numbers, (rows,) or (rows, names)."""
    quantiles = np.quantile(values.reshape(len(values), -1).astype(np.float64), QUANTILES, axis=0)
    return {f"q{round(q * 100):02d}": row for q, row in zip(QUANTILES, quantiles, strict=True)}


def camera_statistics(episode: Episode, camera: str) -> Statistics:
    """Return the statistics of a camera, each (3, 1, 1), from the histogram that was counted while recording."""
    stream = episode.camera(camera)
    statistics = {key: value.reshape(3, 1, 1) for key, value in episode.image_statistics(camera).items()}
    images = episode.histogram(camera)[0].sum() // sampled_pixels(stream.height, stream.width)
    return statistics | {"count": np.array([images])}


def aggregate(episodes: Sequence[Statistics]) -> Statistics:
    """Return the statistics of all rows from the statistics of each episode.

    Mean and standard deviation are exact (parallel variance: Chan, Golub, LeVeque 1979). Quantiles do not follow from
    those of the parts and are left out.
    """
    keys = ("min", "max", "mean", "std", "count")
    stacked = {key: np.stack([episode[key] for episode in episodes]) for key in keys}
    total = stacked["count"].sum(axis=0)
    weight = stacked["count"].reshape(-1, *[1] * (stacked["mean"].ndim - 1)) / total
    mean = (stacked["mean"] * weight).sum(axis=0)
    variance = ((np.square(stacked["std"]) + np.square(stacked["mean"] - mean)) * weight).sum(axis=0)
    found = {"min": stacked["min"].min(axis=0), "max": stacked["max"].max(axis=0)}
    found |= {"mean": mean, "std": np.sqrt(variance), "count": total}
    return found
