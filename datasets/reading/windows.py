"""A dataset as one long list of rows, with windows around each, as training wants it. No export and no torch.

The rows are those that an export to LeRobot would hold, with the same keys, and a window is one of LeRobot's: offsets
in seconds that are multiples of 1 / fps, clamped to the episode, with `<key>_is_pad` where they were.
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
from waldo.datasets.lerobot.export import feature_key
from waldo.datasets.reading.frame_cache import CacheReader, FrameCache
from waldo.datasets.reading.frame_reader import FrameReader, Wanted
from waldo.datasets.reading.rows import RowConfig, Rows, UnfitEpisodeError, make_rows
from waldo.datasets.store_path import StorePath
from waldo.datasets.streams import VideoStream
from waldo.errors import FileError, InvalidValueError, UnknownNameError

TOLERANCE_S = 1e-4
"""How far an offset may lie from a row, LeRobot's own default [s]."""

READING_THREADS = 4
"""Episodes whose numbers are read at a time while a dataset is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """What a window holds."""

    rows: RowConfig
    """How an episode becomes rows, as for an export."""
    deltas: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Key -> offsets from the row [s], such as {"observation.images.front": [-1 / 30, 0]}; none: the row alone."""
    size: tuple[int, int] | None = None
    """Height and width of the pictures [px]; None: as recorded, or as they are in the cache."""
    frame_cache: Path | None = None
    """Folder of a training cache (see frame_cache.py) to read pictures from instead of decoding them."""
    threads: int | None = None
    """Threads that decode; None: the cores there are, shared out among a DataLoader's workers."""
    cache_bytes: int = 0
    """Decoded pictures to keep for neighbours, in each process [bytes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where an episode stands in the list of rows."""

    index: int
    """The episode's index in the store."""
    path: StorePath
    """Where it lies."""
    task: str
    """Its instruction; "unknown" where none was given."""
    first: int
    """Its first row."""
    stop: int
    """The row after its last."""


