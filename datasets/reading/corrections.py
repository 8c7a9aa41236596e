"""Which rows of an attempt to imitate: those that a person commanded, and how often.

An attempt in which a policy drove and a person took over contains the policy's mistake and its correction. Only the
correction is worth imitating: the rows that the policy commanded, and the hold before the person took over, are left
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.reading.rows import Rows
from waldo.datasets.schema import CONTROL_COLUMN
from waldo.errors import InvalidValueError
from waldo.robots.control.arbiter import Source

MAX_REPEATS = 100
"""Most repetitions of a correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """Which rows to use of attempts that a policy and a person shared."""

    control: Literal["person", "all"] = "person"
    """person: rows that a person commanded; all: also those of a policy."""
    repeats: tuple[tuple[int, int, int], ...] = ()
    """First episode, the one after the last, and how often their rows occur in an epoch."""
    corrections: int = 1
    """How often the rows of a correction, in which a person took over from a policy, occur in an epoch."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if not 1 <= self.corrections <= MAX_REPEATS:
            raise InvalidValueError("corrections", self.corrections, f"1 to {MAX_REPEATS}")

    def repeats_of(self, index: int) -> int:
        """Return how often the rows of an episode occur in an epoch, beside the repetition of corrections."""
        return next((times for first, stop, times in self.repeats if first <= index < stop), 1)


def pieces(rows: Rows, config: ControlConfig) -> list[Rows]:
    """Return the pieces of an episode to train on, each a run of consecutive rows.

    An episode without a policy is one piece. Pieces of a correction occur `corrections` times.
    """
    column = rows.columns.get(CONTROL_COLUMN)
    if column is None or not (column.values == Source.POLICY).any():
        return [rows]
    if config.control == "all":
        return [rows] * config.corrections
    found = [rows.part(first, stop) for first, stop in runs(by_person(column.values[:, 0]))]
    return found * config.corrections


def by_person(control: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows a person commanded, (rows,); while the robot holds, the last one who commanded it counts."""
    known = control != Source.HOLD
    last = np.maximum.accumulate(np.where(known, np.arange(len(control)), -1))
    source = np.where(last >= 0, control[np.maximum(last, 0)], Source.POLICY)
    return source == Source.PERSON


def runs(keep: NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
    """Return first and stop of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
