"""Persistence of a robot's motor temperatures across restarts.

One JSON file per robot in the user's state folder (XDG_STATE_HOME), replaced atomically every few seconds. After a
restart the motors are as warm as they were, minus the cooling in between.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from waldo.files import write_atomic
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load

SAVE_EVERY_S = 10.0
"""Interval of saving: the history that a crash loses [s]."""

MAX_AGE_S = 30 * 86400.0
"""Age beyond which a state is ignored [s]."""

CLOCK_TOLERANCE_S = 5.0
"""A state that is newer than the present by more than this was written with another clock and is ignored [s]."""


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
        content: dict[str, Any] = json.loads(path.read_text())
        if content["format"] != "waldo-heat" or content["schema_version"] != 1:
            return f"{path}: unsupported version; assuming cold motors"
        off_s = (now_ns - int(content["stamp_ns"])) / 1e9
        saved = {serial: content["motors"][serial] for serial in serials if serial in content["motors"]}
        states = {serial: (np.array(s["mean"], float), np.array(s["covariance"], float)) for serial, s in saved.items()}
    except FileNotFoundError:
        return "no saved motor temperatures; assuming cold motors"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path}: cannot be read ({error}); assuming cold motors"
    valid = all(
        m.shape == (4,) and c.shape == (4, 4) and np.isfinite(m).all() and np.isfinite(c).all()
        for m, c in states.values()
    )
    if not valid:
        return f"{path}: damaged; assuming cold motors"
    if not -CLOCK_TOLERANCE_S <= off_s <= MAX_AGE_S:
        return f"{path}: too old or from another clock; assuming cold motors"
    for i, serial in enumerate(serials):
        if serial in states:
            observer.mean[i], observer.covariance[i] = states[serial]
    _cool(observer, max(off_s, 0.0))
    return f"restored the temperatures of {len(states)} of {len(serials)} motors, off for {off_s:.0f} s"


def _cool(observer: HeatObserver, seconds: float) -> None:
    """Advance without load, in steps that are short compared with the time constants of ambient and heat scale."""
    zero = np.zeros(len(observer.model))
    remaining = seconds
    while remaining > 0:
        step = min(remaining, max(60.0, remaining / 20))
        observer.step(Load(zero, zero), step)
        remaining -= step
