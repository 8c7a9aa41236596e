"""Build and update a frame cache."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.reading.cache_frames import cache_frames
from waldo.datasets.reading.frame_cache import HEADER, FrameCache, source_of, write_json
from waldo.datasets.reading.frame_reader import cores
from waldo.errors import FileError
from waldo.files import sync_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheResult:
    """The outcome of a build."""

    built: int
    """Number of episodes that were decoded."""
    kept: int
    """Number of episodes that were up to date."""
    removed: int
    """Number of episodes that are no longer in the dataset."""
    nbytes: int
    """Bytes of the frames of all episodes."""


def build_cache(
    cache: FrameCache,
    episodes: Sequence[Callable[[], Episode]],
    *,
    threads: int | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CacheResult:
    """Add missing and changed episodes to a cache and remove those that are no longer in the dataset.

    An interrupted build resumes: complete episodes are kept.

    Args:
        cache: The cache.
        episodes: Openers of all episodes that the cache should contain.
        threads: Number of decoding threads; None for one per core.
        advance: Called with the number of finished episodes and the total.

    Raises:
        FileError: If the disk has not enough space, or an episode cannot be decoded.
    """
    opened = [opener() for opener in episodes]
    wanted = {episode.index: source_of(episode, cache.config) for episode in opened}
    todo = [episode for episode in opened if cache.source(episode.index) != wanted[episode.index]]
    stale = [index for index in cache.indices if index not in wanted]
    for index in stale:
        _remove(cache, index)
    _require_space(cache, sum(_nbytes(wanted[episode.index]) for episode in todo))
    done = len(opened) - len(todo)
    advance(done, len(opened))
    pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="waldo-cache")
    stop = threading.Event()
    try:
        running = [pool.submit(_build_episode, cache, episode, wanted[episode.index], stop) for episode in todo]
        for future in as_completed(running):
            future.result()
            done += 1
            advance(done, len(opened))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    nbytes = sum(map(_nbytes, wanted.values()))
    return CacheResult(built=len(todo), kept=len(opened) - len(todo), removed=len(stale), nbytes=nbytes)


def _build_episode(cache: FrameCache, episode: Episode, source: Mapping[str, Any], stop: threading.Event) -> None:
    """Write one episode's frames; episode.json comes last."""
    _remove(cache, episode.index)
    for camera, found in source["cameras"].items():
        file = cache.file(episode.index, camera)
        file.parent.mkdir(parents=True, exist_ok=True)
        shape = (found["frames"], 3, *found["size"])
        sums = np.empty(shape[0], "<u4")
        with file.open("wb") as out:
            out.write(_header(shape))
            for number, frame in enumerate(cache_frames(episode, camera, shape)):
                if stop.is_set():
                    return
                sums[number] = google_crc32c.value(frame.tobytes())
                out.write(frame.data)
            _sync(out)
        with cache.checksums(episode.index, camera).open("wb") as out:
            np.save(out, sums)
            _sync(out)
    write_json(cache.folder(episode.index) / "episode.json", source)
    sync_file(cache.path)


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the header of a NumPy file, which must be HEADER bytes long."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    header = out.getvalue()
    assert len(header) == HEADER
    return header


def _nbytes(source: Mapping[str, Any]) -> int:
    return sum(3 * int(np.prod(found["size"])) * found["frames"] for found in source["cameras"].values())


def _remove(cache: FrameCache, index: int) -> None:
    """Remove an episode; episode.json goes first, so that a partial removal does not look complete."""
    (cache.folder(index) / "episode.json").unlink(missing_ok=True)
    shutil.rmtree(cache.folder(index), ignore_errors=True)


def _require_space(cache: FrameCache, nbytes: int) -> None:
    free = shutil.disk_usage(cache.path).free
    if nbytes > free:
        found = f"the disk has {free / 1e9:.1f} GB free, the frames need {nbytes / 1e9:.1f} GB"
        raise FileError(cache.path, found, "free some space, or choose a smaller --height or --width")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
