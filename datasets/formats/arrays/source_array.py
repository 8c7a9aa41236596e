"""An array of an episode, whose first axis is time.

Each array is classified as color images, depth images or numbers by its type and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.cameras_in import SMALLEST
from waldo.datasets.formats.rows_in import Times
from waldo.datasets.formats.source import MappedKey
from waldo.datasets.selection import Outcome

AT_ONCE_BYTES = 32e6
"""Number of bytes of an image array that are read at once."""

WIDEST = 20_000
"""Largest number of values per row of a numeric array that is imported."""


type Kind = Literal["color", "depth", "encoded", "numbers"]
"""Content of an array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArray:
    """One array of an episode, read on demand."""

    key: str
    """Name in the source, as `--map` expects it."""
    shape: tuple[int, ...]
    """Number of rows, followed by the shape of one row."""
    dtype: np.dtype[Any]
    """Element type."""
    read: Callable[[int, int], NDArray[Any]]
    """Function (start, stop) -> rows."""
    stream: str = ""
    """Stream name; derived from the key if empty."""
    field: str = "value"
    """Field name of a numeric array."""
    unit: str = ""
    """Unit of a numeric array; empty if unknown."""
    labels: tuple[str, ...] = ()
    """Label of each value of a row; numbered if empty."""
    unit_m: float = 0.001
    """Length of one step of a depth value [m]."""
    depth_m: float = 1.0
    """Length of one unit of depth that is stored as floats [m]."""
    name: str = ""
    """Name that the stream's name is derived from; the key if empty."""
    encoded: Callable[[], Iterator[bytes]] | None = None
    """Yields the encoded images, for an array with one JPEG or PNG per row."""
    swapped: bool = False
    """Whether red and blue are swapped."""

    @property
    def kind(self) -> Kind:
        """The content, judged by element type and shape."""
        if self.encoded is not None:
            return "encoded"
        shape, dtype = self.shape, self.dtype
        is_image = len(shape) in (3, 4) and min(self.size) >= SMALLEST
        gray = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if is_image and gray and (dtype.str[1:] == "u2" or (dtype.kind == "f" and "depth" in self.key.lower())):
            return "depth"
        color = len(shape) == 4 and (shape[3] in (3, 4) or shape[1] == 3)
        if is_image and ((color and (dtype.str[1:] == "u1" or dtype.kind == "f")) or (gray and dtype.str[1:] == "u1")):
            return "color"
        return "numbers"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image array [px]; (0, 0) for other arrays."""
        if self.is_channel_first:
            return self.shape[2], self.shape[3]
        return (self.shape[1], self.shape[2]) if len(self.shape) > 2 else (0, 0)

    @property
    def is_channel_first(self) -> bool:
        """Whether this is an image array of shape (T, channels, H, W)."""
        return len(self.shape) == 4 and self.shape[1] in (1, 3) and self.shape[3] not in (1, 3, 4)

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the rows one by one."""
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        step = max(1, int(AT_ONCE_BYTES / max(1, row_bytes)))
        for start in range(0, self.shape[0], step):
            yield from self.read(start, min(start + step, self.shape[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeInfo:
    """Properties of an episode beside its arrays."""

    name: str
    """Name in the source, for messages."""
    rate_hz: float
    """Row rate [Hz]."""
    header_ns: Times
    """Timestamp of each row, shape (rows,) [ns]."""
    attributes: Mapping[str, Any]
    """Attributes of the episode."""
    outcome: Outcome
    """Outcome of the attempt."""
    notes: Sequence[str] = ()
    """Information that the source lacks or the store cannot keep, one sentence each."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Key of the source that is not imported -> why."""

    @property
    def left_out_keys(self) -> list[MappedKey]:
        """The keys that are not imported."""
        return [MappedKey(key=key, contents="", why=why) for key, why in self.left_out.items()]
