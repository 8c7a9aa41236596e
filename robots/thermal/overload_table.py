"""Constants from a maker's overload table: how many seconds a motor may give a torque until it is at its limit.

A table fixes time constants and the ratio of heat to torque squared, not watts: the heat of 1 N·m at 25 °C is called 1 W
unless a resistance and a torque constant say otherwise. Near its peak a motor's iron saturates, and a torque costs more
than its square: `κ τ² (1 + (τ/τ_s)²)`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.errors import FileError
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel

Array = NDArray[np.float64]

COLUMNS = ("torque_nm", "seconds")
"""The columns of a table."""

START = np.log([20.0, 300.0, 1.0, 2.0])
"""Where the fit begins: heat capacities and thermal resistances of a motor of half a kilogram."""

SPREAD = np.array([1.5, 1.5, 1.5, 1.5])
"""How far from there a motor may be, one standard deviation of the logarithms: wide, so that the table decides."""

SATURATION_STD = 0.5
"""How large (τ_max / τ_s)² may be, one standard deviation; 0 is a motor that does not saturate."""

ROUNDING_S = 0.5
"""A table tells whole seconds [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadTable:
    """What a maker tells."""

    torque_nm: Array
    """Torques at the output [N·m], (rows,)."""
    seconds: Array
    """Time until the limit [s], (rows,)."""
    limit_c: float
    """The temperature that ends it [°C]."""
    ambient_c: float = 25.0
    """The air's temperature, where the motor starts [°C]."""
    rated_nm: float | None = None
    """Torque that never reaches the limit [N·m]."""

    def without(self, row: int) -> OverloadTable:
        """Return the table without one row."""
        keep = np.arange(len(self.seconds)) != row
        return OverloadTable(
            torque_nm=self.torque_nm[keep],
            seconds=self.seconds[keep],
            limit_c=self.limit_c,
            ambient_c=self.ambient_c,
            rated_nm=self.rated_nm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFit:
    """What was fitted to a table."""

    constants: ThermalConstants
    """The constants, with heat in units in which 1 N·m makes 1 W at 25 °C."""
    saturation: float
    """(τ_max / τ_s)²: how much more than its square the highest torque costs."""
    highest_nm: float
    """The highest torque of the table [N·m]."""
    table: OverloadTable
    """The table."""

    def heat(self, torque_nm: Array) -> Array:
        """Return the copper loss at 25 °C of torques, in the table's unit."""
        return np.square(torque_nm) * (1 + self.saturation * np.square(torque_nm / self.highest_nm))

    def seconds(self, torque_nm: Array) -> Array:
        """Return the time to the limit [s] of torques (n,), from the ambient; infinity for never."""
        torque = np.asarray(torque_nm, dtype=float)
        model = TwoNodeModel([self.constants] * len(torque))
        load = Load(self.heat(torque), np.zeros_like(torque))
        start = model.at_ambient(self.table.ambient_c)
        return model.time_to(self.table.limit_c, start, load, self.table.ambient_c)


def read_table(path: Path, *, limit_c: float, ambient_c: float, rated_nm: float | None = None) -> OverloadTable:
    """Read a CSV file with the columns `torque_nm,seconds`; a torque that is `rated` or `inf` has no end."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    if not rows or any(column not in rows[0] for column in COLUMNS):
        found = ", ".join(rows[0]) if rows else "nothing"
        raise FileError(path, f"holds {found}, expected the columns {','.join(COLUMNS)}")
    torques: list[float] = []
    seconds: list[float] = []
    for line, row in enumerate(rows, 2):
        try:
            torque = float(row["torque_nm"])
            text = row["seconds"].strip().lower()
            time = np.inf if text in ("inf", "rated", "never") else float(text)
        except (ValueError, AttributeError, TypeError) as error:
            raise FileError(path, f"line {line} is {dict(row)}, expected two numbers") from error
        if not (torque > 0 and time > 0):
            raise FileError(path, f"line {line} has a torque or a time that is not above 0")
        if np.isinf(time):
            rated_nm = max(torque, rated_nm or 0.0)
            continue
        torques.append(torque)
        seconds.append(time)
    if len(torques) < 3:
        raise FileError(path, f"has {len(torques)} overloads, expected 3 or more")
    return OverloadTable(
        torque_nm=np.array(torques),
        seconds=np.array(seconds),
        limit_c=limit_c,
        ambient_c=ambient_c,
        rated_nm=rated_nm,
    )


def fit_table(table: OverloadTable, *, saturates: bool = True) -> TableFit:
    """Fit the constants to a table, in the logarithm of its times."""
    from scipy.optimize import least_squares

    # Whole seconds tell little of a time of two: its logarithm is known to a quarter.
    weight = 1 / np.hypot(0.05, ROUNDING_S / np.sqrt(3) / table.seconds)
    heat = float(np.median(np.square(table.torque_nm)))
    offset = np.array([np.log(heat / 100)] * 2 + [-np.log(heat / 100)] * 2)

    def make(point: Array) -> TableFit:
        cw, ch, r1, r2 = np.exp(START + point[:4] + offset)
        constants = ThermalConstants(
            winding_j_per_k=float(cw),
            housing_j_per_k=float(ch),
            winding_to_housing_k_per_w=float(r1),
            housing_to_ambient_k_per_w=float(r2),
            basis="fitted",
            source=f"an overload table of {len(table.seconds)} rows",
        )
        highest = float(table.torque_nm.max())
        return TableFit(constants=constants, saturation=float(point[4]) if saturates else 0.0, highest_nm=highest, table=table)

    def residuals(point: Array) -> Array:
        found = make(point)
        times = np.minimum(found.seconds(table.torque_nm), 1e5)
        out = [np.log(times / table.seconds) * weight, point[:4] / SPREAD, point[4:] / SATURATION_STD]
        if table.rated_nm is not None:
            # The rated torque may come near the limit and not beyond it.
            end = TwoNodeModel([found.constants]).steady(
                Load(found.heat(np.array([table.rated_nm])), np.zeros(1)), table.ambient_c
            )[0, 0]
            over = min(float(end), 10 * table.limit_c) - table.limit_c
            out.append(np.array([max(over, 0.0) / 5.0]))
        return np.concatenate(out)

    bounds = (np.array([-8.0] * 4 + [0.0]), np.array([8.0] * 4 + [4.0]))
    starts = [np.array([a, b, 0.0, 0.0, 0.1]) for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
    solved = [least_squares(residuals, start, bounds=bounds, diff_step=1e-4) for start in starts]
    return make(min(solved, key=lambda one: float(one.cost)).x)


def held_out(table: OverloadTable, rows: Sequence[int] | None = None) -> Array:
    """Return the relative error of each interior row's time when the fit has not seen it, (rows,)."""
    inner = range(1, len(table.seconds) - 1) if rows is None else rows
    errors = [
        float(fit_table(table.without(row)).seconds(table.torque_nm[row : row + 1])[0] / table.seconds[row]) - 1
        for row in inner
    ]
    return np.array(errors)
