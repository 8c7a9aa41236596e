"""The files of a LeRobot dataset v3.0 beside its videos: info, statistics, tasks, episodes and rows.

Written without LeRobot, PyTorch or pandas, so that an export needs none of them. A test compares every schema and every
number with those that LeRobot's own classes write for the same data (LEROBOT_VERSION).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from waldo.datasets.lerobot.statistics import Statistics
from waldo.datasets.schema import INDEX_COLUMNS
from waldo.datasets.video.encoder import PRESET

LEROBOT_VERSION = "0.6.1"
"""Version of LeRobot with this layout; a test fails when another version is installed."""

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
ORIGIN_PATH = "meta/waldo.json"
"""Paths of the files in the dataset."""

CHUNK_FILES, DATA_MB, VIDEO_MB = 1000, 100, 200
"""Files per folder and the size at which a new file is started [MB], as in LeRobot."""

MB = 1024**2
"""Bytes of LeRobot's megabyte."""


def number_feature(names: Sequence[str], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the feature of a column of numbers."""
    return {"dtype": dtype.name, "shape": [len(names)], "names": list(names)}


def video_feature(height: int, width: int, fps: int) -> dict[str, Any]:
    """Return the feature of a camera."""
    info = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "video.preset": PRESET,
        "is_depth_map": False,
    }
    return {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"], "info": info}


def flag_feature() -> dict[str, Any]:
    """Return the feature of a column with one truth value."""
    return {"dtype": "bool", "shape": [1], "names": None}


def index_features() -> dict[str, Any]:
    """Return the features that every LeRobot dataset has."""
    return {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in INDEX_COLUMNS.items()}


def index_columns(rows: int, *, fps: int, episode: int, first: int, task: int) -> dict[str, NDArray[Any]]:
    """Return the columns that every LeRobot dataset has, for the rows of one episode, each (rows,).

    Args:
        rows: Number of rows of the episode.
        fps: Rows per second.
        episode: Number of the episode in the LeRobot dataset.
        first: Number of its first row in the dataset.
        task: Index of its task.
    """
    frame = np.arange(rows)
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(rows, episode),
        "index": first + frame,
        "task_index": np.full(rows, task),
    }


def schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the Arrow schema of the rows, with the metadata that Hugging Face's `datasets` requires."""
    columns: list[tuple[str, pa.DataType]] = []
    described: dict[str, Any] = {}
    for key, feature in features.items():
        if feature["dtype"] == "video":
            continue
        value, (length,) = {"dtype": feature["dtype"], "_type": "Value"}, feature["shape"]
        kind = pa.type_for_alias(feature["dtype"])
        columns.append((key, kind if length == 1 else pa.list_(kind, length)))
        described[key] = value if length == 1 else {"feature": value, "length": length, "_type": "List"}
    return pa.schema(columns, {"huggingface": json.dumps({"info": {"features": described}})})


def rows_table(columns: Mapping[str, NDArray[Any]], layout: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table; each column has the shape (rows,) or (rows, names)."""
    arrays: list[pa.Array[Any]] = []
    for field in layout:
        values = np.ascontiguousarray(columns[field.name])
        flat = pa.array(values.reshape(-1))
        length = getattr(field.type, "list_size", 0)
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, length) if length else flat.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=layout)


def numbers_of(column: Any) -> NDArray[Any]:
    """Return a column of an Arrow table as numbers, (rows,) or (rows, names)."""
    length = getattr(column.type, "list_size", 0)
    if length:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, length)
    return column.to_numpy(zero_copy_only=False)


def write_statistics(root: Path, by_key: Mapping[str, Statistics]) -> None:
    """Write the statistics of all rows."""
    text = {key: {name: value.tolist() for name, value in found.items()} for key, found in by_key.items()}
    (root / "meta" / "stats.json").write_text(json.dumps(text, indent=4) + "\n")


def write_origin(root: Path, origin: Mapping[str, Any]) -> None:
    """Write `meta/waldo.json`: where the episodes come from, and the units of the columns."""
    (root / ORIGIN_PATH).write_text(json.dumps(origin, indent=4, ensure_ascii=False) + "\n")


def write_info(root: Path, info: Mapping[str, Any]) -> None:
    """Write `meta/info.json`."""
    (root / "meta" / "info.json").write_text(json.dumps(info, indent=4, ensure_ascii=False) + "\n")


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """Write the table of instructions, which pandas reads with the instruction as its index, as LeRobot does."""

    def column(name: str, kind: str, numpy: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}

    names = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    metadata = {
        "index_columns": ["task"],
        "column_indexes": [{**names, "metadata": {"encoding": "UTF-8"}}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(metadata)}), root / "meta" / "tasks.parquet")
