"""The lock of a dataset: only one process at a time records, recovers or prunes."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from waldo.datasets.storage.layout import LOCK_FILE
from waldo.errors import WaldoError


class DatasetLockedError(WaldoError):
    """Another process holds the dataset's lock."""

    def __init__(self, path: Path, holder: str) -> None:
        """Build the message from the dataset's folder and the holder's description in the lock file."""
        super().__init__(f"{path} is locked by {holder}; wait until it finishes, or stop it")


@contextmanager
def hold_lock(folder: Path, holder: str = "") -> Generator[None]:
    """Hold the lock of a dataset's folder for the duration of the block; the lock of a dead process is free.

    Args:
        folder: The dataset's folder.
        holder: Name of this program, shown to other processes; by default the name of the script.

    Raises:
        DatasetLockedError: If another process holds the lock.
    """
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DatasetLockedError(folder, file.read().strip() or "another process") from None
        file.truncate(0)
        file.write(f"{holder or Path(sys.argv[0]).name or 'python'}, process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
