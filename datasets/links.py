"""New datasets from episodes of others by hard links: sealed files never change, so two datasets can share them.

Nothing is copied where both lie on one file system; else the bytes are. What was edited in the source holds in the
new dataset too.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from waldo.datasets.compatibility import IncompatibleError, differences
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Edits
from waldo.datasets.indices import format_indices
from waldo.datasets.store_path import local
from waldo.errors import FileError, InvalidValueError

CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}
"""Why a hard link is refused where a copy still works: another file system, one without links, too many links."""


class Part(NamedTuple):
    """Some episodes of a dataset."""

    dataset: Dataset
    indices: Sequence[int]


def link(out: Path, parts: Sequence[Part], advance: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """Make the dataset `out` of these episodes, in this order; refuses those that do not fit together.

    It is built beside its place and renamed, so it is there whole or not at all. `advance` hears how many are done.
    """
    total = sum(len(part.indices) for part in parts)
    if not total:
        raise InvalidValueError("episodes", "none", "at least one", "say which with --episodes or another filter")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileError(out, "is not an empty folder", "choose a new folder for the dataset")
    check_compatible(parts)
    building = out.with_name(out.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    dataset = Dataset.create(building, robot=parts[0].dataset.robot)
    edits = Edits(building)
    done = 0
    for part in parts:
        first = done
        for index in part.indices:
            link_tree(local(part.dataset.episode_path(index), "link"), building / f"episode_{done:06d}.zarr")
            done += 1
            advance(done, total)
        source = str(part.dataset.path.absolute())
        edits.append("link", range(first, done), source=source, of=format_indices(part.indices))
        _carry_edits(part, edits, first)
    os.sync()
    if out.exists():
        out.rmdir()
    building.rename(out)
    dataset = Dataset.open(out)
    _ = dataset.catalog
    return dataset


def check_compatible(parts: Sequence[Part]) -> None:
    """Refuse parts of different robots, or whose episodes have different streams, and say what differs."""
    first = parts[0].dataset
    reference = None
    for dataset, indices in parts:
        if dataset.robot != first.robot:
            found = [f"robot: {first.robot} in {first.path}, {dataset.robot} in {dataset.path}"]
            raise IncompatibleError("these datasets do not fit together", found, "merge those of one robot")
        chosen = set(indices)
        # One episode stands for all that have the same streams.
        kinds = {entry.signature: entry.episode for entry in dataset.catalog if entry.episode in chosen}
        for index in kinds.values():
            streams = list(dataset.episodes.with_index(index).streams.values())
            reference = reference or streams
            if found := differences(reference, streams):
                what = f"episode {index} of {dataset.path} does not fit to the first of {first.path}"
                raise IncompatibleError(what, found, "leave it out with --episodes or another filter")


def link_tree(source: Path, destination: Path) -> None:
    """Make a folder whose files are hard links to another's; where that cannot be they are copies."""
    destination.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            target = destination / entry.name
            if entry.is_dir(follow_symlinks=False):
                link_tree(Path(entry.path), target)
            elif entry.is_file(follow_symlinks=False):
                _link_file(entry.path, target)
            else:
                raise FileError(entry.path, "is neither a file nor a folder", "an episode holds nothing else")


def _link_file(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        shutil.copy2(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _carry_edits(part: Part, edits: Edits, first: int) -> None:
    """Let what was changed in the source hold for the links; equal changes become one line."""
    known = part.dataset.edits
    by_label: dict[tuple[tuple[str, str], ...], list[int]] = {}
    by_latency: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for offset, index in enumerate(part.indices):
        edit = known.of(index)
        labels = {key: value for key, value in asdict(edit).items() if key in ("task", "outcome") and value is not None}
        if labels:
            by_label.setdefault(tuple(labels.items()), []).append(first + offset)
        if edit.latency_ns:
            by_latency.setdefault(tuple(sorted(edit.latency_ns.items())), []).append(first + offset)
    for labels, indices in by_label.items():
        edits.append("relabel", indices, **dict(labels))
    for cameras, indices in by_latency.items():
        edits.append("latency", indices, cameras=dict(cameras))
