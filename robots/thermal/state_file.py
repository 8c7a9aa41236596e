"""Persistence of a robot's motor temperatures across restarts.

One JSON file per robot in the user's state folder (XDG_STATE_HOME), replaced atomically every few seconds. After a
restart the motors are as warm as they were, minus the cooling in between.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.json_file import read_json, shown
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load
from waldo.typing import Array

SAVE_EVERY_S = 10.0
"""Interval of saving: the history that a crash loses [s]."""

MAX_AGE_S = 30 * 86400.0
"""Age beyond which a state is ignored [s]."""

CLOCK_TOLERANCE_S = 5.0
"""A state that is newer than the present by more than this was written with another clock and is ignored [s]."""


MAX_MEAN = 1000.0
"""Largest plausible value of a state: a temperature [°C] or the logarithm of the heat scale."""


def state_path(robot: str) -> Path:
    """Return the path of a robot's state file."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in robot) or "robot"
    return base / "waldo" / f"heat-{name}.json"


def save(path: Path, observer: HeatObserver, serials: list[str], now_ns: int) -> None:
    """Write the state of the motors, identified by `serials`, atomically."""
    content = {
        "format": "waldo-heat",
        "schema_version": 1,
        "stamp_ns": now_ns,
        "motors": {
            serial: {"mean": observer.mean[i].tolist(), "covariance": observer.covariance[i].tolist()}
            for i, serial in enumerate(serials)
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content))


def restore(path: Path, observer: HeatObserver, serials: list[str], now_ns: int) -> str:
    """Set the observer to the saved state, cooled down for the time in between; return the outcome as text.

    A file that is missing, damaged, too old or from another clock changes nothing: the motors start at ambient
    temperature.
    """
    try:
        content = read_json(path)
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return "no saved motor temperatures; assuming cold motors"
        return f"{error}; assuming cold motors"
    try:
        if content["format"] != "waldo-heat" or content["schema_version"] != 1:
            return f"{path}: unsupported version; assuming cold motors"
        off_s = (now_ns - int(content["stamp_ns"])) / 1e9
        saved = {serial: content["motors"][serial] for serial in serials if serial in content["motors"]}
        states = {serial: (np.array(s["mean"], float), np.array(s["covariance"], float)) for serial, s in saved.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return f"{path}: damaged ({type(error).__name__}: {shown(error, 100)}); assuming cold motors"
    if not all(_is_plausible(mean, covariance) for mean, covariance in states.values()):
        return f"{path}: damaged; assuming cold motors"
    if not -CLOCK_TOLERANCE_S <= off_s <= MAX_AGE_S:
        return f"{path}: too old or from another clock; assuming cold motors"
    for i, serial in enumerate(serials):
        if serial in states:
            observer.mean[i], observer.covariance[i] = states[serial]
    _cool(observer, max(off_s, 0.0))
    return f"restored the temperatures of {len(states)} of {len(serials)} motors, off for {off_s:.0f} s"


def _is_plausible(mean: Array, covariance: Array) -> bool:
    """Return whether a saved state is one that an observer can have."""
    if mean.shape != (4,) or covariance.shape != (4, 4):
        return False
    in_range = np.all(np.abs(mean) <= MAX_MEAN) and np.all(np.abs(covariance) <= MAX_MEAN**2)
    return bool(in_range and np.all(np.diag(covariance) >= 0))


def _cool(observer: HeatObserver, seconds: float) -> None:
    """Advance without load, in steps that are short compared with the time constants of ambient and heat scale."""
    zero = np.zeros(len(observer.model))
    remaining = seconds
    while remaining > 0:
        step = min(remaining, max(60.0, remaining / 20))
        observer.step(Load(zero, zero), step)
        remaining -= step
