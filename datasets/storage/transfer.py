"""Transfer of datasets to an object store and back. Existing episodes are skipped, so an interrupted transfer resumes.

Object stores have no rename: an episode's root `zarr.json` is uploaded last, and an episode without it does not count.
Edits are transferred as long as only one side was edited since the last transfer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from waldo.datasets import catalog
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import FILE as EDITS
from waldo.datasets.indices import format_indices
from waldo.datasets.links import Part, check_compatible
from waldo.datasets.recording.finalize import metadata_checksum
from waldo.datasets.storage import jsonlines
from waldo.datasets.storage.array_file import array_metadata
from waldo.datasets.storage.layout import DATASET_FILE, episode_name
from waldo.datasets.storage.store_path import ObjectPath, StorePath
from waldo.errors import FileError
from waldo.files import atomic_folder, sync_file

PARALLEL_EPISODES = 8
"""Episodes that are transferred at the same time."""

ROOT = "zarr.json"
"""Root metadata of an episode: uploaded last, removed first."""

type Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The result of a transfer."""

    moved: int
    """Episodes that were copied."""
    kept: int
    """Episodes that existed on the other side."""
    removed: int
    """Episodes that were pruned on this side and removed on the other."""
    nbytes: int
    """Bytes that were copied."""


def push(
    dataset: Dataset, target: ObjectPath, indices: Sequence[int], advance: Advance = lambda done, total: None
) -> Transfer:
    """Copy episodes of a local dataset and all edits to an object store; pruned episodes are removed there.

    Args:
        dataset: The local dataset.
        target: The dataset in the object store; created if it does not exist.
        indices: The episodes to copy.
        advance: Called with the number of copied episodes and their total number.
    """
    remote = _open_or_none(target)
    if remote is None:
        (target / DATASET_FILE).write_bytes((dataset.folder("push") / DATASET_FILE).read_bytes())
        remote = Dataset.open(target)
    _require_compatible(dataset, remote, indices)
    edits = _newer_edits(dataset.path / EDITS, target / EDITS, "pull")
    missing = _missing(dataset, remote, indices)
    nbytes = _transfer(partial(_upload, dataset, target), missing, advance)
    if edits is not None:
        (target / EDITS).write_bytes(edits, replacing=(target / EDITS).tag())
    pruned = sorted(dataset.edits.pruned & set(remote.stored_indices))
    for index in pruned:
        _remove(target / episode_name(index))
    remote = Dataset.open(target)
    entries = _entries(dataset, missing) | {entry.episode: entry for entry in _remote_entries(remote, set(missing))}
    lines = jsonlines.lines_of(list(entries[index]) for index in sorted(entries) if index not in pruned)
    (target / catalog.FILE).write_bytes(lines)
    return Transfer(moved=len(missing), kept=len(indices) - len(missing), removed=len(pruned), nbytes=nbytes)


def pull(
    source: Dataset, folder: Path, indices: Sequence[int], advance: Advance = lambda done, total: None
) -> Transfer:
    """Copy episodes of a dataset in an object store and all edits to a local folder.

    Args:
        source: The dataset in the object store.
        folder: The local dataset; created if it does not exist.
        indices: The episodes to copy.
        advance: Called with the number of copied episodes and their total number.
    """
    dataset = Dataset.open(folder) if (folder / DATASET_FILE).exists() else Dataset.create(folder, robot=source.robot)
    with dataset.lock("waldo pull"):
        _require_compatible(source, dataset, indices)
        edits = _newer_edits(source.path / EDITS, folder / EDITS, "push")
        missing = _missing(source, dataset, indices)
        nbytes = _transfer(partial(_download, source, folder), missing, advance)
        if edits is not None:
            lines = jsonlines.parse(edits).values
            jsonlines.append(folder / EDITS, lines[len(jsonlines.read(folder / EDITS).values) :], sync=True)
        sync_file(folder)
    _ = Dataset.open(folder).catalog
    return Transfer(moved=len(missing), kept=len(indices) - len(missing), removed=0, nbytes=nbytes)


def _open_or_none(target: ObjectPath) -> Dataset | None:
    """Return the dataset in an object store, or None if the address is unused; raise FileError for other contents."""
    if (target / DATASET_FILE).is_file():
        return Dataset.open(target)
    if target.is_dir():
        raise FileError(target, "is neither empty nor a dataset", "choose another address")
    return None


def _require_compatible(source: Dataset, target: Dataset, indices: Sequence[int]) -> None:
    """Raise IncompatibleError if the episodes have another robot or other streams than the target."""
    parts = [Part(target, target.indices), Part(source, indices)]
    check_compatible([part for part in parts if part.indices] or parts)


