"""The rules of quality that a command applies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waldo.cli.support.config import load_file
from waldo.datasets.quality.rules import FILE, Rules

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset


def load_rules(path: Path | None, dataset: Dataset | None) -> Rules:
    """Return the rules of a file, by default those in the dataset's folder, if there is one and it has any.

    Raises:
        FileError: If the file cannot be read or is not a YAML mapping.
        UnknownNameError: If it has an unknown key or kind.
        InvalidValueError: If a limit is not a number.
    """
    if path is None:
        found = None if dataset is None else dataset.path / FILE
        if not isinstance(found, Path) or not found.exists():
            return Rules()
        path = found
    return load_file(Rules, path)
