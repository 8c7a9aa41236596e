"""New datasets of hard links to the episodes of others: finalized files never change, so datasets can share them.

Files are copied only if the datasets are on different file systems. Edits of the source apply in the new dataset too.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from waldo.datasets.compatibility import IncompatibleError, differences
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Edits
from waldo.datasets.indices import format_indices
from waldo.datasets.storage.layout import episode_name
from waldo.datasets.storage.store_path import require_local
from waldo.errors import FileError, InvalidValueError
from waldo.files import atomic_folder, require_empty, sync_file

NEW_FOLDER = "choose a new folder for the dataset"

CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}
"""Errors of os.link after which a copy is made: another file system, no support for links, too many links."""


class Part(NamedTuple):
    """A selection of a dataset's episodes."""

    dataset: Dataset
    indices: Sequence[int]


def link(out: Path, parts: Sequence[Part], advance: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """Create the dataset `out` from these episodes, in this order, completely or not at all.

    Args:
        out: Folder of the new dataset; it must not exist, or be empty.
        parts: The episodes of each source.
        advance: Called with the number of finished episodes and their total number.

    Raises:
        IncompatibleError: If the episodes have different robots or streams.
    """
    total = sum(len(part.indices) for part in parts)
    if not total:
        raise InvalidValueError("episodes", "none", "at least one", "select episodes with --episodes or another filter")
    require_empty(out, NEW_FOLDER)
    check_compatible(parts)
    # One sync of the file system: flushing every linked file again would take a multiple of the time.
    with atomic_folder(out, sync=lambda _: os.sync()) as partial:
        Dataset.create(partial, robot=parts[0].dataset.robot)
        _link_parts(partial, parts, lambda done: advance(done, total))
    dataset = Dataset.open(out)
    _ = dataset.catalog
    return dataset


def _link_parts(folder: Path, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
    """Link the episodes of all parts into a new dataset and carry their edits over."""
    edits = Edits(folder)
    done = 0
    for part in parts:
        first = done
        for index in part.indices:
            link_tree(require_local(part.dataset.episode_path(index), "link"), folder / episode_name(done))
            done += 1
            advance(done)
        source = str(part.dataset.path.absolute())
        edits.append("link", range(first, done), source=source, of=format_indices(part.indices))
        _carry_edits(part, edits, first)


def check_compatible(parts: Sequence[Part]) -> None:
    """Raise IncompatibleError if the parts have different robots, or their episodes different streams."""
    first = parts[0].dataset
    reference = None
    for dataset, indices in parts:
        if dataset.robot != first.robot:
            found = [f"robot: {first.robot} in {first.path}, {dataset.robot} in {dataset.path}"]
            raise IncompatibleError("the datasets are not compatible", found, "merge datasets of one robot")
        chosen = set(indices)
        # One episode represents all that have the same streams.
        kinds = {entry.signature: entry.episode for entry in dataset.catalog if entry.episode in chosen}
        for index in kinds.values():
            streams = list(dataset.episodes.with_index(index).streams.values())
            reference = reference or streams
            if found := differences(reference, streams):
                problem = f"episode {index} of {dataset.path} is not compatible with the first of {first.path}"
                raise IncompatibleError(problem, found, "exclude it with --episodes or another filter")


def link_tree(source: Path, destination: Path) -> None:
    """Create a folder of hard links to the files of another; files that cannot be linked are copied."""
    destination.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            target = destination / entry.name
            if entry.is_dir(follow_symlinks=False):
                link_tree(Path(entry.path), target)
            elif entry.is_file(follow_symlinks=False):
                _link_file(entry.path, target)
            else:
                raise FileError(entry.path, "is neither a file nor a folder", "remove it: an episode has only those")


def _link_file(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        shutil.copy2(source, target)
        sync_file(target)


def _carry_edits(part: Part, edits: Edits, first: int) -> None:
    """Apply the source's edits to the links; equal edits become one line."""
    known = part.dataset.edits
    by_label: dict[tuple[tuple[str, str], ...], list[int]] = {}
    by_latency: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for offset, index in enumerate(part.indices):
        edit = known.of(index)
        changed = {"task": edit.task, "outcome": edit.outcome}
        labels = {key: value for key, value in changed.items() if value is not None}
        if labels:
            by_label.setdefault(tuple(labels.items()), []).append(first + offset)
        if edit.subtasks is not None:
            subtasks = [[one.start_s, one.text] for one in edit.subtasks]
            edits.append("subtasks", [first + offset], subtasks=subtasks)
        if edit.latency_ns:
            by_latency.setdefault(tuple(sorted(edit.latency_ns.items())), []).append(first + offset)
    for label, indices in by_label.items():
        edits.append("relabel", indices, **dict(label))
    for cameras, indices in by_latency.items():
        edits.append("latency", indices, cameras=dict(cameras))
