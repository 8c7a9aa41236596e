"""The record of a guided experiment: load and temperatures of one motor in steps of a second, and its file.

JSON: {"format": "waldo-heat-record", "schema_version": 1, "robot", "joint", "runs": [{"start_ns", "copper_w",
"other_w", "winding_c", "housing_c", "driver_c", "stages"}]}. A continued experiment adds a run, so the motor may cool
down in between. A missing reading is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.json_file import read_json, shown
from waldo.robots.thermal.fit import Recording

FORMAT, SCHEMA_VERSION = "waldo-heat-record", 1

STEP_S = 1.0
"""Length of a step [s]."""

MAX_BYTES = 50_000_000
"""Largest size of a file [bytes]: days of measurements."""

COLUMNS = ("copper_w", "other_w", "winding_c", "housing_c", "driver_c")
"""Columns of a run."""


@dataclass(slots=True, kw_only=True)
class Run:
    """A continuous part of the record; a list has one value per step."""

    start_ns: int
    """Time of the first step [ns since the epoch]."""
    copper_w: list[float] = field(default_factory=list)
    """Mean copper loss at 25 °C, with the resistance of the motor library [W]."""
    other_w: list[float] = field(default_factory=list)
    """Mean of the other losses [W]."""
    winding_c: list[float] = field(default_factory=list)
    housing_c: list[float] = field(default_factory=list)
    driver_c: list[float] = field(default_factory=list)
    """Last reading of each sensor [°C]; NaN for none."""
    stages: list[str] = field(default_factory=list)
    """Stage of the program."""
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Losses times time, and the time, of the step that is not complete."""

    def add(self, losses_w: tuple[float, float], temperatures: Sequence[float], stage: str, dt_s: float) -> None:
        """Add copper and other losses [W] of `dt_s` [s], and the readings of winding, housing and drive [°C]."""
        new = (losses_w[0] * dt_s, losses_w[1] * dt_s, dt_s)
        self._sums = [a + b for a, b in zip(self._sums, new, strict=True)]
        copper, other, seconds = self._sums
        # A pause of the robot counts as several steps; the rest of the time belongs to the next one.
        steps = int(seconds / STEP_S + 1e-6)
        for _ in range(steps):
            self.copper_w.append(copper / seconds)
            self.other_w.append(other / seconds)
            for values, value in zip((self.winding_c, self.housing_c, self.driver_c), temperatures, strict=True):
                values.append(value)
            self.stages.append(stage)
        if steps:
            rest = max(0.0, seconds - steps * STEP_S) / seconds
            self._sums = [one * rest for one in self._sums]


@dataclass(slots=True, kw_only=True)
class HeatRecord:
    """The record of one motor."""

    robot: str
    """Name of the robot."""
    joint: str
    """Name of the joint."""
    runs: list[Run] = field(default_factory=list)

    def recordings(self) -> list[Recording]:
        """Return the runs for a fit, in the order of time."""
        out: list[Recording] = []
        end_ns: int | None = None
        for run in sorted((run for run in self.runs if run.copper_w), key=lambda run: run.start_ns):
            gap_s = 0.0 if end_ns is None else max(0.0, (run.start_ns - end_ns) / 1e9)
            end_ns = run.start_ns + round(len(run.copper_w) * STEP_S * 1e9)
            columns = {name: np.array(getattr(run, name), dtype=float) for name in COLUMNS}
            out.append(Recording(dt_s=STEP_S, gap_s=gap_s, **columns))
        return out

    @property
    def seconds(self) -> float:
        """Time that was measured [s]."""
        return STEP_S * sum(len(run.copper_w) for run in self.runs)

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        runs = [
            {"start_ns": run.start_ns, "stages": run.stages}
            | {name: [None if math.isnan(v) else round(v, 5) for v in getattr(run, name)] for name in COLUMNS}
            for run in self.runs
            if run.copper_w
        ]
        content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "robot": self.robot, "joint": self.joint}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(content | {"runs": runs}) + "\n")


def load_record(path: Path) -> HeatRecord:
    """Read a record.

    Raises:
        FileError: If the file is unreadable or is not a record.
    """
    content = read_json(path, MAX_BYTES)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileError(path, "is not a record of a guided experiment", "create one with: waldo identify --guided")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise FileError(path, f"has schema version {shown(content.get('schema_version'))}, expected {SCHEMA_VERSION}")
    try:
        runs = [_run(one) for one in content["runs"]]
        return HeatRecord(robot=str(content["robot"]), joint=str(content["joint"]), runs=runs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(path, f"is damaged ({type(error).__name__}: {shown(error, 100)})") from error


def _run(content: Any) -> Run:
    columns = {name: [math.nan if v is None else float(v) for v in content[name]] for name in COLUMNS}
    stages = [str(stage) for stage in content["stages"]]
    if len({len(stages), *(len(values) for values in columns.values())}) != 1:
        raise ValueError("the columns of a run differ in length")
    return Run(start_ns=int(content["start_ns"]), stages=stages, **columns)
