"""Numeric columns of another dataset as streams of the store: timestamps, dtypes and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.names import distinct
from waldo.datasets.formats.source import ImportStats
from waldo.datasets.formats.stream_map import StreamMap
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream

NOMINAL_START_NS = 946_684_800_000_000_000
"""First timestamp of episodes without a time of day: 2000-01-01 [ns since the epoch]."""

NOMINAL = "nominal"
"""Value of the attribute `clock` if timestamps count from `NOMINAL_START_NS` at a constant rate."""

EXACT_IN_FLOAT32 = ("f2", "f4", "i1", "u1", "i2", "u2", "b1")
"""Element types that float32 represents exactly."""

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumn:
    """One quantity of another dataset and its field in the store."""

    stream: str
    """Stream name."""
    field: str
    """Field name."""
    values: NDArray[Any]
    """Values, shape (rows, labels)."""
    labels: tuple[str, ...]
    """Label of each column."""
    unit: str = ""
    """Unit; empty if the source does not state it."""
    key: str = ""
    """Key in the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """The rows of one numeric stream."""

    stream: ScalarStream
    """Description of the stream."""
    header_ns: Times
    """Publisher timestamps, shape (rows,) [ns]."""
    values: Mapping[str, NDArray[Any]]
    """Field -> values, shape (rows, labels)."""
    receipt_ns: Times | None = None
    """Receipt timestamps, shape (rows,) [ns]; None if equal to `header_ns`."""

    def write(self, writer: EpisodeWriter, stats: ImportStats) -> None:
        """Write all rows."""
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
    """Return the timestamps of rows at a constant rate, shape (rows,) [ns], without accumulated rounding."""
    return NOMINAL_START_NS + np.round(np.arange(rows) * (1e9 / rate_hz)).astype(np.int64)


def tables(
    columns: Sequence[SourceColumn], header_ns: Times, rate_hz: float, mapping: StreamMap | None = None
) -> list[SourceTable]:
    """Return columns with common timestamps as one table per stream.

    Args:
        columns: The columns; those of the same stream and field are joined.
        header_ns: Timestamp of each row, shape (rows,) [ns].
        rate_hz: Row rate [Hz].
        mapping: The mapping that joins columns; its order is that of their values.
    """
    by_stream: dict[str, dict[str, list[SourceColumn]]] = {}
    order = {key: place for place, key in enumerate(mapping.order if mapping else ())}
    for column in sorted(columns, key=lambda column: order.get(column.key, len(order))):
        by_stream.setdefault(column.stream, {}).setdefault(column.field, []).append(column)
    found = {name: [_joined(parts, mapping) for parts in fields.values()] for name, fields in by_stream.items()}
    return [_table(name, found[name], header_ns, rate_hz) for name in dict.fromkeys(c.stream for c in columns)]


def _joined(parts: Sequence[SourceColumn], mapping: StreamMap | None) -> SourceColumn:
    """Return the columns of one field as one column."""
    if len(parts) == 1:
        return parts[0]
    if mapping is not None:
        mapping.require_distinct(parts[0].stream, {part.key: part.labels for part in parts})
    units = {part.unit for part in parts}
    return replace(
        parts[0],
        values=np.concatenate([part.values for part in parts], axis=1),
        labels=tuple(label for part in parts for label in part.labels),
        unit=units.pop() if len(units) == 1 else "",
    )


def _table(name: str, columns: Sequence[SourceColumn], header_ns: Times, rate_hz: float) -> SourceTable:
    fields = tuple(Field(c.field, c.unit, distinct(c.labels), dtype_for(c.values)) for c in columns)
    stream = ScalarStream(name=name, rate_hz=rate_hz, fields=fields)
    return SourceTable(stream=stream, header_ns=header_ns, values={column.field: column.values for column in columns})


def dtype_for(values: NDArray[Any]) -> Literal["float32", "float64"]:
    """Return the dtype in which values are stored."""
    return "float32" if values.dtype.str[1:] in EXACT_IN_FLOAT32 else "float64"


def is_rounded(values: NDArray[Any]) -> bool:
    """Return whether some values cannot be represented in float64, the widest type of the store."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not values.size:
        return values.dtype.itemsize > 8
    return bool(np.abs(values.astype(np.float64)).max() >= 2**53)


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return values of shape (rows, ...) as (rows, columns)."""
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))


def counted(shape: Sequence[int], name: str = "") -> tuple[str, ...]:
    """Return numbered labels for the columns of `flat`: "0", "1" or "0.0", "0.1" ..., prefixed with `name`."""
    places = [".".join(map(str, place)) for place in np.ndindex(*shape)]
    if len(places) == 1:
        return (name or "value",)
    return tuple(f"{name}.{place}" if name else place for place in places)
