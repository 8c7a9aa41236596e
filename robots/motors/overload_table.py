"""Thermal constants from a manufacturer's overload table: the time for which a motor may produce a torque.

A table determines time constants and the ratio of heat to squared torque, but not watts: here, 1 N·m produces 1 W at
25 °C. Near its peak torque the iron of a motor saturates, and heat grows faster than the square of the torque:
`κ τ² (1 + (τ/τ_s)⁴)`. Saturation sets in late and steeply: with the power 2 the times of rows that are held out are
wrong by 35 % (p90), with 4 by 25 % (`benchmarks/heat_tables.py`).
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from waldo.errors import FileError, count
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

COLUMNS = ("torque_nm", "seconds")
"""Columns of a table."""

CONTINUOUS = ("inf", "rated", "never")
"""Texts in the column `seconds` for a torque that may be held continuously."""

MIN_ROWS = 3
"""Smallest number of overloads in a table."""

TYPICAL = np.log([23.0, 900.0, 0.45])
"""Logarithms of the winding's time constant R_1 C_w [s], the housing's R_2 C_h [s], and R_1 / R_2 of measured motors:
Dephy ActPack, Mini Cheetah, the maxon motors of the PR2, Beckhoff AM8000 (figures in docs/guide/heat.md)."""

TYPICAL_STD = np.array([0.6, 0.6, 0.6])
"""Standard deviations of these logarithms: about a factor of two."""

GAIN_STD = 1.5
"""Standard deviation of the logarithm of the heat per squared torque, around a guess from the lowest torque."""

SATURATION_STD = 0.7
"""Standard deviation of (τ_max / τ_s)²; 0 is a motor without saturation."""

SATURATION_POWER = 4
"""Power of the torque with which saturation adds heat."""

MODEL_STD = 0.05
"""Standard deviation of the logarithm of a time, because two nodes only approximate a motor."""

MAX_TIME_S = 1e5
"""Time that stands for infinity in the fit [s]."""

STEP = 1e-4
"""Change of a point's coordinate for finite differences."""

ROUNDING_S = 0.5
"""Rounding error of a time: tables contain whole seconds [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadTable:
    """Times until a motor reaches its temperature limit."""

    torque_nm: Array
    """Torques at the output, (rows,) [N·m]."""
    seconds: Array
    """Times until the limit, (rows,) [s]."""
    limit_c: float
    """Temperature limit [°C]."""
    ambient_c: float = AMBIENT_C
    """Air temperature, at which the motor starts [°C]."""
    rated_nm: float | None = None
    """Torque that never reaches the limit [N·m]."""

    def without(self, row: int) -> OverloadTable:
        """Return the table without one row."""
        keep = np.arange(len(self.seconds)) != row
        return replace(self, torque_nm=self.torque_nm[keep], seconds=self.seconds[keep])


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFit:
    """Constants fitted to a table."""

    constants: ThermalConstants
    """The constants, in units of heat in which 1 N·m produces 1 W at 25 °C."""
    saturation: float
    """(τ_max / τ_s)⁴: relative increase of the heat at the highest torque by saturation."""
    max_torque_nm: float
    """Highest torque of the table [N·m]."""
    table: OverloadTable

    def heat(self, torque_nm: Array) -> Array:
        """Return the copper loss of torques [N·m] at 25 °C, in the unit of the table."""
        return _heat(torque_nm, self.saturation, self.max_torque_nm)

    def seconds(self, torque_nm: Array) -> Array:
        """Return the time until the limit for torques (n,) [N·m], starting at ambient, (n,) [s]; infinity for never."""
        model = TwoNodeModel([self.constants])
        return _times(self.table, model, self.heat(np.asarray(torque_nm, dtype=float)))


def read_table(path: Path, *, limit_c: float, ambient_c: float, rated_nm: float | None = None) -> OverloadTable:
    """Read a CSV file with the columns `torque_nm,seconds`; `rated` or `inf` marks a torque without a time limit.

    Raises:
        FileError: If the file is unreadable, lacks a column, or contains an invalid or too few rows.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not rows or any(column not in rows[0] for column in COLUMNS):
        found = f"has the columns {', '.join(rows[0])}" if rows else "has no rows"
        raise FileError(path, f"{found}, expected the columns {','.join(COLUMNS)}")
    torques: list[float] = []
    seconds: list[float] = []
    for line, row in enumerate(rows, 2):
        torque, time = _parse_row(path, line, row)
        if np.isinf(time):
            rated_nm = max(torque, rated_nm or 0.0)
            continue
        torques.append(torque)
        seconds.append(time)
    if len(torques) < MIN_ROWS:
        raise FileError(path, f"has {count(len(torques), 'overload')}, expected {MIN_ROWS} or more")
    return OverloadTable(
        torque_nm=np.array(torques),
        seconds=np.array(seconds),
        limit_c=limit_c,
        ambient_c=ambient_c,
        rated_nm=rated_nm,
    )


