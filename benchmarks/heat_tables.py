"""Prediction of held-out overload times in manufacturers' tables, compared with simpler models.

Usage: uv run python benchmarks/heat_tables.py

Every interior row of every table is held out once and predicted by a model that is fitted to the other rows: waldo's
two nodes; one node (a time constant and a rated torque, as in many drives); and I²t (a constant heat budget above the
rated torque, as in simple protections).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares
from workload import print_table

from waldo.robots.motors.overload_table import OverloadTable, fit_table, held_out, published_tables
from waldo.typing import Array

MAX_TIME_S = 1e5
"""Time that stands for infinity [s]."""


def one_node(table: OverloadTable) -> Callable[[Array], Array]:
    """Fit t = -τ ln(1 - (M_r / M)²) in the logarithm of the times."""

    def predict(point: Array, torque: Array) -> Array:
        ratio = np.minimum(np.exp(2 * point[1]) / np.square(torque), 1 - 1e-9)
        return np.minimum(-np.exp(point[0]) * np.log1p(-ratio), MAX_TIME_S)

    return _fitted(table, predict, [np.log(100.0), np.log(table.torque_nm.min() * 0.9)])


def i2t(table: OverloadTable) -> Callable[[Array], Array]:
    """Fit t = K / (M² - M_r²) in the logarithm of the times."""

    def predict(point: Array, torque: Array) -> Array:
        return np.minimum(np.exp(point[0]) / np.maximum(np.square(torque) - np.exp(2 * point[1]), 1e-9), MAX_TIME_S)

    start = float(np.log(np.median(table.seconds) * np.median(np.square(table.torque_nm))))
    return _fitted(table, predict, [start, np.log(table.torque_nm.min() * 0.9)])


def _fitted(
    table: OverloadTable, predict: Callable[[Array, Array], Array], start: list[float]
) -> Callable[[Array], Array]:
    """Fit a model by least squares of the logarithms of the times."""

    def residuals(point: Array) -> Array:
        return np.log(predict(point, table.torque_nm) / table.seconds)

    point = least_squares(residuals, np.array(start)).x
    return lambda torque: predict(point, torque)


def errors_of(table: OverloadTable, fit: Callable[[OverloadTable], Callable[[Array], Array]]) -> Array:
    """Return the relative error of each interior row when it is held out, (rows,)."""
    out: list[float] = []
    for row in range(1, len(table.seconds) - 1):
        seconds = fit(table.without(row))(table.torque_nm[row : row + 1])[0]
        out.append(float(seconds / table.seconds[row]) - 1)
    return np.array(out)


def summary(errors: Array) -> str:
    """Return median and 90 % quantile of the absolute errors as text."""
    return f"{np.median(np.abs(errors)):.0%} / {np.quantile(np.abs(errors), 0.9):.0%}"


def main() -> None:
    """Hold out each row of each table and print the errors."""
    rows: list[list[str]] = []
    errors_by_model: dict[str, list[Array]] = {"waldo": [], "one": [], "i2t": []}
    for name, table in published_tables().items():
        found = {"waldo": held_out(table), "one": errors_of(table, one_node), "i2t": errors_of(table, i2t)}
        seen = np.abs(fit_table(table).seconds(table.torque_nm) / table.seconds - 1)
        rows.append([name, str(len(found["waldo"])), *map(summary, found.values()), summary(seen)])
        for key, errors in found.items():
            errors_by_model[key].append(errors)
    total = {key: np.concatenate(parts) for key, parts in errors_by_model.items()}
    rows.append(["all", str(len(total["waldo"])), *map(summary, total.values()), ""])
    columns = ["table", "rows held out", "waldo, two nodes", "one node", "I²t", "waldo, rows of the fit"]
    notes = ["Error of the time to limit, median / p90. RobStride's manuals: seconds until 145 °C from 25 °C."]
    print_table("Time to limit of held-out overloads", columns, rows, notes)


if __name__ == "__main__":
    main()
