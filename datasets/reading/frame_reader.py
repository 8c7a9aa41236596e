"""Read frames of many episodes for training: each group of pictures is decoded once per call, on several threads.

A reader can be used after a fork and after unpickling: every process opens the files that it needs.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.storage.store_path import StorePath
from waldo.datasets.video import decoder, images
from waldo.errors import FileError, count

OPEN_CAMERAS = 4096
"""Number of cameras for which a process keeps the shard index, 16 bytes per group of pictures."""

CONCURRENT_REQUESTS = 16
"""Number of groups of pictures that are requested from an object store concurrently."""


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """One frame and the array to write it to."""

    episode: int
    """Position of the episode in the reader's list."""
    camera: str
    """Camera stream."""
    frame: int
    """Index of the frame in its stream."""
    out: NDArray[np.uint8]
    """Planes to write to, uint8 (3, h, w); a size other than the recorded one is resampled by area averaging."""


type Group = tuple[int, str, int]
"""Position of the episode, camera, number of the group of pictures."""


class FrameReader:
    """Read frames of a list of episodes by position, camera and index."""

    def __init__(self, episodes: Sequence[StorePath], *, threads: int | None = None, cache_bytes: int = 0) -> None:
        """Create a reader; files are opened on first use.

        Args:
            episodes: Folders of the episodes.
            threads: Number of decoding threads; None for the available cores divided by the number of DataLoader
                workers.
            cache_bytes: Memory for decoded groups of pictures, per process [bytes]. They are kept as YUV 4:2:0, half
                the size of RGB.
        """
        self._episodes = list(episodes)
        self._threads, self._cache_bytes = threads, cache_bytes
        self._local: _Local | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Exclude threads and files, which belong to this process."""
        return {**self.__dict__, "_local": None}

    def read(self, requests: Iterable[FrameRequest]) -> None:
        """Fill `out` of every request."""
        local = self._here()
        jobs = [(group, found) for group, found in _by_group(requests, local.gop).items()]
        if local.threads == 1 or len(jobs) == 1:
            for group, found in jobs:
                local.fill(group, found)
            return
        for _ in local.pool.map(lambda job: local.fill(*job), jobs):
            pass

    def prefetch(self, frames: Iterable[tuple[int, str, int]]) -> None:
        """Start decoding frames, (position of the episode, camera, index), into the cache without waiting for them."""
        local = self._here()
        if local.cache.limit:
            for group in {(e, camera, frame // local.gop(e, camera)): None for e, camera, frame in frames}:
                local.start(group)

    def close(self) -> None:
        """Stop the threads of this process and drop decoded frames; the next read starts them again."""
        local, self._local = self._local, None
        if local is not None and local.process == os.getpid():
            local.close()

    def _here(self) -> _Local:
        """Return the state of this process; a forked child does not use that of its parent."""
        local = self._local
        if local is None or local.process != os.getpid():
            threads = self._threads or self._default_threads()
            local = self._local = _Local(self._episodes, threads, _DecodedGroups(self._cache_bytes))
        return local

    def _default_threads(self) -> int:
        """Return the number of threads; an object store has a high latency, so more requests run concurrently."""
        return cores() if all(isinstance(path, Path) for path in self._episodes) else max(cores(), CONCURRENT_REQUESTS)


def cores() -> int:
    """Return the number of cores of this process divided by the number of DataLoader workers, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // _workers())


def _workers() -> int:
    """Return the number of DataLoader workers; 1 outside of a worker."""
    import sys

    module = sys.modules.get("torch.utils.data")
    info = module.get_worker_info() if module is not None else None
    return 1 if info is None else int(info.num_workers)


def _by_group(requests: Iterable[FrameRequest], gop_of: Any) -> Mapping[Group, list[FrameRequest]]:
    groups: dict[Group, list[FrameRequest]] = {}
    for request in requests:
        group = request.episode, request.camera, request.frame // gop_of(request.episode, request.camera)
        groups.setdefault(group, []).append(request)
    return groups


