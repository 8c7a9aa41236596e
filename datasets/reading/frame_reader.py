"""Frames of many episodes for training: each group of pictures decoded once a call, on a few threads, into place.

A reader belongs to no process: it opens what it needs where it is used, after a fork and behind a pickle as well.
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
from waldo.datasets.store_path import StorePath
from waldo.datasets.video import decoder, images
from waldo.errors import FileError

OPEN_CAMERAS = 4096
"""Cameras of episodes whose shard index a process keeps: 16 bytes a group of pictures each."""


ASKED_AT_ONCE = 16
"""Groups of pictures that are asked of an object store at a time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One frame that is asked for, and where it goes."""

    episode: int
    """Place of the episode in the reader's list."""
    camera: str
    """Name of the video stream."""
    frame: int
    """Number of the frame in its stream."""
    out: NDArray[np.uint8]
    """Planes to write to, uint8 (3, h, w); another size than the recorded one is averaged over areas."""


type Group = tuple[int, str, int]
"""Place of the episode, camera, number of the group of pictures."""


class FrameReader:
    """Reads frames of a list of episodes by place, camera and number."""

    def __init__(self, episodes: Sequence[StorePath], *, threads: int | None = None, cache_bytes: int = 0) -> None:
        """Take the episodes' folders.

        `threads` decode at a time: None takes the cores that this process may use, shared out among a DataLoader's
        workers. `cache_bytes` bounds the decoded pictures that are kept for neighbours: half of what RGB would take,
        and in each process anew.
        """
        self._episodes = list(episodes)
        self._threads, self._cache_bytes = threads, cache_bytes
        self._local: _Local | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {**self.__dict__, "_local": None}

    def read(self, wanted: Iterable[Wanted]) -> None:
        """Fill every `out`; returns when all are there."""
        local = self._here()
        jobs = [(group, frames) for group, frames in _by_group(wanted, local.gop).items()]
        if local.threads == 1 or len(jobs) == 1:
            for group, frames in jobs:
                local.fill(group, frames)
            return
        for _ in local.pool.map(lambda job: local.fill(*job), jobs):
            pass

    def prefetch(self, frames: Iterable[tuple[int, str, int]]) -> None:
        """Begin to decode frames, (place of the episode, camera, number), into the cache; does not wait for them."""
        local = self._here()
        if local.cache.limit:
            for group in {(e, camera, frame // local.gop(e, camera)): None for e, camera, frame in frames}:
                local.begin(group)

    def close(self) -> None:
        """End this process's threads and forget what is decoded; the next read begins anew."""
        local, self._local = self._local, None
        if local is not None and local.process == os.getpid():
            local.close()

    def _here(self) -> _Local:
        """Return what belongs to this process; a fork's child begins with nothing of its parent's."""
        local = self._local
        if local is None or local.process != os.getpid():
            threads = self._threads or self._at_a_time()
            local = self._local = _Local(self._episodes, threads, _Pictures(self._cache_bytes))
        return local

    def _at_a_time(self) -> int:
        """Return how many groups to read at a time; an object store answers late, so more are asked for there."""
        return cores() if all(isinstance(path, Path) for path in self._episodes) else max(cores(), ASKED_AT_ONCE)


def cores() -> int:
    """Return how many threads may decode: this process's cores, shared out among a DataLoader's workers."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // _workers())


def _workers() -> int:
    """Return how many DataLoader workers share the machine; 1 outside of one."""
    import sys

    module = sys.modules.get("torch.utils.data")
    info = module.get_worker_info() if module is not None else None
    return 1 if info is None else int(info.num_workers)


def _by_group(wanted: Iterable[Wanted], gop_of: Any) -> Mapping[Group, list[Wanted]]:
    groups: dict[Group, list[Wanted]] = {}
    for frame in wanted:
        group = frame.episode, frame.camera, frame.frame // gop_of(frame.episode, frame.camera)
        groups.setdefault(group, []).append(frame)
    return groups


class _Pictures:
    """Decoded pictures of groups, whole groups, least recently used out first."""

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
    """What one process has open."""

    episodes: Sequence[StorePath]
    threads: int
    cache: _Pictures
    process: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    shards: OrderedDict[tuple[int, str], Any] = field(default_factory=OrderedDict)
    running: dict[Group, Future[Any]] = field(default_factory=dict)
    pool: ThreadPoolExecutor = field(init=False)
    ahead: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        # Each thread works on a picture of its own; OpenCV's own threads would only get in their way.
        cv2.setNumThreads(1)
        # Threads are started by the first job. What is wanted now does not queue behind what is wanted later.
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

    def pictures(self, group: Group, count: int) -> list[Any]:
        """Return a group's first `count` pictures or more; fewer where it has fewer."""
        if (found := self.cache.get(group)) is not None:
            return found
        with self.lock:
            begun = self.running.get(group)
        # One that is still in the queue is taken from it.
        if begun is not None and not begun.cancel():
            return begun.result()
        return self.decode(group, count)

    def decode(self, group: Group, count: int) -> list[Any]:
        """Decode the first `count` pictures of a group and keep them."""
        episode, camera, number = group
        try:
            found = decoder.decode_frames(self.shard(episode, camera).chunk(number), count)
        except ValueError as error:
            raise self.damaged(group, f"cannot be decoded ({error})") from error
        self.cache.put(group, found)
        return found

    def damaged(self, group: Group, found: str) -> FileError:
        """Return the error that names a group of pictures."""
        return FileError(f"{self.episodes[group[0]]}/{group[1]}", f"chunk {group[2]} {found}", "run waldo check")

    def fill(self, group: Group, frames: Sequence[Wanted]) -> None:
        """Write the frames of one group to where they go."""
        gop = self.gop(group[0], group[1])
        first = group[2] * gop
        # Where it is kept for its neighbours, the whole group is decoded: the first picture costs as much as the rest.
        found = self.pictures(group, gop if self.cache.limit else 1 + max(frame.frame for frame in frames) - first)
        rgb: dict[int, NDArray[np.uint8]] = {}
        for frame in frames:
            inside = frame.frame - first
            if inside >= len(found):
                raise self.damaged(group, f"holds {len(found)} pictures, expected {inside + 1} or more")
            if inside not in rgb:
                rgb[inside] = decoder.to_rgb(found[inside])
            images.write_planes(rgb[inside], frame.out)

    def begin(self, group: Group) -> None:
        """Decode a whole group in the background, unless that is done or being done."""
        if self.cache.get(group) is not None:
            return
        gop = self.gop(group[0], group[1])
        with self.lock:
            if group in self.running:
                return
            future = self.running[group] = self.ahead.submit(self.decode, group, gop)
        future.add_done_callback(lambda _: self.running.pop(group, None))
