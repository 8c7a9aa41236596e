"""The import seam: a source lists the episodes of another dataset and writes each one into the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.selection import Outcome
from waldo.datasets.streams import CRF, Stream
from waldo.errors import InvalidValueError, WaldoError

if TYPE_CHECKING:
    from waldo.datasets.formats.cameras_in import SourceCamera
    from waldo.datasets.formats.rows_in import SourceTable

type Keeping = Literal["auto", "h264", "lossless", "jpeg"]
"""Codec of imported images; auto keeps them exactly, except video in an unsupported codec, which becomes H.264."""


type ColorOrder = Literal["auto", "rgb", "bgr"]
"""Order of the colors in a source's images; bgr if red and blue are swapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Options of an import."""

    codec: Keeping = "auto"
    """Codec of imported images."""
    crf: int = CRF
    """Quality of images that are encoded as H.264, 0 to 51; lower is better and larger."""
    fps: float | None = None
    """Row rate of a source that does not state it [Hz]; None uses the default of its format."""
    outcome: Outcome = "unknown"
    """Outcome of attempts for which the source does not state it."""
    map: tuple[str, ...] = ()
    """KEY=STREAM pairs, such as `wrist_image=cameras/wrist`; see `stream_map`."""
    color_order: ColorOrder = "auto"
    """Order of the colors in images; auto takes rgb, and bgr for formats that swap red and blue."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError if a value is out of range."""
        if not 0 <= self.crf <= 51:
            raise InvalidValueError("crf", self.crf, "0 to 51")
        if self.fps is not None and not 0 < self.fps < 1e6:
            raise InvalidValueError("fps", self.fps, "a rate above 0 Hz")


class SourceError(WaldoError):
    """An episode of a source that cannot be read."""

    def __init__(self, episode: str, why: str) -> None:
        """Build the message from the episode's name in its source and the reason."""
        self.why = why
        super().__init__(f"{episode}: {why}")


@dataclass(slots=True)
class ImportStats:
    """The contents that were written of one episode."""

    rows: int = 0
    """Number of rows over all numeric streams."""
    copied: int = 0
    """Number of frames whose encoded bytes were copied."""
    encoded: int = 0
    """Number of frames that were encoded, with or without loss."""
    lossy: dict[str, str] = field(default_factory=dict)
    """Lossily encoded image stream -> encoding in the source, such as "av1"."""
    originals: dict[str, dict[int, NDArray[np.uint8]]] = field(default_factory=dict)
    """Lossily encoded image stream -> frame number -> original image, for a few frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedKey:
    """One key of a source and its destination."""

    key: str
    """Name of the column, array, dataset or topic."""
    contents: str
    """The contents in a few words, such as "numbers[7]"."""
    stream: str = ""
    """Stream and field, such as "joints/state/position"; empty for a key that is not imported."""
    why: str = ""
    """Why it is not imported."""
    dtype: str = ""
    """Type of its numbers, such as "int64"; empty for anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDraft:
    """One episode of a source: its description and the function that writes it."""

    streams: tuple[Stream, ...]
    """Streams of the episode."""
    attributes: Mapping[str, Any]
    """Attributes: the task and other metadata of the source."""
    outcome: Outcome
    """Outcome of the attempt."""
    write: Callable[[EpisodeWriter, ImportStats], None]
    """Writes all rows and frames."""
    notes: tuple[str, ...] = ()
    """Information that the source lacks or the store cannot keep, one sentence each; equal notes are counted."""
    estimated_rates: bool = False
    """Whether the rates of the streams were estimated from timestamps and may vary slightly between episodes."""
    tables: tuple[SourceTable, ...] = ()
    """The rows that `write` writes, to recognize a part of a stored episode."""
    cameras: tuple[SourceCamera, ...] = ()
    """The images that `write` writes."""
    mapped: tuple[MappedKey, ...] = ()
    """Every key of the source with its destination, for the user."""
    absent: tuple[str, ...] = ()
    """Cameras that other episodes of the source may have and this one lacks."""


class Source(Protocol):
    """A dataset of another format, opened for reading. Opening it reads its metadata only."""

    @property
    def format(self) -> str:
        """Name of the format."""
        ...

    @property
    def name(self) -> str:
        """Name for messages and for the attribute `source` of its episodes, such as the folder's name."""
        ...

    @property
    def robot(self) -> str:
        """Name of the robot; empty if the source does not state it."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Information that all episodes lack or that the store cannot keep, one sentence each."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the episodes in their order."""
        ...

    def digest(self, key: str) -> str:
        """Return a digest of an episode's content, independent of names and compression; see `content_digest`."""
        ...

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode.

        Raises:
            WaldoError: If it cannot be read. It is skipped, and the import continues.
        """
        ...


def digest_of(*parts: object) -> str:
    """Return a digest of bytes, arrays and values that JSON can represent."""
    found = hashlib.sha256()
    for part in parts:
        data = part.tobytes() if isinstance(part, np.ndarray) else part
        data = data if isinstance(data, bytes) else json.dumps(data, sort_keys=True, default=str).encode()
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()
