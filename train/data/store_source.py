"""The part of a waldo dataset that a training run reads, and how; `waldo train` passes it to the training process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading.advantage import AdvantageConfig
from waldo.datasets.reading.corrections import ControlConfig
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.schema import SUCCESS, feature_key
from waldo.datasets.selection import Selection
from waldo.datasets.storage.store_path import StorePath, open_path
from waldo.errors import FileError, InvalidValueError, NoMatchError

ALL_OUTCOMES = "to train on episodes of any outcome: --outcome success failure unknown"
"""Advice for a dataset without successful episodes."""


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How a waldo dataset is read for training; a LeRobot dataset has these settings built in."""

    rows: RowConfig = field(default_factory=RowConfig)
    """How episodes are resampled to rows."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """The episodes to train on."""
    shared: ControlConfig = field(default_factory=ControlConfig)
    """Which rows to use of attempts that a policy and a person shared."""
    labels: AdvantageConfig = field(default_factory=AdvantageConfig)
    """Whether the instructions state how good an attempt was."""
    cache: Path | None = None
    """Folder of a frame cache that `waldo cache` built from the dataset; its frames need no decoding."""
    shuffle: Literal["auto", "full", "block"] = "auto"
    """full: rows in random order; block: groups of frames in random order, each decoded once; auto: block if frames are
    decoded."""
    memory_mb: int = 1024
    """Memory for decoded frames over all workers, which limits how many groups a block shuffle mixes [MB]."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if self.memory_mb < 1:
            raise InvalidValueError("memory_mb", self.memory_mb, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class StoreSource:
    """A dataset and how it is read; can be passed to another process as JSON."""

    path: StorePath
    """Path or address of the dataset."""
    options: StoreOptions
    """How the dataset is read."""
    images: bool = True
    """Whether the policy receives images; if not, none is decoded."""

    def to_json(self) -> str:
        """Return the source as one line of JSON."""
        return json.dumps({"path": str(self.path), "images": self.images, "options": asdict(self.options)}, default=str)

    @classmethod
    def from_json(cls, text: str) -> StoreSource:
        """Return the source that `to_json` encoded."""
        values: dict[str, Any] = json.loads(text)
        options: dict[str, Any] = values["options"]
        options["rows"] = RowConfig(**_with_tuples(options["rows"]))
        options["selection"] = Selection(**_with_tuples(options["selection"]))
        shared: dict[str, Any] = options["shared"]
        shared["repeats"] = tuple(tuple(one) for one in shared["repeats"])
        options["shared"] = ControlConfig(**shared)
        options["labels"] = AdvantageConfig(**_with_tuples(options["labels"]))
        options["cache"] = None if options["cache"] is None else Path(options["cache"])
        return cls(path=open_path(values["path"]), images=values["images"], options=StoreOptions(**options))

    def features(self) -> dict[str, dict[str, Any]]:
        """Return LeRobot's description of the columns and cameras, from the first episode that can become rows.

        Raises:
            NoMatchError: If the selection matches no episode.
            FileError: If none of the selected episodes can become rows.
        """
        dataset = Dataset.open(self.path)
        reason = ""
        for index in self._indices(dataset):
            episode = dataset.episode(index)
            try:
                rows = make_rows(episode, self._rows(episode))
            except UnfitEpisodeError as error:
                reason = reason or str(error)
                continue
            columns = {key: column.names for key, column in rows.columns.items()}
            sizes = {feature_key(name): size for name, size in rows.frame_sizes.items()}
            return describe(columns, sizes)
        raise FileError(self.path, f"has no episode to train on ({reason})", "run: waldo check")

    def windows(self, cache_bytes: int, advance: Callable[[int, int], None] = lambda done, total: None) -> Windows:
        """Open the dataset's rows; frames are read later.

        Args:
            cache_bytes: Memory for decoded frames in each process [bytes].
            advance: Progress callback, in episodes.
        """
        dataset = Dataset.open(self.path)
        indices = self._indices(dataset)
        first = dataset.episode(indices[0])
        options = self.options
        config = WindowConfig(
            rows=self._rows(first),
            control=options.shared,
            advantage=options.labels,
            cache_bytes=cache_bytes,
            frame_cache=options.cache,
        )
        return Windows(dataset, config, indices=indices, advance=advance)

    def _indices(self, dataset: Dataset) -> list[int]:
        """Return the indices of the selected episodes."""
        indices = dataset.select(self.options.selection)
        if not indices:
            raise NoMatchError("episode", len(dataset.indices), ALL_OUTCOMES)
        return indices

    def _rows(self, episode: Episode) -> RowConfig:
        """Return the row options with the camera streams of an episode."""
        rows = self.options.rows.resolve(episode)
        return rows if self.images else replace(rows, cameras=None)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with tuples in place of JSON's lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def is_store(path: StorePath) -> bool:
    """Return whether there is a waldo dataset at a path."""
    return (path / "dataset.json").is_file()


def describe(columns: Any, sizes: Any) -> dict[str, dict[str, Any]]:
    """Return LeRobot's description of columns (key -> names) and cameras (key -> height and width)."""
    features: dict[str, dict[str, Any]] = {
        key: {"dtype": "float32", "shape": (len(names),), "names": list(names)} for key, names in columns.items()
    }
    for key, (height, width) in sizes.items():
        features[key] = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    return features | {SUCCESS: {"dtype": "bool", "shape": (1,), "names": None}}
