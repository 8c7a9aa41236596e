"""Datasets to an object store and back. What is there already is left alone, so a transfer that broke off goes on.

Nothing is renamed in an object store: an episode's root `zarr.json` is its last object, and an episode without it is
none. What was edited comes along as long as only one side was edited since the last transfer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from waldo.datasets import catalog, jsonlines
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import FILE as EDITS
from waldo.datasets.indices import format_indices
from waldo.datasets.links import Part, check_compatible
from waldo.datasets.recording.finalize import metadata_checksum, sync_tree
from waldo.datasets.recording.journal import sync_folder
from waldo.datasets.store_path import ObjectPath, Place
from waldo.errors import FileError

AT_ONCE = 8
"""Episodes that are on their way at a time."""

LAST = "zarr.json"
"""The file of an episode that goes last."""

type Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What a transfer did."""

    moved: int
    """Episodes that were copied."""
    kept: int
    """Episodes that were there already."""
    removed: int
    """Episodes that were collected on this side and removed on the other."""
    nbytes: int
    """Bytes that were copied."""


def push(
    dataset: Dataset, target: ObjectPath, indices: Sequence[int], advance: Advance = lambda done, total: None
) -> Transfer:
    """Copy episodes of a dataset here to an object store, with all edits; collected ones are removed there."""
    there = _open_or_none(target)
    if there is None:
        target_json = (dataset.folder("push") / "dataset.json").read_bytes()
        (target / "dataset.json").write_bytes(target_json)
        there = Dataset.open(target)
    _need_fit(dataset, there, indices)
    edits = _ahead(dataset.path / EDITS, target / EDITS, "pull")
    missing = _missing(dataset, there, indices)
    upload = partial(_upload, dataset, target)
    nbytes = _each(upload, missing, advance)
    if edits is not None:
        (target / EDITS).write_bytes(edits, instead_of=(target / EDITS).tag())
    gone = sorted(dataset.edits.collected & set(there.sealed))
    for index in gone:
        _remove(target / _name(index))
    there = Dataset.open(target)
    entries = _entries(dataset, missing) | {entry.episode: entry for entry in _described(there, set(missing))}
    lines = jsonlines.lines_of(list(entries[index]) for index in sorted(entries) if index not in gone)
    (target / catalog.FILE).write_bytes(lines)
    return Transfer(moved=len(missing), kept=len(indices) - len(missing), removed=len(gone), nbytes=nbytes)


def pull(
    source: Dataset, folder: Path, indices: Sequence[int], advance: Advance = lambda done, total: None
) -> Transfer:
    """Copy episodes of a dataset in an object store to a folder here, with all edits."""
    dataset = Dataset.open(folder) if (folder / "dataset.json").exists() else Dataset.create(folder, robot=source.robot)
    with dataset.lock("waldo pull"):
        _need_fit(source, dataset, indices)
        edits = _ahead(source.path / EDITS, folder / EDITS, "push")
        missing = _missing(source, dataset, indices)
        nbytes = _each(partial(_download, source, folder), missing, advance)
        if edits is not None:
            lines = jsonlines.parse(edits).values
            jsonlines.append(folder / EDITS, lines[len(jsonlines.read(folder / EDITS).values) :], sync=True)
        sync_folder(folder)
    _ = Dataset.open(folder).catalog
    return Transfer(moved=len(missing), kept=len(indices) - len(missing), removed=0, nbytes=nbytes)


def _name(index: int) -> str:
    return f"episode_{index:06d}.zarr"


def _open_or_none(target: ObjectPath) -> Dataset | None:
    """Return the dataset in an object store; None where there is nothing. Something else there is refused."""
    if (target / "dataset.json").is_file():
        return Dataset.open(target)
    if target.is_dir():
        raise FileError(target, "is not empty and no dataset", "choose another address")
    return None


def _need_fit(source: Dataset, target: Dataset, indices: Sequence[int]) -> None:
    """Refuse to put episodes beside those of another robot or with other streams."""
    parts = [Part(target, target.indices), Part(source, indices)]
    check_compatible([part for part in parts if part.indices] or parts)


