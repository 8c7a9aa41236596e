"""Read the files of a LeRobot dataset, v2 or v3, without LeRobot, PyTorch or pandas.

v3 stores many episodes in one file and their positions in `meta/episodes`; v2 has one file per episode and camera, and
its tables as JSON lines.
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

from waldo.datasets.formats.names import inside, require_regular
from waldo.datasets.formats.video_in import VideoFile
from waldo.datasets.lerobot.layout import ORIGIN_PATH
from waldo.errors import FileError

COMPUTE: Any = _pc
"""Functions that pyarrow creates at import time, so that type checkers do not find them."""

BATCH = 64
"""Rows of images that are read at a time."""


class MissingVideoError(FileError):
    """A video of an episode that does not exist, as in a dataset that was downloaded without its videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEntry:
    """One episode in the tables of a dataset."""

    index: int
    """Index of the episode."""
    length: int
    """Number of rows."""
    tasks: tuple[str, ...]
    """The instructions."""
    columns: Mapping[str, Any]
    """The columns of its table row; v3: the positions of its rows and videos."""


class LeRobotFiles:
    """The folder of a LeRobot dataset."""

    def __init__(self, root: Path) -> None:
        """Read `meta/info.json`."""
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
            raise FileError(root / "meta" / "info.json", f"is invalid ({error!r})") from error
        if self.version[:3] not in ("v2.", "v3."):
            raise FileError(
                root, f"is a LeRobot dataset {self.version}, expected v2.x or v3.x", "convert it with LeRobot"
            )
        if not 0 < self.fps < 1e6:
            raise FileError(root / "meta" / "info.json", f"has an fps of {self.fps}")

    @property
    def is_v2(self) -> bool:
        """Whether every episode has its own files."""
        return self.version.startswith("v2.")

    @cached_property
    def episodes(self) -> Sequence[EpisodeEntry]:
        """The episodes in the order of their indices."""
        rows = _lines(self.root / "meta" / "episodes.jsonl") if self.is_v2 else self._episode_rows()
        try:
            found = [
                EpisodeEntry(
                    index=int(row["episode_index"]),
                    length=int(row["length"]),
                    tasks=tuple(map(str, row.get("tasks") or ())),
                    columns=row,
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(self.root / "meta", f"the table of episodes is invalid ({error!r})") from error
        return sorted(found, key=lambda entry: entry.index)

    def _episode_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for path in sorted((self.root / "meta" / "episodes").glob("*/*.parquet")):
            with parquet(path) as file:
                names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
                rows += file.read(columns=names).to_pylist()
        return rows

    @cached_property
    def origin(self) -> Mapping[int, Mapping[str, Any]]:
        """Episode -> what waldo knew of it when it exported the dataset; empty for a dataset of another program.

        It is empty as well if the episodes were edited since, as their indices may have changed.
        """
        path = self.root / ORIGIN_PATH
        try:
            found = {int(one["episode_index"]): dict(one) for one in _json(path)["episodes"]} if path.exists() else {}
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(path, f"is invalid ({error!r})", "delete the file to import without it") from error
        known = {index: one.get("rows") for index, one in found.items()}
        return found if known == {entry.index: entry.length for entry in self.episodes} else {}

    @cached_property
    def tasks(self) -> Mapping[int, str]:
        """Task index -> instruction."""
        if self.is_v2:
            rows = _lines(self.root / "meta" / "tasks.jsonl")
        else:
            with parquet(self.root / "meta" / "tasks.parquet") as file:
                rows = file.read().to_pylist()
        try:
            # pandas stores the instruction as its index, whose name depends on the writer.
            named = [(row["task_index"], row.get("task", row.get("__index_level_0__"))) for row in rows]
            return {int(number): str(text) for number, text in named}
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(self.root / "meta", f"the table of tasks is invalid ({error!r})") from error

    def rows(self, entry: EpisodeEntry, columns: Sequence[str]) -> pa.Table:
        """Return columns of an episode's rows."""
        tables = [pa.Table.from_batches([batch]) for batch in self.batches(entry, columns, 1 << 16)]
        if not tables:
            return pa.table({name: [] for name in columns})
        return pa.concat_tables(tables).combine_chunks()

    def batches(self, entry: EpisodeEntry, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
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

    def data_path(self, entry: EpisodeEntry) -> Path:
        """Return the path of the file with an episode's rows.

        The table of episodes may name another one: a converter of LeRobot left the episode at a file's border so.
        """
        columns = {"chunk_index": "data/chunk_index", "file_index": "data/file_index"}
        path = self._path(self._data_path, entry, columns, {})
        if self.is_v2 or entry.index not in self._moved:
            return path
        return self._moved[entry.index]

    def is_moved(self, entry: EpisodeEntry) -> bool:
        """Return whether an episode's rows are in another file than the table of episodes states."""
        return not self.is_v2 and entry.index in self._moved

    @cached_property
    def _moved(self) -> Mapping[int, Path]:
        """Episode -> file with its rows, for episodes whose rows are not where the table of episodes states."""
        columns = {"chunk_index": "data/chunk_index", "file_index": "data/file_index"}
        wanted: dict[Path, set[int]] = {}
        for entry in self.episodes:
            if entry.length:
                wanted.setdefault(self._path(self._data_path, entry, columns, {}), set()).add(entry.index)
        missing: set[int] = set()
        present: dict[Path, set[int]] = {}
        for path in sorted((self.root / "data").glob("*/*.parquet")):
            with parquet(path) as file:
                if "episode_index" in file.schema_arrow.names:
                    present[path] = set(file.read(columns=["episode_index"])["episode_index"].unique().to_pylist())
        for path, indices in wanted.items():
            missing |= indices - present.get(path, indices)
        return {index: path for path, indices in present.items() for index in indices & missing}

    def video(self, entry: EpisodeEntry, key: str) -> VideoFile:
        """Return an episode's section of a camera's video."""
        if not self._video_path:
            raise FileError(self.root / "meta" / "info.json", f"has no video_path, expected one for {key}")
        at = f"videos/{key}"
        columns = {"chunk_index": f"{at}/chunk_index", "file_index": f"{at}/file_index"}
        path = self._path(self._video_path, entry, columns, {"video_key": key})
        start = 0.0 if self.is_v2 else _number(self.root, entry, f"{at}/from_timestamp")
        if not path.is_file():
            raise MissingVideoError(path, "the file does not exist", "fetch the whole dataset")
        return VideoFile(path=path, start_s=start, count=entry.length, fps=self.fps)

    def _path(self, template: str, entry: EpisodeEntry, columns: Mapping[str, str], more: Mapping[str, str]) -> Path:
        """Return the path from a template of info.json; one outside the dataset's folder raises FileError."""
        values: dict[str, Any] = {"episode_index": entry.index, "episode_chunk": entry.index // self._chunk, **more}
        if not self.is_v2:
            values |= {name: int(_number(self.root, entry, column)) for name, column in columns.items()}
        try:
            relative = template.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise FileError(
                self.root / "meta" / "info.json", f"has an invalid path template {template!r} ({error!r})"
            ) from error
        return inside(self.root, relative)


@contextmanager
def parquet(path: Path) -> Generator[pq.ParquetFile]:
    """Open a Parquet file; errors of pyarrow are raised as FileError."""
    require_regular(path)
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise FileError(path, "the file does not exist", "fetch the whole dataset") from error
    except (OSError, pa.ArrowException) as error:
        raise FileError(path, f"cannot be read ({str(error).splitlines()[0]})", "fetch the file again") from error


def _groups(file: pq.ParquetFile, episode: int) -> list[int]:
    """Return the row groups that may contain rows of an episode."""
    names = [file.metadata.schema.column(number).path for number in range(file.metadata.num_columns)]
    if "episode_index" not in names:
        raise FileError("data file", "lacks the column 'episode_index'", "fetch the file again")
    column = names.index("episode_index")
    found: list[int] = []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max or known.min <= episode <= known.max:
            found.append(group)
    return found


def to_numbers(column: pa.ChunkedArray[Any] | pa.Array[Any], name: str) -> NDArray[Any]:
    """Return a column of numbers or nested lists of numbers as an array, (rows, ...); null becomes NaN.

    Raises:
        FileError: If the rows differ in length.
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
            sizes = " and ".join(sorted(map(str, found)))
            raise FileError(name, f"has rows of {sizes} numbers, expected the same number in every row")
        shape.append(int(found.pop()) if found else 0)
        array = array.flatten()
    if array.null_count:
        array = array.cast(pa.float64()).fill_null(float("nan"))
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_fixed(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind)


def _number(root: Path, entry: EpisodeEntry, column: str) -> float:
    try:
        return float(entry.columns[column])
    except (KeyError, TypeError, ValueError) as error:
        found = f"has no valid {column} for episode {entry.index} ({error!r})"
        raise FileError(root / "meta" / "episodes", found, "fetch the whole dataset") from error


def _json(path: Path) -> dict[str, Any]:
    require_regular(path)
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise FileError(path, "the file does not exist", "fetch the whole dataset") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise FileError(path, f"contains a {type(values).__name__}, expected an object")
    return values


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file."""
    require_regular(path)
    try:
        # Not splitlines(): JSON may contain U+2028 and other line separators of Unicode within a string.
        rows = [json.loads(line) for line in path.read_text().split("\n") if line.strip()]
    except FileNotFoundError as error:
        raise FileError(path, "the file does not exist", "fetch the whole dataset") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(path, f"cannot be read ({error})", "fetch the file again") from error
    if not all(isinstance(row, dict) for row in rows):
        raise FileError(path, "contains lines that are not objects")
    return rows
