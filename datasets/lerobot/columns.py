"""The columns of a foreign LeRobot dataset: kinds and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.formats.cameras_in import SourceCamera
from waldo.datasets.formats.names import distinct
from waldo.datasets.formats.rows_in import counted


def camera_name(key: str) -> str:
    """Return the name of the camera of a column: "observation.images.top" -> "top", "observation.image" -> "image"."""
    return key.removeprefix(schema.OBSERVATION_IMAGES).removeprefix(schema.OBSERVATION)


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Return whether a feature is marked as depth."""
    info = feature.get("info")
    return isinstance(info, dict) and bool(info.get("is_depth_map") or info.get("video.is_depth_map"))


def labels_of(names: Any, shape: Sequence[int], key: str) -> tuple[str, ...]:
    """Return labels of a column's numbers: the dataset's names if there is one for each number, else counted ones."""
    found = list(_flatten(names))
    size = int(np.prod(shape, dtype=np.int64))
    if len(found) == size and len(shape) <= 1:
        return distinct(found)
    return counted(shape, key.rpartition(".")[2])


def _flatten(names: Any) -> Iterator[str]:
    """Yield the names of a feature: LeRobot datasets have a list, or lists under headings such as "motors"."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict):
        for value in names.values():
            yield from _flatten(value)
    elif isinstance(names, list | tuple):
        for value in names:
            yield from _flatten(value)


def constant_rate(stamps: NDArray[np.int64]) -> float:
    """Return the constant rate of frames [Hz]; 0 if it varies by more than a tenth."""
    steps = np.diff(stamps)
    if not len(steps) or steps.min() <= 0 or steps.max() > 1.1 * steps.min():
        return 0.0
    return float(f"{1e9 / float(np.median(steps)):.3g}")


def rate_notes(camera: SourceCamera, row_rate_hz: float) -> list[str]:
    """Return a note on a camera whose frames are not those of the rows.

    Args:
        camera: The camera.
        row_rate_hz: Rate of the rows [Hz].
    """
    rows = f"the rows have {row_rate_hz:g} Hz; the frames keep their own times."
    if constant_rate(camera.header_ns):
        return [f"{camera.name}: the video has {camera.rate_hz:g} Hz, {rows}"]
    return [f"{camera.name}: the frame rate of the video varies, {rows}"]
