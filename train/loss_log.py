"""The course of a training: kept as `loss.csv` and drawn as `loss.png`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

COLUMNS = ("step", "loss", "grad_norm", "learning_rate", "update_s", "data_s")
KEYS = ("loss", "grdn", "lr", "updt_s", "data_s")
"""LeRobot's names of the columns after the step."""


class LossLog:
    """Collects a run's numbers; goes on where an earlier run of the same folder stopped."""

    def __init__(self, first: int) -> None:
        """Take the step that this run starts from."""
        self.first = first
        self.rows: list[list[str]] = []
        self.note = ""

    def add(self, step: int, values: Mapping[str, str]) -> None:
        """Take the numbers of a step, by LeRobot's names."""
        self.rows.append([str(step), *(values.get(key, "") for key in KEYS)])
        self.note = f"loss {values['loss']}"

    def write(self, folder: Path) -> None:
        """Write `loss.csv` and `loss.png`; rows of an earlier run stay up to the step that this one started from."""
        path = folder / "loss.csv"
        rows = [row for row in read_rows(path) if int(row[0]) <= self.first] + self.rows
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(COLUMNS), *rows])
        if rows:
            draw([int(r[0]) for r in rows], [float(r[1]) for r in rows], folder / "loss.png")


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a `loss.csv` without its heading; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def draw(steps: list[int], losses: list[float], path: Path) -> None:
    """Draw the loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#2a6f97", marker="." if len(steps) < 3 else None)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=120)
