"""The files of a LeRobot dataset v3.0 beside its videos: info, statistics, tasks, episodes and rows.

Written without LeRobot, PyTorch or pandas, so that an export needs none of them; a test compares every schema and every
number with what LeRobot's own classes write for the same data (LEROBOT_VERSION).
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

from waldo.datasets.video.histograms import QUANTILES

LEROBOT_VERSION = "0.6.1"
"""The version whose layout this is; a test notices another one."""

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
"""Where files lie in the dataset."""

CHUNK_FILES, DATA_MB, VIDEO_MB = 1000, 100, 200
"""LeRobot's defaults: files in a folder, and the size at which a new file is begun [MB]."""

OWN = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""The columns that every dataset has."""

type Statistics = Mapping[str, NDArray[Any]]
"""min, max, mean, std, count and quantiles of a column."""


def number_feature(names: Sequence[str]) -> dict[str, Any]:
    """Return the description of a column of numbers."""
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def video_feature(height: int, width: int, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a camera's column."""
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [height, width, 3], "names": names, "info": dict(info)}


def own_features() -> dict[str, Any]:
    """Return the descriptions of the columns that every dataset has."""
    return {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in OWN.items()}


def schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the schema of the rows, with the description that Hugging Face's `datasets` looks for."""
    fields: list[tuple[str, pa.DataType]] = []
    described: dict[str, Any] = {}
    for key, feature in features.items():
        if feature["dtype"] == "video":
            continue
        value, (length,) = {"dtype": feature["dtype"], "_type": "Value"}, feature["shape"]
        kind = pa.type_for_alias(feature["dtype"])
        fields.append((key, kind if length == 1 else pa.list_(kind, length)))
        described[key] = value if length == 1 else {"feature": value, "length": length, "_type": "List"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": described}})})


def rows_table(columns: Mapping[str, NDArray[Any]], layout: pa.Schema) -> pa.Table:
    """Return rows as Arrow has them; a column is (rows,) or (rows, names)."""
    arrays: list[pa.Array[Any]] = []
    for field in layout:
        values = np.ascontiguousarray(columns[field.name])
        flat = pa.array(values.reshape(-1))
        length = getattr(field.type, "list_size", 0)
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, length) if length else flat.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=layout)


def statistics(values: NDArray[Any]) -> Statistics:
    """Return the statistics of a column, (rows,) or (rows, names), each (names,); what is not finite is left out.

    A name without any finite value counts as 0 everywhere.
    """
    table = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(table).all():
        table = _filled(table)
    found = {"min": table.min(axis=0), "max": table.max(axis=0), "mean": table.mean(axis=0), "std": table.std(axis=0)}
    marks = np.quantile(table, QUANTILES, axis=0)
    found["count"] = np.array([len(table)])
    return found | {f"q{round(q * 100):02d}": row for q, row in zip(QUANTILES, marks, strict=True)}


def _filled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace what is not finite by the mean of the column's finite values, 0 without any."""
    finite = np.isfinite(table)
    mean = np.where(finite, table, 0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    return np.where(finite, table, mean)


def aggregate(episodes: Sequence[Statistics]) -> Statistics:
    """Return the statistics of all rows from those of the episodes; quantiles are means weighted by rows, as LeRobot's.

    Mean and standard deviation are exact (parallel variance: Chan, Golub, LeVeque 1979).
    """
    stacked = {key: np.stack([episode[key] for episode in episodes]) for key in episodes[0]}
    total = stacked["count"].sum(axis=0)
    weight = stacked["count"].reshape(-1, *[1] * (stacked["mean"].ndim - 1)) / total
    mean = (stacked["mean"] * weight).sum(axis=0)
    variance = ((np.square(stacked["std"]) + np.square(stacked["mean"] - mean)) * weight).sum(axis=0)
    found = {"min": stacked["min"].min(axis=0), "max": stacked["max"].max(axis=0)}
    found |= {"mean": mean, "std": np.sqrt(variance), "count": total}
    return found | {key: (rows * weight).sum(axis=0) for key, rows in stacked.items() if key not in found}


def write_statistics(root: Path, by_key: Mapping[str, Statistics]) -> None:
    """Write the statistics of all rows."""
    text = {key: {name: value.tolist() for name, value in found.items()} for key, found in by_key.items()}
    (root / "meta" / "stats.json").write_text(json.dumps(text, indent=4) + "\n")


def write_info(root: Path, info: Mapping[str, Any]) -> None:
    """Write what describes the dataset."""
    (root / "meta" / "info.json").write_text(json.dumps(info, indent=4, ensure_ascii=False) + "\n")


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """Write the instructions; pandas reads the table with the instruction as its index, as LeRobot does."""

    def column(name: str, kind: str, numpy: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}

    names = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    told = {
        "index_columns": ["task"],
        "column_indexes": [{**names, "metadata": {"encoding": "UTF-8"}}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(told)}), root / "meta" / "tasks.parquet")


def write_episodes(root: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of episodes; an entry's statistics are under "stats", key -> Statistics."""
    columns: dict[str, list[Any]] = {}
    for entry in entries:
        flat = {key: value for key, value in entry.items() if key != "stats"}
        for key, found in entry["stats"].items():
            flat |= {f"stats/{key}/{name}": value.tolist() for name, value in found.items()}
        flat |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for key, value in flat.items():
            columns.setdefault(key, []).append(value)
    path = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
