"""Read frames of a frame cache."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.reading.frame_cache import HEADER, FrameCache
from waldo.datasets.reading.frame_reader import FrameRequest
from waldo.errors import FileError

OPEN_FILES = 256
"""Number of files that a process keeps open."""


class CacheReader:
    """Read frames by the position of their episode in a list, as FrameReader does from a recording."""

    def __init__(self, cache: FrameCache, indices: Sequence[int]) -> None:
        """Create a reader of the episodes with these indices."""
        self._cache, self._indices = cache, list(indices)
        self._local: _OpenFiles | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the open files, which belong to this process."""
        return {**self.__dict__, "_local": None}

    def read(self, requests: Iterable[FrameRequest]) -> None:
        """Fill `out` of every request, which must have the size of the cache's frames."""
        files = self._here()
        for request in requests:
            path = self._cache.file(self._indices[request.episode], request.camera)
            files.read(path, request.frame, request.out)

    def prefetch(self, frames: Iterable[tuple[int, str, int]]) -> None:
        """Do nothing: the kernel reads ahead."""

    def close(self) -> None:
        """Close the files of this process; the next read opens them again."""
        local, self._local = self._local, None
        if local is not None:
            local.close()

    def _here(self) -> _OpenFiles:
        if self._local is None or self._local.process != os.getpid():
            self._local = _OpenFiles()
        return self._local


class _OpenFiles:
    """The open files of a process; the least recently used one is closed first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def read(self, path: Path, frame: int, out: NDArray[np.uint8]) -> None:
        """Read one frame directly into `out`."""
        with self._lock:
            if path not in self._open:
                self._open[path] = path.open("rb", buffering=0)
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(path)
            read = os.preadv(self._open[path].fileno(), [out], HEADER + frame * out.nbytes)
        if read != out.nbytes:
            raise FileError(path, f"is truncated at frame {frame}", "run waldo cache --check")

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __del__(self) -> None:
        self.close()