class Windows:
    """Rows of a dataset by number, 0 to `len(windows) - 1`, each with its window."""

    def __init__(
        self,
        dataset: Dataset,
        config: WindowConfig,
        *,
        indices: Sequence[int] | None = None,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Read the numbers of the episodes with these indices (None: all); pictures are read when they are asked for.

        Episodes that cannot become rows are in `left_out`, as an export would leave them out.
        """
        self.path, self.config, self.robot = dataset.path, config, dataset.robot
        chosen = _chosen(dataset, indices)
        self.left_out: dict[int, str] = {}
        tables = _tables(chosen, config.rows, self.left_out, advance)
        if not tables:
            why = "; ".join(f"episode {index}: {text}" for index, text in self.left_out.items()) or "it is empty"
            raise FileError(dataset.path, f"has no episode to train on ({why})", "run waldo check")
        first_episode, first_rows = tables[0]
        self.names: Mapping[str, tuple[str, ...]] = {key: c.names for key, c in first_rows.columns.items()}
        self.cameras: Mapping[str, str] = {feature_key(name): name for name in config.rows.cameras}
        self.streams = {name: first_episode.camera(name) for name in config.rows.cameras}
        cache = None if config.frame_cache is None else FrameCache.open(config.frame_cache)
        self.shapes: Mapping[str, tuple[int, int]] = {
            key: _shape(self.path, config, cache, self.streams[name]) for key, name in self.cameras.items()
        }
        ends = np.cumsum([len(rows.instants_ns) for _, rows in tables]).tolist()
        self.spans: tuple[Span, ...] = tuple(
            Span(index=e.index, path=e.path, task=e.task or "unknown", first=end - len(rows.instants_ns), stop=end)
            for (e, rows), end in zip(tables, ends, strict=True)
        )
        self.tasks: tuple[str, ...] = tuple(dict.fromkeys(span.task for span in self.spans))
        self.columns = _columns([rows for _, rows in tables], self.spans, self.tasks, config.rows.fps)
        self.frames: Mapping[str, NDArray[np.int64]] = {
            key: np.concatenate([rows.frames[name] for _, rows in tables]) for key, name in self.cameras.items()
        }
        self.offsets = _offsets(config, {*self.columns, *self.cameras})
        if cache is None:
            paths = [span.path for span in self.spans]
            self._reader = FrameReader(paths, threads=config.threads, cache_bytes=config.cache_bytes)
        else:
            cache.need(episode for episode, _ in tables)
            self._reader = CacheReader(cache, [span.index for span in self.spans])

    def __len__(self) -> int:
        """Return how many rows there are, over all episodes."""
        return self.spans[-1].stop

    @property
    def fps(self) -> int:
        """Rows a second."""
        return self.config.rows.fps

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a row and its window: as `batch`, without the first axis, and the task's words under "task"."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        values = self.batch([row % len(self)])
        return {key: value[0] for key, value in values.items()}

    def batch(
        self, rows: Sequence[int] | NDArray[np.int64], images: Mapping[str, NDArray[np.uint8]] | None = None
    ) -> dict[str, Any]:
        """Return windows of rows: key -> array whose first axis is the row, and "task" -> list of str.

        Columns are (rows, names) or, with offsets, (rows, offsets, names); pictures are uint8 (rows, 3, H, W), or
        (rows, offsets, 3, H, W) where there is more than one offset. `images` are arrays to put the pictures in.
        """
        at = np.asarray(rows, np.int64)
        pictures = images if images is not None else self.empty_images(len(at))
        first, last = self._ends(at)
        wanted = {key: at[:, None] + offsets for key, offsets in self.offsets.items()}
        out: dict[str, Any] = dict(pictures)
        for key, column in self.columns.items():
            rows_of = np.clip(wanted[key], first[:, None], last[:, None]) if key in wanted else at
            out[key] = column[rows_of]
        for key, moved in wanted.items():
            out[f"{key}_is_pad"] = (moved < first[:, None]) | (moved > last[:, None])
        out["task"] = [self.tasks[number] for number in out["task_index"].tolist()]
        self._reader.read(self._wanted(at, pictures))
        return out

    def empty_images(self, count: int) -> dict[str, NDArray[np.uint8]]:
        """Return arrays for the pictures of `count` rows, not filled."""
        return {key: np.empty(self.image_shape(key, count), np.uint8) for key in self.cameras}

    def image_shape(self, key: str, count: int) -> tuple[int, ...]:
        """Return the shape of a camera's pictures in a batch of `count` rows."""
        offsets = len(self.offsets.get(key, (0,)))
        return (count, *((offsets,) if offsets > 1 else ()), 3, *self.shapes[key])

    def with_deltas(self, deltas: Mapping[str, Sequence[float]]) -> Windows:
        """Return windows of other offsets over the same rows; nothing is read anew."""
        other = copy.copy(self)
        other.config = replace(self.config, deltas=deltas)
        other.offsets = _offsets(other.config, {*self.columns, *self.cameras})
        return other

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Which group of pictures of the first camera each row shows, (rows,); a row its own where there is none."""
        if not self.cameras:
            return np.arange(len(self))
        key, name = next(iter(self.cameras.items()))
        return self.frames[key] // self.streams[name].gop

    @property
    def group_nbytes(self) -> int:
        """How much memory the decoded groups of pictures of all cameras take at one place in time [bytes]."""
        return sum(s.gop * s.width * s.height * 3 // 2 for s in self.streams.values())

    def prefetch(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """Begin to decode what a later `batch` of these rows needs; needs `cache_bytes` to hold it."""
        places = self._frames_of(np.asarray(rows, np.int64))
        self._reader.prefetch((e, self.cameras[key], f) for key, e, f in places)

    def close(self) -> None:
        """End the threads of this process; reading again begins anew."""
        self._reader.close()

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place in `spans` of each row's episode."""
        return np.searchsorted(self._stops, rows, "right")

    @property
    def _stops(self) -> NDArray[np.int64]:
        return np.array([span.stop for span in self.spans])

    def _ends(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last row of each row's episode."""
        stops = self._stops
        place = np.searchsorted(stops, rows, "right")
        return np.concatenate([[0], stops])[place], stops[place] - 1

    def _wanted(self, rows: NDArray[np.int64], images: Mapping[str, NDArray[np.uint8]]) -> list[Wanted]:
        """Return every frame of a batch and where it goes."""
        flat = {key: array.reshape(-1, *array.shape[-3:]) for key, array in images.items()}
        places = dict.fromkeys(images, 0)
        found: list[Wanted] = []
        for key, episode, frame in self._frames_of(rows):
            found.append(Wanted(episode, self.cameras[key], frame, flat[key][places[key]]))
            places[key] += 1
        return found

    def _frames_of(self, rows: NDArray[np.int64]) -> list[tuple[str, int, int]]:
        """Return key, episode and frame of everything that the windows of rows show, row by row, offset by offset."""
        first, last = self._ends(rows)
        episodes = self.episode_of(rows)
        found: list[tuple[str, int, int]] = []
        for key in self.cameras:
            offsets = self.offsets.get(key, np.zeros(1, np.int64))
            moved = np.clip(rows[:, None] + offsets, first[:, None], last[:, None])
            shown = self.frames[key][moved]
            whose = np.repeat(episodes, len(offsets))
            found += [(key, e, f) for e, f in zip(whose.tolist(), shown.ravel().tolist(), strict=True)]
        return found


def _shape(path: StorePath, config: WindowConfig, cache: FrameCache | None, stream: VideoStream) -> tuple[int, int]:
    """Return height and width of a camera's pictures in a window [px]."""
    if cache is None:
        return config.size or (stream.height, stream.width)
    kept = cache.shape(stream.name, stream.height, stream.width)
    if config.size not in (None, kept):
        found = f"holds pictures of {kept[1]}x{kept[0]}, asked were {config.size[1]}x{config.size[0]}"  # type: ignore[index]
        raise FileError(cache.path, found, f"build one of that size, or leave the size away ({path})")
    return kept


def row_offsets(seconds: Sequence[float], fps: int, key: str) -> NDArray[np.int64]:
    """Return offsets in rows; one that does not lie on a row is refused, as LeRobot does."""
    scaled = np.asarray(seconds, np.float64) * fps
    rounded = np.round(scaled)
    off = np.abs(scaled - rounded) / fps > TOLERANCE_S
    if not len(scaled) or off.any():
        found = list(seconds) if not len(scaled) else float(np.asarray(seconds)[off][0])
        raise InvalidValueError(f"an offset of {key}", found, f"multiples of 1/{fps} s")
    return rounded.astype(np.int64)


def _offsets(config: WindowConfig, known: set[str]) -> dict[str, NDArray[np.int64]]:
    for key in config.deltas:
        if key not in known:
            raise UnknownNameError("key", key, known)
    return {key: row_offsets(seconds, config.rows.fps, key) for key, seconds in config.deltas.items()}


def _chosen(dataset: Dataset, indices: Sequence[int] | None) -> list[Callable[[], Episode]]:
    """Return what opens each chosen episode."""
    episodes, known = dataset.episodes, list(dataset.indices)
    wanted = known if indices is None else list(indices)
    places = {index: place for place, index in enumerate(known)}
    for index in wanted:
        if index not in places:
            raise InvalidValueError("episode index", index, f"one of the dataset's {len(known)} episodes")
    return [lambda place=places[index]: episodes[place] for index in wanted]


def _tables(
    openers: Sequence[Callable[[], Episode]],
    config: RowConfig,
    left_out: dict[int, str],
    advance: Callable[[int, int], None],
) -> list[tuple[Episode, Rows]]:
    """Return the rows of every episode that fits."""

    def read(opener: Callable[[], Episode]) -> tuple[Episode, Rows | str]:
        episode = opener()
        try:
            return episode, make_rows(episode, config)
        except UnfitEpisodeError as error:
            return episode, error.why

    found: list[tuple[Episode, Rows]] = []
    with ThreadPoolExecutor(READING_THREADS) as pool:
        for done, (episode, rows) in enumerate(pool.map(read, openers)):
            advance(done + 1, len(openers))
            if isinstance(rows, str):
                left_out[episode.index] = rows
            elif found and (differing := _differing(found[0], (episode, rows))):
                why = f"its columns differ from those of the first episode: {', '.join(differing)}"
                left_out[episode.index] = why
            else:
                found.append((episode, rows))
    return found


def _differing(a: tuple[Episode, Rows], b: tuple[Episode, Rows]) -> list[str]:
    """Return the columns and cameras in which two episodes cannot stand in one list."""
    kinds = [
        {key: column.names for key, column in rows.columns.items()}
        | {name: (e.camera(name).height, e.camera(name).width) for name in rows.frames}
        for e, rows in (a, b)
    ]
    return sorted(key for key in kinds[0].keys() | kinds[1].keys() if kinds[0].get(key) != kinds[1].get(key))


def _columns(tables: Sequence[Rows], spans: Sequence[Span], tasks: Sequence[str], fps: int) -> dict[str, NDArray[Any]]:
    """Return all columns over all episodes, LeRobot's own included; one number a row is (rows,)."""
    out: dict[str, NDArray[Any]] = {}
    for key, column in tables[0].columns.items():
        values = np.concatenate([rows.columns[key].values for rows in tables])
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
