"""A dataset format: export each episode as a CSV file with one line per row.

Usage: python examples/format.py my-data

Register it in the `pyproject.toml` of your package, and waldo finds it under its name:

    [project.entry-points."waldo.formats"]
    csv = "my_package.format:FORMAT"
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from waldo import Dataset, Episode, RowConfig, export_dataset, make_rows
from waldo.datasets.formats.format import Format
from waldo.datasets.formats.target import ExportConfig, ExportStats
from waldo.datasets.reading.rows import Rows
from waldo.typing import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvConfig(ExportConfig):
    """Options of the CSV export."""

    rows: RowConfig = field(default_factory=lambda: RowConfig(cameras=None))
    """How episodes are resampled; CSV files contain no images."""

    def open(self, first: Episode) -> CsvTarget:
        """Return the target."""
        return CsvTarget(self.rows.resolve(first))


@dataclass(frozen=True)
class CsvTarget:
    """Resample one episode at a time, in any process."""

    rows: RowConfig
    resumable = False

    def prepare(self, episode: Episode, scratch: Path) -> Rows:
        """Return the rows of an episode."""
        return make_rows(episode, self.rows)

    def writer(self, dataset: Dataset, path: Path) -> CsvWriter:
        """Return the writer of a new folder."""
        path.mkdir()
        return CsvWriter(path)


class CsvWriter:
    """Write one file per episode."""

    def __init__(self, folder: Path) -> None:
        """Start without rows."""
        self._folder, self._count = folder, 0

    def add(self, index: int, prepared: Rows) -> None:
        """Write an episode: a header with the column names, then one line per row."""
        names = [f"{key}.{name}" for key, column in prepared.columns.items() for name in column.names]
        values = np.concatenate([column.values for column in prepared.columns.values()], axis=1)
        np.savetxt(
            self._folder / f"episode_{index:06d}.csv", values, delimiter=",", header=",".join(names), comments=""
        )
        self._count += len(prepared)

    def finish(self, progress: Progress) -> ExportStats:
        """Return the contents."""
        return ExportStats(rows=self._count)

    def close(self) -> None:
        """Close nothing: each file is closed after it is written."""


FORMAT = Format(name="csv", title="CSV files", export_config=lambda: CsvConfig)


def main(path: str) -> None:
    """Export a dataset to a temporary folder."""
    folder = Path(tempfile.mkdtemp()) / "csv"
    result = export_dataset(Dataset.open(path), folder, CsvConfig())
    print(f"{result.episodes} episodes, {result.rows} rows: {', '.join(p.name for p in sorted(folder.iterdir()))}")


if __name__ == "__main__":
    main(sys.argv[1])
