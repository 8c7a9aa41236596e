"""Per-episode statistics of a LeRobot dataset, and their aggregation over episodes."""

from __future__ import annotations

from collections.abc import Mapping
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


class RunningStatistics:
    """Statistics of all rows from the statistics of one episode after the other.

    Mean and standard deviation are exact (parallel variance: Chan, Golub, LeVeque 1979). Quantiles do not follow from
    those of the parts and are left out.
    """

    def __init__(self) -> None:
        self._found: dict[str, NDArray[Any]] = {}

    def add(self, episode: Statistics) -> None:
        """Include the statistics of an episode."""
        part = {key: np.asarray(episode[key], np.float64) for key in ("min", "max", "mean")}
        part |= {"count": episode["count"], "squares": np.square(episode["std"]) * episode["count"]}
        self._found = self._joined(self._found, part) if self._found else part

    @staticmethod
    def _joined(a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        count, step = a["count"] + b["count"], b["mean"] - a["mean"]
        return {
            "min": np.minimum(a["min"], b["min"]),
            "max": np.maximum(a["max"], b["max"]),
            "mean": a["mean"] + step * (b["count"] / count),
            "count": count,
            "squares": a["squares"] + b["squares"] + np.square(step) * (a["count"] * b["count"] / count),
        }

    @property
    def value(self) -> Statistics:
        """The statistics of the episodes so far."""
        found = dict(self._found)
        squares = found.pop("squares")
        return found | {"std": np.sqrt(squares / found["count"])}
