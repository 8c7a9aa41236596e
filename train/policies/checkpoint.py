"""Folders of LeRobot checkpoints, found without importing LeRobot, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from waldo.errors import FileError


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