def _missing(source: Dataset, target: Dataset, indices: Iterable[int]) -> list[int]:
    """Return the episodes that the target lacks; raise FileError if one has another content in the target."""
    existing = set(target.stored_indices)
    ours, theirs = (_rows(dataset.path) for dataset in (source, target))
    missing: list[int] = []
    different: list[int] = []
    for index in indices:
        if index not in existing:
            missing.append(index)
        elif index in ours and ours[index] == theirs.get(index):
            continue
        elif (source.episode_path(index) / ROOT).read_bytes() != (target.episode_path(index) / ROOT).read_bytes():
            different.append(index)
    if different:
        found = f"and {source.path} have different episodes with the indices {format_indices(different)}"
        raise FileError(target.path, found, "local and remote have diverged: merge them into a new dataset")
    return missing


def _newer_edits(source: StorePath, target: StorePath, opposite: str) -> bytes | None:
    """Return the source's edits, or None if the target has all of them.

    Args:
        source: The edits of the source.
        target: The edits of the target.
        opposite: The command that transfers in the other direction, for the error message.

    Raises:
        FileError: If both sides were edited since the last transfer.
    """
    ours, theirs = _whole_lines(source), _whole_lines(target)
    if theirs.startswith(ours):
        return None
    if ours.startswith(theirs):
        return ours
    found = f"and {source} were both edited since the last transfer"
    raise FileError(target, found, f"run waldo {opposite} before editing")


def _whole_lines(path: StorePath) -> bytes:
    """Return the whole lines of a file; nothing if it does not exist."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _transfer(copy: Callable[[int], int], indices: Sequence[int], advance: Advance) -> int:
    """Copy episodes in parallel and return the copied bytes; after an error or an interrupt no further one starts."""
    nbytes = 0
    advance(0, len(indices))
    with ThreadPoolExecutor(PARALLEL_EPISODES) as pool:
        try:
            for done, size in enumerate(pool.map(copy, indices), 1):
                nbytes += size
                advance(done, len(indices))
        finally:
            pool.shutdown(cancel_futures=True)
    return nbytes


def _upload(dataset: Dataset, target: ObjectPath, index: int) -> int:
    """Copy an episode to the object store, root metadata last; return its size [bytes]."""
    source = dataset.folder("push") / episode_name(index)
    files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    files.sort(key=lambda name: name == ROOT)
    for name in files:
        (target / episode_name(index) / name).call("put", source / name)
    return sum((source / name).stat().st_size for name in files)


def _download(source: Dataset, folder: Path, index: int) -> int:
    """Copy an episode from the object store, completely or not at all; return its size [bytes]."""
    origin = source.path / episode_name(index)
    nbytes = 0
    with atomic_folder(folder / episode_name(index)) as partial_copy:
        for path in origin.rglob("*"):  # type: ignore[union-attr]
            target = partial_copy / str(path).removeprefix(f"{origin}/")
            if ".." in target.parts:
                raise FileError(path, "points outside its episode", "do not trust this store")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for part in path.call("get"):  # type: ignore[union-attr]
                    nbytes += file.write(part)
        _check_metadata(partial_copy, origin)
    return nbytes


def _check_metadata(copy: Path, origin: StorePath) -> None:
    """Raise FileError if the metadata of a copy is damaged or incomplete; the arrays have checksums of their own."""
    attributes: Mapping[str, Any] = array_metadata(copy)["attributes"]
    if metadata_checksum(copy) != attributes.get("metadata_crc32c"):
        raise FileError(origin, "the checksum of the metadata is wrong", "run waldo check on it")


def _remove(episode: ObjectPath) -> None:
    """Remove an episode from an object store, root metadata first: from then on the episode does not count."""
    (episode / ROOT).unlink()
    for path in list(episode.rglob("*")):
        path.unlink()


def _entries(dataset: Dataset, indices: Iterable[int]) -> dict[int, catalog.Entry]:
    """Return the catalog entries of episodes, without edits."""
    return {index: catalog.describe(dataset.episode_path(index), index) for index in indices}


def _remote_entries(dataset: Dataset, excluded: set[int]) -> list[catalog.Entry]:
    """Return the catalog entries of the episodes in an object store, without edits and the excluded episodes."""
    known = _rows(dataset.path)
    indices = [index for index in dataset.stored_indices if index not in excluded]
    return [known.get(i) or catalog.describe(dataset.path / episode_name(i), i) for i in indices]


def _rows(folder: StorePath) -> dict[int, catalog.Entry]:
    """Return index -> entry of a catalog file, without edits."""
    return {row[0]: catalog.Entry._make(row) for row in catalog.rows(folder / catalog.FILE)}


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of a folder, which may not exist yet [bytes]."""
    while not folder.exists():
        folder = folder.parent
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
