"""A dataset as one list of rows with a window around each, for training without an export. Does not need torch.

Rows and keys are those of an export to LeRobot. A window consists of offsets in seconds that are multiples of 1 / fps,
clamped to the episode; `<key>_is_pad` marks the clamped ones, as in LeRobot.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading.advantage import AdvantageConfig, are_good, labeled_pieces
from waldo.datasets.reading.cache_reader import CacheReader
from waldo.datasets.reading.corrections import ControlConfig, pieces
from waldo.datasets.reading.frame_cache import FrameCache
from waldo.datasets.reading.frame_reader import FrameReader, FrameRequest
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import Rows, make_rows, require_layout
from waldo.datasets.schema import CONTROL_COLUMN, SUCCESS, feature_key
from waldo.datasets.storage.store_path import StorePath
from waldo.datasets.streams import VideoStream
from waldo.errors import FileError, InvalidValueError, UnknownNameError, count

TOLERANCE_S = 1e-4
"""Largest distance of an offset from a row, as in LeRobot [s]."""

READING_THREADS = 4
"""Number of episodes that are read concurrently while a dataset is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """Contents of a window."""

    rows: RowConfig
    """How episodes are resampled, as for an export."""
    deltas: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Key -> offsets from the row [s], such as {"action": [0, 1 / 30]}; other keys: the row itself."""
    control: ControlConfig = field(default_factory=ControlConfig)
    """Which rows of attempts that a policy and a person shared."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    """Whether the instructions state how good an attempt was."""
    size: tuple[int, int] | None = None
    """Height and width of the images [px]; None: as recorded, or as in the frame cache."""
    frame_cache: Path | None = None
    """Folder of a frame cache to read images from instead of decoding them."""
    threads: int | None = None
    """Number of decoding threads; None: the available cores divided by the number of DataLoader workers."""
    cache_bytes: int = 0
    """Memory for decoded groups of pictures, in each process [bytes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The rows of one episode, or of a part of it, in the list of rows."""

    index: int
    """Index of the episode in the dataset."""
    path: StorePath
    """Path of the episode."""
    task: str
    """The instruction, "unknown" if the episode has none, and with `AdvantageConfig` how good the attempt was."""
    first: int
    """The first row."""
    stop: int
    """The row after the last one."""


class Windows:
    """The rows of a dataset by number, 0 to `len(windows) - 1`, each with its window.

    Attributes:
        names: Key -> label of each number in a row.
        cameras: Key -> camera stream.
        shapes: Key of a camera -> height and width of its images [px].
        spans: The rows of each episode.
        tasks: The distinct instructions; `task_index` refers to them.
        skipped: Episode index -> why the episode cannot be resampled.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: WindowConfig,
        *,
        indices: Sequence[int] | None = None,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Read the numeric columns; images are read on access.

        Args:
            dataset: The dataset.
            config: Contents of the windows.
            indices: Indices of the episodes; None for all.
            advance: Called with the number of opened episodes and the total.

        Raises:
            FileError: If no episode can be resampled.
        """
        chosen = _chosen(dataset, indices)
        if chosen:
            config = replace(config, rows=config.rows.resolve(chosen[0]()))
        self.path, self.config, self.robot = dataset.path, config, dataset.robot
        self.skipped: dict[int, str] = {}
        tables = _tables(chosen, config, self.robot, self.skipped, advance)
        if not tables:
            why = (
                "; ".join(f"episode {index}: {text}" for index, text in self.skipped.items()) or "the dataset is empty"
            )
            raise FileError(dataset.path, f"no episode can be used for training ({why})", "run waldo check")
        first_episode, first_rows, _ = tables[0]
        self.names: Mapping[str, tuple[str, ...]] = {key: c.names for key, c in first_rows.columns.items()}
        self.cameras: Mapping[str, str] = {feature_key(name): name for name in first_rows.frames}
        self.streams = {name: first_episode.camera(name) for name in first_rows.frames}
        cache = None if config.frame_cache is None else FrameCache.open(config.frame_cache)
        self.shapes: Mapping[str, tuple[int, int]] = {
            key: _shape(self.path, config, cache, self.streams[name]) for key, name in self.cameras.items()
        }
        ends = np.cumsum([len(rows) for _, rows, _ in tables]).tolist()
        self.spans: tuple[Span, ...] = tuple(
            Span(index=e.index, path=e.path, task=(e.task or "unknown") + more, first=end - len(rows), stop=end)
            for (e, rows, more), end in zip(tables, ends, strict=True)
        )
        self.tasks: tuple[str, ...] = tuple(dict.fromkeys(span.task for span in self.spans))
        self.columns = _columns([rows for _, rows, _ in tables], self.spans, self.tasks, config.rows.fps)
        # As in an export: true in the last row of a success.
        self.columns[SUCCESS] = np.zeros(len(self), bool)
        for span, (episode, _, _) in zip(self.spans, tables, strict=True):
            self.columns[SUCCESS][span.stop - 1] = episode.outcome == "success"
        self.frames: Mapping[str, NDArray[np.int64]] = {
            key: np.concatenate([rows.frames[name] for _, rows, _ in tables]) for key, name in self.cameras.items()
        }
        self.offsets = _offsets(config, {*self.columns, *self.cameras})
        if cache is None:
            paths = [span.path for span in self.spans]
            self._reader = FrameReader(paths, threads=config.threads, cache_bytes=config.cache_bytes)
        else:
            cache.require(episode for episode, _, _ in tables)
            self._reader = CacheReader(cache, [span.index for span in self.spans])

    def __len__(self) -> int:
        """Return the number of rows over all episodes."""
        return self.spans[-1].stop

    @property
    def fps(self) -> int:
        """Rows per second."""
        return self.config.rows.fps

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a row and its window: as `batch`, without the first axis; "task" is the instruction."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        values = self.batch([row % len(self)])
        return {key: value[0] for key, value in values.items()}

    def batch(
        self, rows: Sequence[int] | NDArray[np.int64], images: Mapping[str, NDArray[np.uint8]] | None = None
    ) -> dict[str, Any]:
        """Return the windows of rows as key -> array, and "task" -> list of instructions.

        Columns have the shape (rows, names) or, with offsets, (rows, offsets, names). Images are uint8 of shape
        (rows, 3, H, W), or (rows, offsets, 3, H, W) with more than one offset.

        Args:
            rows: Numbers of the rows.
            images: Arrays to write the images to, as `empty_images` returns them.
        """
        at = np.asarray(rows, np.int64)
        found = images if images is not None else self.empty_images(len(at))
        first, last = self._ends(at)
        wanted = {key: at[:, None] + offsets for key, offsets in self.offsets.items()}
        out: dict[str, Any] = dict(found)
        for key, column in self.columns.items():
            rows_of = np.clip(wanted[key], first[:, None], last[:, None]) if key in wanted else at
            out[key] = column[rows_of]
        for key, moved in wanted.items():
            out[f"{key}_is_pad"] = (moved < first[:, None]) | (moved > last[:, None])
        out["task"] = [self.tasks[number] for number in out["task_index"].tolist()]
        self._reader.read(self._requests(at, found))
        return out

    def empty_images(self, count: int) -> dict[str, NDArray[np.uint8]]:
        """Return uninitialized arrays for the images of `count` rows."""
        return {key: np.empty(self.image_shape(key, count), np.uint8) for key in self.cameras}

    def image_shape(self, key: str, count: int) -> tuple[int, ...]:
        """Return the shape of a camera's images in a batch of `count` rows."""
        offsets = len(self.offsets.get(key, (0,)))
        return (count, *((offsets,) if offsets > 1 else ()), 3, *self.shapes[key])

    def with_deltas(self, deltas: Mapping[str, Sequence[float]]) -> Windows:
        """Return windows with other offsets over the same rows, without reading them again."""
        other = copy.copy(self)
        other.config = replace(self.config, deltas=deltas)
        other.offsets = _offsets(other.config, {*self.columns, *self.cameras})
        return other

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group of pictures of each row in the first camera, (rows,); without cameras, the number of the row."""
        if not self.cameras:
            return np.arange(len(self))
        key, name = next(iter(self.cameras.items()))
        return self.frames[key] // self.streams[name].gop

    @property
    def group_nbytes(self) -> int:
        """Memory of one decoded group of pictures of every camera [bytes]."""
        return sum(s.gop * s.width * s.height * 3 // 2 for s in self.streams.values())

    def prefetch(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """Start decoding the frames that a later `batch` of these rows needs; requires `cache_bytes`."""
        frames = self._frames_of(np.asarray(rows, np.int64))
        self._reader.prefetch((episode, self.cameras[key], frame) for key, episode, frame in frames)

    def close(self) -> None:
        """Stop the threads of this process; the next read starts them again."""
        self._reader.close()

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position in `spans` of each row's episode."""
        return np.searchsorted(self._stops, rows, "right")

    @property
    def _stops(self) -> NDArray[np.int64]:
        return np.array([span.stop for span in self.spans])

    def _ends(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last row of each row's episode."""
        stops = self._stops
        span = np.searchsorted(stops, rows, "right")
        return np.concatenate([[0], stops])[span], stops[span] - 1

    def _requests(self, rows: NDArray[np.int64], images: Mapping[str, NDArray[np.uint8]]) -> list[FrameRequest]:
        """Return a request for every frame of a batch."""
        flat = {key: array.reshape(-1, *array.shape[-3:]) for key, array in images.items()}
        filled = dict.fromkeys(images, 0)
        found: list[FrameRequest] = []
        for key, episode, frame in self._frames_of(rows):
            found.append(FrameRequest(episode, self.cameras[key], frame, flat[key][filled[key]]))
            filled[key] += 1
        return found

    def _frames_of(self, rows: NDArray[np.int64]) -> list[tuple[str, int, int]]:
        """Return key, episode and frame of every image in the windows of rows, ordered by row, then by offset."""
        first, last = self._ends(rows)
        episodes = self.episode_of(rows)
        found: list[tuple[str, int, int]] = []
        for key in self.cameras:
            offsets = self.offsets.get(key, np.zeros(1, np.int64))
            moved = np.clip(rows[:, None] + offsets, first[:, None], last[:, None])
            shown = self.frames[key][moved]
            owners = np.repeat(episodes, len(offsets))
            found += [(key, e, f) for e, f in zip(owners.tolist(), shown.ravel().tolist(), strict=True)]
        return found


def _shape(path: StorePath, config: WindowConfig, cache: FrameCache | None, stream: VideoStream) -> tuple[int, int]:
    """Return height and width of a camera's images in a window [px]."""
    if cache is None:
        return config.size or (stream.height, stream.width)
    kept = cache.shape(stream.name, stream.height, stream.width)
    if config.size not in (None, kept):
        found = f"contains {kept[1]}x{kept[0]} images, but {config.size[1]}x{config.size[0]} was requested"  # type: ignore[index]
        raise FileError(cache.path, found, f"build a cache of that size, or use the size of this one ({path})")
    return kept


def row_offsets(seconds: Sequence[float], fps: int, key: str) -> NDArray[np.int64]:
    """Return offsets in rows, (offsets,).

    Raises:
        InvalidValueError: If an offset is not a multiple of 1 / fps, as in LeRobot.
    """
    scaled = np.asarray(seconds, np.float64) * fps
    rounded = np.round(scaled)
    off = np.abs(scaled - rounded) / fps > TOLERANCE_S
    if not len(scaled) or off.any():
        found = list(seconds) if not len(scaled) else float(np.asarray(seconds)[off][0])
        raise InvalidValueError(f"offset of {key}", found, f"multiples of 1/{fps} s")
    return rounded.astype(np.int64)


def _offsets(config: WindowConfig, known: set[str]) -> dict[str, NDArray[np.int64]]:
    for key in config.deltas:
        if key not in known:
            raise UnknownNameError("key", key, known)
    return {key: row_offsets(seconds, config.rows.fps, key) for key, seconds in config.deltas.items()}


def _chosen(dataset: Dataset, indices: Sequence[int] | None) -> list[Callable[[], Episode]]:
    """Return a function that opens each chosen episode."""
    episodes, known = dataset.episodes, list(dataset.indices)
    wanted = known if indices is None else list(indices)
    positions = {index: position for position, index in enumerate(known)}
    for index in wanted:
        if index not in positions:
            raise InvalidValueError("episode index", index, f"one of the dataset's {count(len(known), 'episode')}")
    return [lambda position=positions[index]: episodes[position] for index in wanted]


def _tables(
    openers: Sequence[Callable[[], Episode]],
    config: WindowConfig,
    robot: str,
    skipped: dict[int, str],
    advance: Callable[[int, int], None],
) -> list[tuple[Episode, Rows, str]]:
    """Return the rows of every episode that can be resampled, a correction as one table for each repetition.

    Each has what follows its instruction. The reasons for the other episodes go to `skipped`.
    """
    whole = _whole_tables(openers, config, skipped, advance)
    found: list[tuple[Episode, Rows, str]] = []
    goodness = are_good(whole, config.advantage, fps=config.rows.fps, robot=robot)
    for (episode, rows), good in zip(whole, goodness, strict=True):
        if good is None:
            parts = [(part, "") for part in pieces(rows, config.control)]
        else:
            parts = labeled_pieces(rows, config.control, good=good, success=episode.outcome == "success")
        found += [(episode, *part) for part in parts * config.control.repeats_of(episode.index)]
        if not parts:
            skipped[episode.index] = "a policy commanded all of it; pass --control all to use it"
    if all(CONTROL_COLUMN in rows.columns for _, rows, _ in found):
        return found
    # Recordings of before policies could command a robot do not state who did.
    return [(episode, rows.without(CONTROL_COLUMN), more) for episode, rows, more in found]


def _whole_tables(
    openers: Sequence[Callable[[], Episode]],
    config: WindowConfig,
    skipped: dict[int, str],
    advance: Callable[[int, int], None],
) -> list[tuple[Episode, Rows]]:
    """Return the rows of every episode that can be resampled; the reasons for the others go to `skipped`."""

    def read(opener: Callable[[], Episode]) -> tuple[Episode, Rows | str]:
        episode = opener()
        try:
            return episode, make_rows(episode, config.rows)
        except UnfitEpisodeError as error:
            return episode, error.why

    found: list[tuple[Episode, Rows]] = []
    first: Rows | None = None
    with ThreadPoolExecutor(READING_THREADS) as pool:
        for done, (episode, rows) in enumerate(pool.map(read, openers)):
            advance(done + 1, len(openers))
            if isinstance(rows, str):
                skipped[episode.index] = rows
                continue
            try:
                require_layout(episode.index, *(one.without(CONTROL_COLUMN).layout for one in (rows, first or rows)))
            except UnfitEpisodeError as error:
                skipped[episode.index] = error.why
                continue
            first = first or rows
            found.append((episode, rows))
    return found


def _columns(tables: Sequence[Rows], spans: Sequence[Span], tasks: Sequence[str], fps: int) -> dict[str, NDArray[Any]]:
    """Return the columns over all episodes, including LeRobot's index columns; a single number per row is (rows,)."""
    out: dict[str, NDArray[Any]] = {}
    for key, column in tables[0].columns.items():
        values = np.concatenate([rows.columns[key].values for rows in tables]).astype(np.float32, copy=False)
        out[key] = values[:, 0] if len(column.names) == 1 else values
    frame = np.concatenate([np.arange(span.stop - span.first) for span in spans])
    numbers = {task: number for number, task in enumerate(tasks)}
    counts = [span.stop - span.first for span in spans]
    return out | {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(spans)), counts),
        "index": np.arange(len(frame)),
        "task_index": np.repeat([numbers[span.task] for span in spans], counts),
    }
