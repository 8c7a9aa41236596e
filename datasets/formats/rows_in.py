"""Columns of numbers from a foreign dataset, as streams of the store: their stamps, dtypes and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.names import distinct
from waldo.datasets.formats.source import ImportStats
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream

NOMINAL_START_NS = 946_684_800_000_000_000
"""Where the clock of episodes begins whose source keeps no time of day: 2000-01-01 [ns since 1970]."""

NOMINAL = "nominal"
"""Attribute `clock` of an episode whose stamps are counted from NOMINAL_START_NS at a constant rate."""

EXACT_IN_FLOAT32 = ("f2", "f4", "i1", "u1", "i2", "u2", "b1")
"""Types of numbers all of whose values a float32 holds."""

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumn:
    """One quantity of a foreign dataset and its place in the store."""

    stream: str
    """Name of the scalar stream."""
    field: str
    """Name of the field in it."""
    values: NDArray[Any]
    """Numbers, (rows, labels)."""
    labels: tuple[str, ...]
    """What each column belongs to."""
    unit: str = ""
    """Unit; empty where the source does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """The rows of one stream of numbers."""

    stream: ScalarStream
    """Its description."""
    header_ns: Times
    """The publisher's stamps, (rows,) [ns]."""
    values: Mapping[str, NDArray[Any]]
    """Field -> numbers, (rows, labels)."""
    receipt_ns: Times | None = None
    """The recorder's stamps, (rows,) [ns]; None: as the publisher's."""

    def write(self, writer: EpisodeWriter, stats: ImportStats) -> None:
        """Write every row."""
        receipt = self.header_ns if self.receipt_ns is None else self.receipt_ns
        for row, (header_ns, receipt_ns) in enumerate(zip(self.header_ns.tolist(), receipt.tolist(), strict=True)):
            writer.row(
                self.stream.name,
                header_ns=header_ns,
                receipt_ns=receipt_ns,
                sequence=-1,
                values={name: column[row] for name, column in self.values.items()},
            )
        stats.rows += len(receipt)


def nominal_ns(rows: int, rate_hz: float) -> Times:
    """Return the stamps of rows at a constant rate, (rows,) [ns]; rounding does not add up."""
    return NOMINAL_START_NS + np.round(np.arange(rows) * (1e9 / rate_hz)).astype(np.int64)


def tables(columns: Sequence[SourceColumn], header_ns: Times, rate_hz: float) -> list[SourceTable]:
    """Return columns that have the same stamps as tables, those of one stream together."""
    by_stream: dict[str, list[SourceColumn]] = {}
    for column in columns:
        by_stream.setdefault(column.stream, []).append(column)
    return [_table(name, found, header_ns, rate_hz) for name, found in by_stream.items()]


def _table(name: str, columns: Sequence[SourceColumn], header_ns: Times, rate_hz: float) -> SourceTable:
    fields = tuple(Field(c.field, c.unit, distinct(c.labels), dtype_for(c.values)) for c in columns)
    stream = ScalarStream(name=name, rate_hz=rate_hz, fields=fields)
    return SourceTable(stream=stream, header_ns=header_ns, values={column.field: column.values for column in columns})


def dtype_for(values: NDArray[Any]) -> Literal["float32", "float64"]:
    """Return the type that a column of this type is kept as."""
    return "float32" if values.dtype.str[1:] in EXACT_IN_FLOAT32 else "float64"


def is_rounded(values: NDArray[Any]) -> bool:
    """Whether the store, whose widest type is float64, cannot hold some of these numbers."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not values.size:
        return values.dtype.itemsize > 8
    return bool(np.abs(values.astype(np.float64)).max() >= 2**53)


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers (rows, ...) as (rows, columns)."""
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))


def counted(shape: Sequence[int], name: str = "") -> tuple[str, ...]:
    """Return labels of the columns of `flat` where nobody named them: "0", "1" or "0.0", "0.1" ..., behind a name."""
    places = [".".join(map(str, place)) for place in np.ndindex(*shape)]
    if len(places) == 1:
        return (name or "value",)
    return tuple(f"{name}.{place}" if name else place for place in places)
