"""Several datasets as one, each with a weight: hard links, so that nothing is copied, and repeated rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from waldo.datasets.dataset import Dataset
from waldo.datasets.links import Part, link
from waldo.errors import FileError, InvalidValueError

MAX_WEIGHT = 100
"""Largest weight of a dataset."""

type Repeats = tuple[tuple[int, int, int], ...]
"""First episode, the one after the last, and how often their rows occur in an epoch."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A dataset of a mixture."""

    path: Path
    """Folder of the dataset."""
    weight: int
    """How often its rows occur in an epoch."""


def parse_share(text: str) -> Share:
    """Return the dataset of an option such as "corrections=3"; without a weight it is 1.

    Raises:
        InvalidValueError: If the weight is not a whole number from 1 to 100.
    """
    path, equals, weight = text.rpartition("=")
    if not equals:
        return Share(path=Path(text), weight=1)
    if not (path and weight.isascii() and weight.isdigit() and 1 <= int(weight) <= MAX_WEIGHT):
        raise InvalidValueError("--mix", text, f"DATASET=WEIGHT with a whole number from 1 to {MAX_WEIGHT}")
    return Share(path=Path(path), weight=int(weight))


def make_mixture(folder: Path, shares: Sequence[Share]) -> Repeats:
    """Link the episodes of all datasets into a new one, in their order; an earlier mixture is replaced.

    Args:
        folder: Folder of the mixture.
        shares: The datasets.

    Returns:
        The repetitions of the episodes of each dataset.

    Raises:
        FileError: If a dataset is the folder itself.
        IncompatibleError: If their streams differ.
    """
    if any(share.path.resolve() == folder.resolve() for share in shares):
        raise FileError(folder, "is both a dataset and the mixture", "choose another --output")
    opened = [Dataset.open(share.path) for share in shares]
    shutil.rmtree(folder, ignore_errors=True)
    link(folder, [Part(dataset, list(dataset.indices)) for dataset in opened])
    repeats: list[tuple[int, int, int]] = []
    first = 0
    for dataset, share in zip(opened, shares, strict=True):
        stop = first + len(dataset.indices)
        repeats.append((first, stop, share.weight))
        first = stop
    return tuple(repeats)
