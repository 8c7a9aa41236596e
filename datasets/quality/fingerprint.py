"""A hash that identifies the data of a dataset, without reading its images and numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from waldo.datasets.dataset import Dataset
from waldo.datasets.storage.store_path import StorePath


def fingerprint(path: StorePath) -> str:
    """Return a SHA-256 in hexadecimal digits, which changes when episodes are added, deleted, edited or replaced.

    For a waldo dataset it covers the descriptions of its episodes in order, whose checksums cover the data; for the
    folder of a LeRobot dataset the files of its metadata.

    Args:
        path: A waldo dataset, or the folder of a LeRobot dataset.

    Raises:
        FileError: If it is neither.
    """
    digest = hashlib.sha256()
    if not (path / "dataset.json").is_file() and (path / "meta" / "info.json").is_file():
        folder = Path(str(path)) / "meta"
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
        return digest.hexdigest()
    dataset = Dataset.open(path)
    for index in dataset.indices:
        episode = dataset.episode(index)
        edits = f"{episode.task} {episode.outcome}"
        digest.update(f"{index} {edits}\n".encode() + (episode.path / "zarr.json").read_bytes())
    return digest.hexdigest()
