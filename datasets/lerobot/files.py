"""The files of a LeRobot dataset, v2 and v3, for reading: without LeRobot, PyTorch or pandas.

v3 keeps many episodes in a file and says in `meta/episodes` where each begins; v2 has a file for each episode and
camera, and its tables as JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as _pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from waldo.datasets.formats.names import inside
from waldo.datasets.formats.video_in import VideoFile
from waldo.errors import FileError

COMPUTE: Any = _pc
"""Functions that pyarrow makes when it is imported."""

BATCH = 64
"""Rows of pictures that are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the tables say of one episode."""

    index: int
    """Its number."""
    length: int
    """Rows."""
    tasks: tuple[str, ...]
    """The instructions."""
    places: Mapping[str, Any]
    """v3: where its rows and pictures are."""


class LeRobotFiles:
    """A LeRobot dataset's folder."""

    def __init__(self, root: Path) -> None:
        """Read what describes the dataset."""
        self.root = root
        info = _json(root / "meta" / "info.json")
        try:
            self.version = str(info["codebase_version"])
            self.fps = float(info["fps"])
            self.features: Mapping[str, Mapping[str, Any]] = {str(k): dict(v) for k, v in info["features"].items()}
            self.robot = str(info.get("robot_type") or "")
            self._data_path, self._video_path = str(info["data_path"]), str(info.get("video_path") or "")
            self._chunk = max(1, int(info.get("chunks_size", 1000)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(root / "meta" / "info.json", f"cannot be understood ({error!r})") from error
        if self.version[:3] not in ("v2.", "v3."):
            raise FileError(root, f"is LeRobot {self.version}, expected v2.x or v3.x", "convert it with lerobot")
        if not 0 < self.fps < 1e6:
            raise FileError(root / "meta" / "info.json", f"states {self.fps} frames a second")

    @property
    def is_v2(self) -> bool:
        """Whether every episode has files of its own."""
        return self.version.startswith("v2.")

    @cached_property
    def episodes(self) -> Sequence[Entry]:
        """The episodes in their order."""
        rows = _lines(self.root / "meta" / "episodes.jsonl") if self.is_v2 else self._episode_rows()
        try:
            found = [
                Entry(
                    index=int(row["episode_index"]),
                    length=int(row["length"]),
                    tasks=tuple(map(str, row.get("tasks") or ())),
                    places=row,
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(self.root / "meta", f"its table of episodes cannot be understood ({error!r})") from error
        return sorted(found, key=lambda entry: entry.index)

    def _episode_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for path in sorted((self.root / "meta" / "episodes").glob("*/*.parquet")):
            with parquet(path) as file:
                names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
                rows += file.read(columns=names).to_pylist()
        return rows

    @cached_property
    def tasks(self) -> Mapping[int, str]:
        """The instructions by number."""
        if self.is_v2:
            rows = _lines(self.root / "meta" / "tasks.jsonl")
        else:
            with parquet(self.root / "meta" / "tasks.parquet") as file:
                rows = file.read().to_pylist()
        try:
            # pandas keeps the instruction as its index, under whichever name.
            named = [(row["task_index"], row.get("task", row.get("__index_level_0__"))) for row in rows]
            return {int(number): str(text) for number, text in named}
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(self.root / "meta", f"its table of tasks cannot be understood ({error!r})") from error

    def rows(self, entry: Entry, columns: Sequence[str]) -> pa.Table:
        """Return columns of an episode's rows, in their order."""
        tables = [pa.Table.from_batches([batch]) for batch in self.batches(entry, columns, 1 << 16)]
        if not tables:
            return pa.table({name: [] for name in columns})
        return pa.concat_tables(tables).combine_chunks()

    def batches(self, entry: Entry, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """Yield columns of an episode's rows a few rows at a time."""
        path = self.data_path(entry)
        with parquet(path) as file:
            for name in columns:
                if name not in file.schema_arrow.names:
                    raise FileError(path, f"lacks the column {name!r}", "fetch the file again")
            groups = _groups(file, entry.index)
            wanted = list(dict.fromkeys([*columns, "episode_index"]))
            for batch in file.iter_batches(batch_size=size, row_groups=groups, columns=wanted):
                mine = batch.filter(COMPUTE.equal(batch.column("episode_index"), entry.index))
                if mine.num_rows:
                    yield mine.select(list(columns))

    def data_path(self, entry: Entry) -> Path:
        """Return the file of an episode's rows."""
        places = {"chunk_index": "data/chunk_index", "file_index": "data/file_index"}
        return self._path(self._data_path, entry, places, {})

    def video(self, entry: Entry, key: str) -> VideoFile:
        """Return an episode's part of a camera's video."""
        if not self._video_path:
            raise FileError(self.root / "meta" / "info.json", f"names no path of videos, expected one for {key}")
        at = f"videos/{key}"
        places = {"chunk_index": f"{at}/chunk_index", "file_index": f"{at}/file_index"}
        path = self._path(self._video_path, entry, places, {"video_key": key})
        start = 0.0 if self.is_v2 else _number(self.root, entry, f"{at}/from_timestamp")
        if not path.is_file():
            raise FileError(path, "is missing", "fetch the whole dataset")
        return VideoFile(path=path, start_s=start, count=entry.length, fps=self.fps)

    def _path(self, template: str, entry: Entry, places: Mapping[str, str], more: Mapping[str, str]) -> Path:
        """Return a file that a template of info.json names; one outside of the folder is refused."""
        values: dict[str, Any] = {"episode_index": entry.index, "episode_chunk": entry.index // self._chunk, **more}
        if not self.is_v2:
            values |= {name: int(_number(self.root, entry, column)) for name, column in places.items()}
        try:
            relative = template.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise FileError(self.root / "meta" / "info.json", f"names files as {template!r} ({error!r})") from error
        return inside(self.root, relative)


@contextmanager
def parquet(path: Path) -> Generator[pq.ParquetFile]:
    """Open a parquet file for the block; what pyarrow cannot read is a FileError."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise FileError(path, "is missing", "fetch the whole dataset") from error
    except (OSError, pa.ArrowException) as error:
        raise FileError(path, f"cannot be read ({str(error).splitlines()[0]})", "fetch the file again") from error


def _groups(file: pq.ParquetFile, episode: int) -> list[int]:
    """Return the row groups that may hold rows of an episode."""
    names = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]
    if "episode_index" not in names:
        raise FileError("a file of rows", "lacks the column 'episode_index'", "fetch the file again")
    place = names.index("episode_index")
    found: list[int] = []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(place).statistics
        if known is None or not known.has_min_max or known.min <= episode <= known.max:
            found.append(group)
    return found


def to_numbers(column: pa.ChunkedArray[Any] | pa.Array[Any], name: str) -> NDArray[Any]:
    """Return a column of numbers or (nested) lists of them as an array (rows, ...); rows of other lengths are refused.

    What is null is NaN.
    """
    array: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    shape = [len(array)]
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or _is_fixed(array.type)):
            break
        lengths = COMPUTE.list_value_length(array)
        found = set(lengths.to_pylist())
        if len(found) > 1 or None in found:
            told = " and ".join(sorted(map(str, found)))
            raise FileError(name, f"has rows of {told} numbers, expected the same in every row")
        shape.append(int(found.pop()) if found else 0)
        array = array.flatten()
    if array.null_count:
        array = array.cast(pa.float64()).fill_null(float("nan"))
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_fixed(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind)


def _number(root: Path, entry: Entry, column: str) -> float:
    try:
        return float(entry.places[column])
    except (KeyError, TypeError, ValueError) as error:
        found = f"says nothing of {column} of episode {entry.index} ({error!r})"
        raise FileError(root / "meta" / "episodes", found, "fetch the whole dataset") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise FileError(path, "is missing", "fetch the whole dataset") from error
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise FileError(path, f"holds a {type(values).__name__}, expected an object")
    return values


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise FileError(path, "is missing", "fetch the whole dataset") from error
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error})", "fetch the file again") from error
    if not all(isinstance(row, dict) for row in rows):
        raise FileError(path, "holds lines that are no objects")
    return rows