class _DecodedGroups:
    """A least-recently-used cache of decoded groups of pictures."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[Group, list[Any]] = OrderedDict()
        self._bytes = 0

    def get(self, group: Group) -> list[Any] | None:
        with self._lock:
            found = self._held.get(group)
            if found is not None:
                self._held.move_to_end(group)
            return found

    def put(self, group: Group, found: list[Any]) -> None:
        size = _size(found)
        if size > self.limit:
            return
        with self._lock:
            self._bytes += size - _size(self._held.pop(group, []))
            self._held[group] = found
            while self._bytes > self.limit:
                _, old = self._held.popitem(last=False)
                self._bytes -= _size(old)


def _size(found: Sequence[Any]) -> int:
    return len(found) * decoder.nbytes(found[0]) if found else 0


@dataclass
class _Local:
    """Threads and files of one process."""

    episodes: Sequence[StorePath]
    threads: int
    cache: _DecodedGroups
    process: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    shards: OrderedDict[tuple[int, str], Any] = field(default_factory=OrderedDict)
    running: dict[Group, Future[Any]] = field(default_factory=dict)
    pool: ThreadPoolExecutor = field(init=False)
    ahead: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        # Each thread works on its own image; OpenCV's threads would only compete with them.
        cv2.setNumThreads(1)
        # Separate pools, so that reads do not queue behind prefetches.
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="waldo-decode")
        self.ahead = ThreadPoolExecutor(self.threads, thread_name_prefix="waldo-prefetch")

    def close(self) -> None:
        self.ahead.shutdown(cancel_futures=True)
        self.pool.shutdown(cancel_futures=True)

    def shard(self, episode: int, camera: str) -> Any:
        """Return the reader of a camera's frames."""
        key = episode, camera
        with self.lock:
            if key in self.shards:
                self.shards.move_to_end(key)
                return self.shards[key]
        opened = Episode(self.episodes[episode]).shard(camera)
        with self.lock:
            self.shards[key] = opened
            while len(self.shards) > OPEN_CAMERAS:
                self.shards.popitem(last=False)
        return opened

    def gop(self, episode: int, camera: str) -> int:
        return int(self.shard(episode, camera).gop)

    def images(self, group: Group, count: int) -> list[Any]:
        """Return at least the first `count` images of a group; fewer if the group has fewer."""
        if (found := self.cache.get(group)) is not None:
            return found
        with self.lock:
            running = self.running.get(group)
        # A prefetch that has not started is canceled and decoded here.
        if running is not None and not running.cancel():
            return running.result()
        return self.decode(group, count)

    def decode(self, group: Group, count: int) -> list[Any]:
        """Decode the first `count` images of a group into the cache."""
        episode, camera, number = group
        try:
            found = decoder.decode_frames(self.shard(episode, camera).chunk(number), count)
        except ValueError as error:
            raise self.damaged(group, f"cannot be decoded ({error})") from error
        self.cache.put(group, found)
        return found

    def damaged(self, group: Group, found: str) -> FileError:
        """Return an error that names a group of pictures."""
        return FileError(f"{self.episodes[group[0]]}/{group[1]}", f"chunk {group[2]} {found}", "run waldo check")

    def fill(self, group: Group, requests: Sequence[FrameRequest]) -> None:
        """Fill the requests for the frames of one group."""
        gop = self.gop(group[0], group[1])
        first = group[2] * gop
        # With a cache the whole group is decoded: the key frame costs as much as the remaining frames.
        last = max(request.frame for request in requests)
        found = self.images(group, gop if self.cache.limit else 1 + last - first)
        rgb: dict[int, NDArray[np.uint8]] = {}
        for request in requests:
            inside = request.frame - first
            if inside >= len(found):
                raise self.damaged(group, f"contains {count(len(found), 'frame')}, expected {inside + 1} or more")
            if inside not in rgb:
                rgb[inside] = decoder.to_rgb(found[inside])
            images.write_planes(rgb[inside], request.out)

    def start(self, group: Group) -> None:
        """Decode a whole group in the background, unless it is decoded or being decoded."""
        if self.cache.get(group) is not None:
            return
        gop = self.gop(group[0], group[1])
        with self.lock:
            if group in self.running:
                return
            future = self.running[group] = self.ahead.submit(self.decode, group, gop)
        future.add_done_callback(lambda _: self.running.pop(group, None))
