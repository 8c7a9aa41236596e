"""Constants from a maker's overload table: how many seconds a motor may give a torque until it is at its limit.

A table fixes time constants and the ratio of heat to torque squared, not watts: the heat of 1 N·m at 25 °C is 1 W
unless a resistance and a torque constant say otherwise. Near its peak a motor's iron saturates, and a torque costs more
than its square: `κ τ² (1 + (τ/τ_s)²)`.
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel
from waldo.typing import Array

COLUMNS = ("torque_nm", "seconds")
"""The columns of a table."""

TYPICAL = np.log([23.0, 900.0, 0.45])
"""Winding's time constant R_1 C_w [s], housing's R_2 C_h [s], and R_1 / R_2 of motors that were measured: the Dephy
ActPack, Mini Cheetah's motor, the maxon motors of the PR2, Beckhoff's AM8000 (docs/guide/heat.md)."""

TYPICAL_STD = np.array([0.6, 0.6, 0.6])
"""How far a motor is from that, one standard deviation of each logarithm: about a factor of two."""

GAIN_STD = 1.5
"""How far the heat of a torque is from the one that is guessed from the table's lowest; its logarithm, wide."""

SATURATION_STD = 0.7
"""How large τ_max / τ_s may be, one standard deviation; 0 is a motor that does not saturate."""

MODEL_STD = 0.05
"""How well two nodes can describe a motor at all: one standard deviation of the logarithm of a time."""

NEVER_S = 1e5
"""As long as for ever [s]."""

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


def published_tables() -> dict[str, OverloadTable]:
    """Return the tables that come with waldo: RobStride's, rotating and stalled, seconds until 145 °C from 25 °C."""
    folder = Path(str(importlib.resources.files("waldo.robots.motors") / "overload_tables"))
    return {path.stem: read_table(path, limit_c=145.0, ambient_c=25.0) for path in sorted(folder.glob("*.csv"))}


def fit_table(table: OverloadTable, *, saturates: bool = True) -> TableFit:
    """Fit the constants to a table: the most probable ones, given its times and what is typical of motors."""
    from scipy.optimize import least_squares

    # Whole seconds tell little of a time of two: its logarithm is known to a quarter.
    weight = 1 / np.hypot(MODEL_STD, ROUNDING_S / np.sqrt(3) / table.seconds)
    # [K per (N·m)²] with which the lowest torque would just end at the limit.
    gain = (table.limit_c - table.ambient_c) / float(np.min(table.torque_nm)) ** 2

    def make(point: Array) -> TableFit:
        fast_s, slow_s, ratio = np.exp(TYPICAL + point[:3])
        whole = gain * float(np.exp(point[3]))
        r1, r2 = whole * ratio / (1 + ratio), whole / (1 + ratio)
        constants = ThermalConstants(
            winding_j_per_k=float(fast_s / r1),
            housing_j_per_k=float(slow_s / r2),
            winding_to_housing_k_per_w=float(r1),
            housing_to_ambient_k_per_w=float(r2),
            basis="fitted",
            source=f"an overload table of {len(table.seconds)} rows",
        )
        highest = float(table.torque_nm.max())
        return TableFit(
            constants=constants,
            saturation=float(point[4]) ** 2 if saturates else 0.0,
            highest_nm=highest,
            table=table,
        )

    def residuals(point: Array) -> Array:
        found = make(point)
        times = np.minimum(found.seconds(table.torque_nm), NEVER_S)
        out = [np.log(times / table.seconds) * weight, point[:3] / TYPICAL_STD, point[3:4] / GAIN_STD]
        out.append(point[4:] / SATURATION_STD)
        if table.rated_nm is not None:
            # The rated torque never ends; a fit in which it does is as wrong as it ends early.
            end = min(float(found.seconds(np.array([table.rated_nm]))[0]), NEVER_S)
            out.append(np.array([np.log(NEVER_S / end)]))
        return np.concatenate(out)

    bounds = (np.array([-4.0] * 4 + [0.0]), np.array([4.0] * 4 + [2.0]))
    starts = [np.array([0.0, 0.0, 0.0, at, 0.3]) for at in (-0.5, 0.3)]
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
