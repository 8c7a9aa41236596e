"""Folders of LeRobot checkpoints, found without importing LeRobot, which takes seconds."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from waldo.errors import FileError
from waldo.files import read_regular, write_atomic
from waldo.json_file import parse_json

FPS_FILE = "waldo.json"
"""File in a checkpoint of `waldo train` with the rate of its training data."""
DEFAULT_FPS = 30.0
"""Actions per second if the training data is unavailable: the default rate of exports."""


def find_checkpoint(path: Path) -> Path:
    """Return the folder of the policy: `path` itself, or the last checkpoint of a training folder.

    Raises:
        FileError: If there is no checkpoint.
    """
    for folder in (path, path / "pretrained_model", path / "checkpoints" / "last" / "pretrained_model"):
        if (folder / "config.json").is_file():
            return folder
    if not path.exists():
        raise FileError(path, "no such checkpoint folder", "train a policy with: waldo train DATASET --output FOLDER")
    raise FileError(
        path,
        "contains no LeRobot checkpoint (no config.json and no checkpoints/last)",
        "pass an output folder of waldo train",
    )


def write_fps(folder: Path, fps: float) -> None:
    """Record the rate of the training data [Hz] in a checkpoint; LeRobot's own files do not contain it."""
    write_atomic(folder / FPS_FILE, json.dumps({"fps": fps}) + "\n")


def training_fps(folder: Path) -> float:
    """Return the rate of a checkpoint's training data [Hz]; DEFAULT_FPS if it is recorded nowhere."""
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
        return _rate(parse_json(read_regular(folder / FPS_FILE))["fps"])
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
        root = parse_json(read_regular(folder / "train_config.json"))["dataset"]["root"]
        return _rate(parse_json(read_regular(Path(root) / "meta" / "info.json"))["fps"])
    return DEFAULT_FPS


def _rate(value: Any) -> float:
    """Return a rate of a file [Hz].

    Raises:
        ValueError: If it cannot be the rate of a policy.
    """
    rate = float(value)
    if not 0 < rate < 10_000:
        raise ValueError(f"fps is {rate}")
    return rate
