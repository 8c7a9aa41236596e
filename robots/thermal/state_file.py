"""What a robot's motors knew of their heat when they were switched off, and how they have cooled since.

A JSON file a robot in the user's state folder (XDG_STATE_HOME), written anew whole every few seconds. A motor that was
hot a minute ago is hot now, whatever a fresh start would assume.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load

SAVE_EVERY_S = 10.0
"""Pause between two times that the state is written [s]: what a crash costs."""

OLDEST_S = 30 * 86400.0
"""Older states say nothing more about temperatures, nor about the load of a robot that may have been changed [s]."""

CLOCK_BACK_S = 5.0
"""A state that is newer than now by more than this comes from another clock: the time between is unknown [s]."""


def state_path(robot: str) -> Path:
    """Return where a robot's heat is kept."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in robot) or "robot"
    return base / "waldo" / f"heat-{name}.json"


def save(path: Path, observer: HeatObserver, serials: list[str], now_ns: int) -> None:
    """Write the state; the file is whole or the one before."""
    told = {
        "format": "waldo-heat",
        "schema_version": 1,
        "stamp_ns": now_ns,
        "motors": {
            serial: {"mean": observer.mean[i].tolist(), "covariance": observer.covariance[i].tolist()}
            for i, serial in enumerate(serials)
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def restore(path: Path, observer: HeatObserver, serials: list[str], now_ns: int) -> str:
    """Give the observer the state of its motors as it is now, after the time that they were off; say what was done.

    A file that is absent, damaged, from another clock or too old changes nothing: the motors are taken for cold.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        if told["format"] != "waldo-heat" or told["schema_version"] != 1:
            return f"{path} is of another version: the motors are taken for cold"
        off_s = (now_ns - int(told["stamp_ns"])) / 1e9
        found = {serial: told["motors"][serial] for serial in serials if serial in told["motors"]}
        states = {serial: (np.array(s["mean"], float), np.array(s["covariance"], float)) for serial, s in found.items()}
    except FileNotFoundError:
        return "no earlier state: the motors are taken for cold"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path} cannot be read ({error}): the motors are taken for cold"
    sound = all(
        m.shape == (4,) and c.shape == (4, 4) and np.isfinite(m).all() and np.isfinite(c).all()
        for m, c in states.values()
    )
    if not sound or not -CLOCK_BACK_S <= off_s <= OLDEST_S:
        return f"{path} is {'damaged' if not sound else 'of another time'}: the motors are taken for cold"
    for i, serial in enumerate(serials):
        if serial in states:
            observer.mean[i], observer.covariance[i] = states[serial]
    _cool(observer, max(off_s, 0.0))
    return f"{len(states)} of {len(serials)} motors known, off for {off_s:.0f} s"


def _cool(observer: HeatObserver, seconds: float) -> None:
    """Let time pass without load, in steps that the wandering of ambient and scale is coarse against."""
    nothing = np.zeros(len(observer.model))
    left = seconds
    while left > 0:
        step = min(left, max(60.0, left / 20))
        observer.step(Load(nothing, nothing), step)
        left -= step
