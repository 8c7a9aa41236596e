"""Which part of a waldo dataset a training sees, and how: what `waldo train` tells the process that trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError, camera_streams
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.schema import feature_key
from waldo.datasets.selection import Selection
from waldo.datasets.store_path import StorePath, open_path
from waldo.errors import FileError, InvalidValueError


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How a waldo dataset is read; a LeRobot dataset has all this settled already."""

    fps: int = 30
    """Rows a second."""
    cameras: tuple[str, ...] = ()
    """Cameras by their short names, such as `front wrist`; all if none is named."""
    action: Literal["command", "sent"] = "command"
    """What the policy is to learn: what was asked, or what was sent to the motors."""
    include: Literal["success", "all"] = "success"
    """Which episodes: those with outcome success, or all."""
    max_staleness_s: float = 0.25
    """Farthest that a sample may lie from its row [s]."""
    cache: Path | None = None
    """Folder of a training cache that `waldo cache` built from the dataset; its pictures need no decoding."""
    shuffle: Literal["auto", "full", "block"] = "auto"
    """full: any row after any other. block: groups of pictures in random order, each decoded once; auto: block where
    pictures are decoded."""
    memory_mb: int = 1024
    """Memory for decoded pictures, over all readers, and so how many groups of pictures a block shuffle mixes [MB]."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.fps < 1:
            raise InvalidValueError("fps", self.fps, "a whole number from 1")
        if self.memory_mb < 1:
            raise InvalidValueError("memory_mb", self.memory_mb, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class StoreSource:
    """A dataset and how it is read; travels as JSON."""

    path: StorePath
    """Where the dataset lies."""
    options: StoreOptions
    """How it is read."""
    images: bool = True
    """Whether the policy sees pictures; without, none is decoded."""

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps({"path": str(self.path), "images": self.images, "options": asdict(self.options)}, default=str)

    @classmethod
    def from_json(cls, text: str) -> StoreSource:
        """Return what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        options: dict[str, Any] = {**values["options"], "cameras": tuple(values["options"]["cameras"])}
        options["cache"] = None if options["cache"] is None else Path(options["cache"])
        return cls(path=open_path(values["path"]), images=values["images"], options=StoreOptions(**options))

    def features(self) -> dict[str, dict[str, Any]]:
        """Return LeRobot's description of the columns and cameras, from the first episode that becomes rows."""
        dataset = Dataset.open(self.path)
        why = "it has none"
        for index in self._indices(dataset):
            episode = dataset.episode(index)
            try:
                rows = make_rows(episode, self._rows(episode))
            except UnfitEpisodeError as error:
                why = why if why != "it has none" else str(error)
                continue
            columns = {key: column.names for key, column in rows.columns.items()}
            sizes = {feature_key(name): size for name, size in rows.frame_sizes.items()}
            return describe(columns, sizes)
        raise FileError(self.path, f"has no episode to train on ({why})", "run waldo check, or give --include all")

    def windows(self, cache_bytes: int, advance: Callable[[int, int], None] = lambda done, total: None) -> Windows:
        """Open the dataset's rows; pictures are read later, with `cache_bytes` for decoded ones in each process."""
        dataset = Dataset.open(self.path)
        indices = self._indices(dataset)
        if not indices:
            raise FileError(self.path, "has no successful episode to train on", "give --include all")
        first = dataset.episode(indices[0])
        config = WindowConfig(rows=self._rows(first), cache_bytes=cache_bytes, frame_cache=self.options.cache)
        return Windows(dataset, config, indices=indices, advance=advance)

    def _indices(self, dataset: Dataset) -> list[int]:
        """Return the indices of the episodes that were asked for."""
        if self.options.include == "all":
            return list(dataset.indices)
        return dataset.select(Selection(outcome=("success",)))

    def _rows(self, episode: Episode) -> RowConfig:
        """Return how episodes become rows; the first one says which cameras there are."""
        names = (camera_streams(episode, self.options.cameras) if self.images else ()) or None
        options = self.options
        return RowConfig(fps=options.fps, cameras=names, action=options.action, max_staleness_s=options.max_staleness_s)


def is_store(path: StorePath) -> bool:
    """Return whether a place holds a waldo dataset."""
    return (path / "dataset.json").is_file()


def describe(columns: Any, sizes: Any) -> dict[str, dict[str, Any]]:
    """Return LeRobot's description of columns (key -> names) and cameras (key -> height and width)."""
    features: dict[str, dict[str, Any]] = {
        key: {"dtype": "float32", "shape": (len(names),), "names": list(names)} for key, names in columns.items()
    }
    for key, (height, width) in sizes.items():
        features[key] = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    return features