def _missing(source: Dataset, target: Dataset, indices: Iterable[int]) -> list[int]:
    """Return the episodes that the target lacks; another episode under the same number is refused."""
    there = set(target.sealed)
    ours, theirs = (_rows(dataset.path) for dataset in (source, target))
    missing: list[int] = []
    differing: list[int] = []
    for index in indices:
        if index not in there:
            missing.append(index)
        elif index in ours and ours[index] == theirs.get(index):
            continue
        elif (source.episode_path(index) / LAST).read_bytes() != (target.episode_path(index) / LAST).read_bytes():
            differing.append(index)
    if differing:
        found = f"has other episodes under the numbers {format_indices(differing)} than {source.path}"
        raise FileError(target.path, found, "the two have grown apart: merge them into a new dataset")
    return missing


def _ahead(source: Place, target: Place, way: str) -> bytes | None:
    """Return the source's edits if the target lacks some of them, None if it has all; refuse edits on both sides."""
    ours, theirs = _content(source), _content(target)
    if theirs.startswith(ours):
        return None
    if ours.startswith(theirs):
        return ours
    raise FileError(target, f"was edited since the last transfer, and so was {source}", f"waldo {way} first, then edit")


def _content(path: Place) -> bytes:
    """Return the whole lines of a file; nothing where there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _each(copy: Callable[[int], int], indices: Sequence[int], advance: Advance) -> int:
    """Copy episodes, some at a time; return the bytes. What fails or is interrupted leaves the rest undone."""
    nbytes = 0
    advance(0, len(indices))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done, size in enumerate(pool.map(copy, indices), 1):
                nbytes += size
                advance(done, len(indices))
        finally:
            pool.shutdown(cancel_futures=True)
    return nbytes


def _upload(dataset: Dataset, target: ObjectPath, index: int) -> int:
    """Copy an episode into the object store; its root metadata goes last."""
    source = dataset.folder("push") / _name(index)
    files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    files.sort(key=lambda name: name == LAST)
    for name in files:
        (target / _name(index) / name).call("put", source / name)
    return sum((source / name).stat().st_size for name in files)


def _download(source: Dataset, folder: Path, index: int) -> int:
    """Copy an episode from the object store, whole or not at all."""
    origin = source.path / _name(index)
    building = folder / f"{_name(index)}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    nbytes = 0
    for path in origin.rglob("*"):  # type: ignore[union-attr]
        target = building / str(path).removeprefix(f"{origin}/")
        if ".." in target.parts:
            raise FileError(path, "leads out of its episode", "the store was tampered with")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for part in path.call("get"):  # type: ignore[union-attr]
                nbytes += file.write(part)
    _need_whole(building, origin)
    sync_tree(building)
    building.rename(folder / _name(index))
    return nbytes


def _need_whole(building: Path, origin: Place) -> None:
    """Refuse a copy whose metadata is not that of the episode; the arrays have checksums of their own."""
    import json

    attributes: Mapping[str, Any] = json.loads((building / LAST).read_bytes())["attributes"]
    if metadata_checksum(building) != attributes.get("metadata_crc32c"):
        raise FileError(origin, "the checksum of the metadata is wrong", "run waldo check on it")


def _remove(episode: ObjectPath) -> None:
    """Remove an episode from an object store; without its root metadata it is none from the first moment on."""
    (episode / LAST).unlink()
    for path in list(episode.rglob("*")):
        path.unlink()


def _entries(dataset: Dataset, indices: Iterable[int]) -> dict[int, catalog.Entry]:
    """Return the catalogue's lines of episodes, as they were recorded."""
    return {index: catalog.describe(dataset.episode_path(index), index) for index in indices}


def _described(dataset: Dataset, but: set[int]) -> list[catalog.Entry]:
    """Return the catalogue's lines of the episodes in an object store, without those that are known."""
    known = _rows(dataset.path)
    rest = [index for index in dataset.sealed if index not in but]
    return [known.get(i) or catalog.describe(dataset.path / _name(i), i) for i in rest]


def _rows(where: Place) -> dict[int, catalog.Entry]:
    """Return what a catalogue says, as it was recorded: episode -> its line."""
    return {row[0]: catalog.Entry._make(row) for row in catalog.rows(where / catalog.FILE)}


def free_bytes(folder: Path) -> int:
    """Return how much the disk of a folder that may not be there yet can still take [bytes]."""
    while not folder.exists():
        folder = folder.parent
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
