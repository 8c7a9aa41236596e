"""The Parquet files of a LeRobot dataset, written episode by episode: the rows and the table of episodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.statistics import Statistics, column_quantiles

EPISODES_AT_ONCE = 100
"""Number of episodes whose table rows are kept in memory until they are written."""

GROUP_ROWS = 10_000
"""Rows of a row group. The description of each group stays in memory until its file is closed."""

QUANTILE_BYTES = 8 * 2**20
"""Memory for the numbers of all rows whose quantiles are computed at a time [bytes]."""


class DataFiles:
    """The files of the rows: a new file is started when one would exceed a size."""

    def __init__(self, root: Path, schema: pa.Schema, max_bytes: float) -> None:
        """Start without a file.

        Args:
            root: The LeRobot dataset.
            schema: Arrow schema of the rows.
            max_bytes: Size at which a new file is started.
        """
        self._root, self._schema, self._max_bytes = root, schema, max_bytes
        self._paths: list[Path] = []
        self._rows = self._nbytes = 0
        self._open: Any = None
        self._waiting: list[pa.Table] = []

    def add(self, columns: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
        """Append the rows of an episode; return the chunk and the number of its file."""
        table = layout.rows_table(columns, self._schema)
        if self._open is not None and self._nbytes + table.nbytes > self._max_bytes:
            self.close()
        if self._open is None:
            chunk, file = divmod(len(self._paths), layout.CHUNK_FILES)
            path = self._root / layout.DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            repeating: Any = ["episode_index", "task_index"]
            self._open = pq.ParquetWriter(path, self._schema, compression="snappy", use_dictionary=repeating)
            self._nbytes = 0
            self._paths.append(path)
        self._waiting.append(table)
        self._nbytes += table.nbytes
        self._rows += table.num_rows
        if sum(waiting.num_rows for waiting in self._waiting) >= GROUP_ROWS:
            self._write()
        return divmod(len(self._paths) - 1, layout.CHUNK_FILES)

    def close(self) -> None:
        """Write the remaining rows and close the current file."""
        if self._open is not None:
            self._write()
            self._open.close()
            self._open = None

    def _write(self) -> None:
        """Write the waiting rows as one row group."""
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._open.write_table(table, row_group_size=table.num_rows)
            self._waiting = []

    def quantiles(self, key: str) -> Statistics:
        """Return the quantiles of a column over all rows of the closed files.

        As many labels are read at a time as fit into QUANTILE_BYTES, so the memory hardly depends on their number.
        """
        width = getattr(self._schema.field(key).type, "list_size", 1)
        step = max(1, QUANTILE_BYTES // (8 * max(1, self._rows)))
        parts: list[Statistics] = []
        for start in range(0, width, step):
            values = np.empty((self._rows, min(step, width - start)))
            self._read(key, slice(start, start + step), values)
            parts.append(column_quantiles(values))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _read(self, key: str, labels: slice, out: NDArray[np.float64]) -> None:
        """Read some labels of a column of all rows into `out`, (rows, labels)."""
        at = 0
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(GROUP_ROWS, columns=[key], use_threads=False):
                    numbers = layout.numbers_of(batch.column(0))
                    out[at : at + len(numbers)] = numbers.reshape(len(numbers), -1)[:, labels]
                    at += len(numbers)


class EpisodeTable:
    """The table of episodes, `meta/episodes`."""

    def __init__(self, root: Path) -> None:
        """Start without an episode."""
        self._path = root / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
        self._rows: list[dict[str, Any]] = []
        self._open: Any = None

    def add(self, row: Mapping[str, Any], statistics: Mapping[str, Statistics]) -> None:
        """Append an episode.

        Args:
            row: Its columns except the statistics.
            statistics: LeRobot key -> statistics.
        """
        flat = dict(row)
        for key, found in statistics.items():
            flat |= {f"stats/{key}/{name}": value.tolist() for name, value in found.items()}
        self._rows.append(flat | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        if len(self._rows) >= EPISODES_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write the remaining episodes and close the file."""
        self._flush()
        if self._open is not None:
            self._open.close()
            self._open = None

    def _flush(self) -> None:
        if not self._rows:
            return
        schema = self._open.schema if self._open is not None else None
        table = pa.Table.from_pylist(self._rows, schema)
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = pq.ParquetWriter(self._path, table.schema, write_statistics=False)
        cast("Any", self._open).write_table(table)
        self._rows = []