def _parse_row(path: Path, line: int, row: Mapping[str, str]) -> tuple[float, float]:
    """Return torque [N·m] and time [s] of a row; infinity for a torque that may be held continuously."""
    try:
        torque = float(row["torque_nm"])
        text = row["seconds"].strip().lower()
        time = np.inf if text in CONTINUOUS else float(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise FileError(path, f"line {line} is {dict(row)}, expected two numbers") from error
    if not (torque > 0 and time > 0):
        raise FileError(path, f"line {line} has a torque or a time that is not above 0")
    return torque, time


def published_tables() -> dict[str, OverloadTable]:
    """Return the tables that are shipped: RobStride, rotating and stalled, seconds until 145 °C from 25 °C."""
    folder = Path(str(importlib.resources.files("waldo.robots.motors") / "overload_tables"))
    return {path.stem: read_table(path, limit_c=145.0, ambient_c=25.0) for path in sorted(folder.glob("*.csv"))}


def fit_table(table: OverloadTable, *, saturates: bool = True) -> TableFit:
    """Fit constants to a table: the maximum of the posterior, with priors from measured motors.

    Args:
        table: The table.
        saturates: Whether saturation is part of the model.
    """
    from scipy.optimize import least_squares

    # The rounding of a short time dominates its error.
    weight = 1 / np.hypot(MODEL_STD, ROUNDING_S / np.sqrt(3) / table.seconds)

    torque_nm = table.torque_nm if table.rated_nm is None else np.append(table.torque_nm, table.rated_nm)
    rows = len(table.seconds)

    def residuals(points: Array) -> Array:
        """Return the residuals of several points (points, 5) at once, (points, residuals)."""
        model = TwoNodeModel.from_arrays(*(part[:, None] for part in _constants(table, points)))
        saturation = np.square(points[:, 4:]) if saturates else 0.0
        times = np.minimum(_times(table, model, _heat(torque_nm, saturation, table.torque_nm.max())), MAX_TIME_S)
        out = [np.log(times[:, :rows] / table.seconds) * weight, points[:, :3] / TYPICAL_STD]
        out += [points[:, 3:4] / GAIN_STD, points[:, 4:] / SATURATION_STD]
        # The rated torque never reaches the limit: penalize a fit by how early it does.
        out.append(np.log(MAX_TIME_S / times[:, rows:]))
        return np.concatenate(out, axis=1)

    def jacobian(point: Array) -> Array:
        steps = np.eye(5) * STEP
        moved = residuals(np.concatenate([point + steps, point - steps]))
        return (moved[:5] - moved[5:]).T / (2 * STEP)

    bounds = (np.array([-4.0] * 4 + [0.0]), np.array([4.0] * 4 + [2.0]))
    starts = [np.array([0.0, 0.0, 0.0, gain, 0.3]) for gain in (-0.5, 0.3)]
    solutions = [
        least_squares(lambda point: residuals(point[None])[0], start, jac=cast("Any", jacobian), bounds=bounds)
        for start in starts
    ]
    return _table_fit(table, min(solutions, key=lambda solution: float(solution.cost)).x, saturates)


def _table_fit(table: OverloadTable, point: Array, saturates: bool) -> TableFit:
    """Return the fit of a point (5,): deviations of three logarithms from `TYPICAL`, log gain, and (τ_max / τ_s)²."""
    cw, ch, r1, r2 = (float(part[0]) for part in _constants(table, point[None]))
    constants = ThermalConstants(
        winding_j_per_k=cw,
        housing_j_per_k=ch,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="fitted",
        source=f"an overload table of {len(table.seconds)} rows",
    )
    return TableFit(
        constants=constants,
        saturation=float(point[4]) ** 2 if saturates else 0.0,
        max_torque_nm=float(table.torque_nm.max()),
        table=table,
    )


def _constants(table: OverloadTable, points: Array) -> tuple[Array, Array, Array, Array]:
    """Return C_w, C_h, R_1 and R_2 of points (points, 5), each (points,)."""
    # [K per (N·m)²] at which the lowest torque would reach the limit only in the steady state.
    gain = (table.limit_c - table.ambient_c) / float(np.min(table.torque_nm)) ** 2
    fast_s, slow_s, ratio = np.exp(TYPICAL + points[:, :3]).T
    total = gain * np.exp(points[:, 3])
    r1, r2 = total * ratio / (1 + ratio), total / (1 + ratio)
    return fast_s / r1, slow_s / r2, r1, r2


def _heat(torque_nm: Array, saturation: Array | float, max_torque_nm: float) -> Array:
    """Return the copper loss of torques [N·m] at 25 °C, in the unit of a table."""
    return np.square(torque_nm) * (1 + saturation * (torque_nm / max_torque_nm) ** SATURATION_POWER)


def _times(table: OverloadTable, model: TwoNodeModel, heat: Array) -> Array:
    """Return the time until the limit of a table under losses (..., n), starting at ambient, (..., n) [s]."""
    start = np.full((1, 2), table.ambient_c)
    return model.time_to(table.limit_c, start, Load(heat, np.zeros_like(heat)), table.ambient_c)


def held_out(table: OverloadTable, rows: Sequence[int] | None = None) -> Array:
    """Return the relative errors of the times of rows that the fit does not use, (rows,); by default the inner rows."""
    inner = range(1, len(table.seconds) - 1) if rows is None else rows
    errors = [
        float(fit_table(table.without(row)).seconds(table.torque_nm[row : row + 1])[0] / table.seconds[row]) - 1
        for row in inner
    ]
    return np.array(errors)
