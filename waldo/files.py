"""Files and folders that are written completely or not at all.

A new file or folder is written under a temporary name beside its target, flushed to disk, renamed into place, and the
parent folder is flushed. After a crash the target is therefore either the old version or the complete new one; a
leftover temporary entry ends in `.partial` and can be deleted (`remove_partials`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from waldo.errors import FileError

PARTIAL = ".partial"
"""Suffix of an entry that is being written."""

PARTIAL_NAME = re.compile(rf"\..+\.\d+{re.escape(PARTIAL)}(\.[^.]+)?")
"""Name of a temporary entry: `.<stem>.<process id>.partial`, with the extension of a file."""

NOT_EMPTY = "choose another folder, or delete this one first"
"""What to do about a folder that is not empty."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: If it cannot be opened, or is no regular file: reading a pipe would wait for its writer.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, nbytes: int = -1) -> bytes:
    """Return the content of a file, at most `nbytes` unless that is negative; raise OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read(nbytes)


def sync_file(path: Path) -> None:
    """Flush a file's or folder's contents to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and the folder itself, to disk."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(root) / name)
        sync_file(Path(root))


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Generator[Path]:
    """Yield a temporary path to write to; on success the file replaces `path`, on an exception it is deleted.

    Args:
        path: The file to write. The temporary path has the same extension, for libraries that choose a format by it.
        sync: Flush the file and its folder to disk. Pass False for a file inside a folder that is flushed as a whole.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    try:
        yield partial
        if sync:
            sync_file(partial)
        partial.replace(path)
        if sync:
            sync_file(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Write a whole file atomically; text is encoded as UTF-8.

    Args:
        path: The file to write.
        data: Its content.
        mode: Permissions of the file, less the process's umask; 0o600 for a secret, which no other user may ever read.
    """
    with atomic_file(path) as partial:
        partial.unlink(missing_ok=True)  # of a crashed process with this id, perhaps with other permissions
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_folder(
    path: Path,
    *,
    sync: Callable[[Path], object] = sync_tree,
    do: str = "choose another folder, or delete this one first",
) -> Generator[Path]:
    """Yield a temporary folder to fill; on success it becomes `path`, on an exception it is deleted.

    Args:
        path: The folder to create. It must not exist, or be empty.
        sync: Flushes the temporary folder to disk before it is renamed.
        do: What the error message suggests if `path` is not empty.

    Raises:
        FileError: If `path` exists and is not an empty folder.
    """
    require_empty(path, do)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync_file(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_empty(path: Path, do: str = NOT_EMPTY) -> None:
    """Raise unless `path` does not exist or is an empty folder.

    Raises:
        FileError: If `path` is a file or a folder that contains anything.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise FileError(path, "already exists", do)


def make_folder(path: Path) -> None:
    """Create a folder for results unless it exists.

    Raises:
        FileError: If it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = "is not a folder" if path.exists() else f"cannot be created ({error.strerror})"
        raise FileError(path, found, "choose another folder") from error
    if not os.access(path, os.W_OK):
        raise FileError(path, "cannot be written", "choose another folder, or change its permissions")


def require_writable(path: Path) -> None:
    """Raise FileError unless a file can be written to `path`; its folder is created."""
    if path.is_dir():
        raise FileError(path, "is a folder", "pass the path of a file")
    make_folder(path.parent)


def remove_partials(folder: Path) -> None:
    """Delete the temporary entries that crashed processes left in a folder.

    Call it only while no other process writes into the folder: entries of running processes are deleted too.
    """
    for path in folder.iterdir():
        if PARTIAL_NAME.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def format_bytes(nbytes: float) -> str:
    """Return a number of bytes with a decimal unit: "999 B", "1.5 MB"."""
    value = float(nbytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
