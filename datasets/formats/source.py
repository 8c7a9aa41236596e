"""The seam of an import: a source says which episodes it has, and writes each of them into an episode of the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.selection import Outcome
from waldo.datasets.streams import CRF, Stream
from waldo.errors import InvalidValueError, WaldoError

type Format = Literal["lerobot", "replay-buffer", "robomimic", "aloha", "rosbag2"]
"""What a source is."""

type Keeping = Literal["auto", "h264", "lossless", "jpeg"]
"""How pictures are kept; auto keeps them exactly, but for video that the store cannot hold, which becomes H.264."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """How a source becomes episodes."""

    codec: Keeping = "auto"
    """How pictures are kept."""
    crf: int = CRF
    """Quality of what must be encoded as H.264, 0 to 51: lower is better and larger."""
    fps: float | None = None
    """Rows a second of a source that does not say [Hz]; None: what its format's tools use."""
    outcome: Outcome = "unknown"
    """How attempts went of which the source does not say it."""
    topics: tuple[str, ...] = ()
    """Of bags: stream=topic, such as `cameras/front=/camera/color/image_raw`."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if not 0 <= self.crf <= 51:
            raise InvalidValueError("crf", self.crf, "0 to 51")
        if self.fps is not None and not 0 < self.fps < 1e6:
            raise InvalidValueError("fps", self.fps, "a rate above 0")


class SourceError(WaldoError):
    """An episode of a source that cannot be read."""

    def __init__(self, episode: str, why: str) -> None:
        """Take the episode's name in its source and what is in the way."""
        self.why = why
        super().__init__(f"{episode}: {why}")


@dataclass(slots=True)
class ImportStats:
    """What was written of one episode."""

    rows: int = 0
    """Rows, over all streams of numbers."""
    copied: int = 0
    """Pictures whose bytes were kept."""
    encoded: int = 0
    """Pictures that were encoded: without loss, or as `lossy` says."""
    lossy: dict[str, str] = field(default_factory=dict)
    """Stream of pictures that were encoded with a loss -> how the source holds them, such as "av1"."""
    originals: dict[str, dict[int, NDArray[np.uint8]]] = field(default_factory=dict)
    """A few of those pictures as the source has them, by number, to measure the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDraft:
    """One episode of a source: what it holds, and what writes it."""

    streams: tuple[Stream, ...]
    """The streams of the episode."""
    attributes: Mapping[str, Any]
    """Its attributes: task and whatever the source says of it."""
    outcome: Outcome
    """How the attempt went."""
    write: Callable[[EpisodeWriter, ImportStats], None]
    """Writes all rows and pictures."""
    notes: tuple[str, ...] = ()
    """What is lost or was never there, a sentence each; the same words in all episodes that it holds for."""
    estimated_rates: bool = False
    """Whether the streams' rates were counted from stamps and may differ a little between episodes."""


class Source(Protocol):
    """A dataset of another format, open for reading. Opening it reads no more than what describes it."""

    @property
    def format(self) -> Format:
        """What it is."""
        ...

    @property
    def name(self) -> str:
        """Its name for people and in the episodes' attributes, such as its folder's."""
        ...

    @property
    def robot(self) -> str:
        """The robot's name; empty where it does not say."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the store cannot keep of it, or what it never had, a sentence each."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """Names of its episodes, in their order."""
        ...

    def digest(self, key: str) -> str:
        """Return what tells an episode from all others, whatever the folder it lies in."""
        ...

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode; one that cannot be read is a WaldoError."""
        ...


def digest_of(*parts: object) -> str:
    """Return the identity of an episode from its contents: bytes, arrays, and values that JSON can hold."""
    found = hashlib.sha256()
    for part in parts:
        data = part.tobytes() if isinstance(part, np.ndarray) else part
        data = data if isinstance(data, bytes) else json.dumps(data, sort_keys=True, default=str).encode()
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()
