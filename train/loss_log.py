"""The loss of a training run, written as `loss.csv` and plotted as `loss.png`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from waldo.files import atomic_file

COLUMNS = ("step", "loss", "grad_norm", "learning_rate", "update_s", "data_s")
KEYS = ("loss", "grdn", "lr", "updt_s", "data_s")
"""LeRobot's names of the columns after the step."""


class LossLog:
    """Collects the values of a run; continues the log of an earlier run in the same folder."""

    def __init__(self, first: int) -> None:
        """Initialize for a run that starts at step `first`."""
        self.first = first
        self.rows: list[list[str]] = []
        self.note = ""
        """The newest loss as text."""

    def add(self, step: int, values: Mapping[str, str]) -> None:
        """Add the values of a step, by LeRobot's names."""
        self.rows.append([str(step), *(values.get(key, "") for key in KEYS)])
        self.note = f"loss {values['loss']}"

    def write(self, folder: Path) -> None:
        """Write `loss.csv` and `loss.png`; rows of an earlier run are kept up to the step at which this one started."""
        path = folder / "loss.csv"
        rows = [row for row in read_rows(path) if int(row[0]) <= self.first] + self.rows
        with atomic_file(path) as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([list(COLUMNS), *rows])
        if rows:
            plot([int(r[0]) for r in rows], [float(r[1]) for r in rows], folder / "loss.png")


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a `loss.csv` without its header; none if the file does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def plot(steps: list[int], losses: list[float], path: Path) -> None:
    """Plot the loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#2a6f97", marker="." if len(steps) < 3 else None)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=120)
