"""Compare a frame cache with the recording that it was built from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.reading.cache_frames import cache_frames
from waldo.datasets.reading.frame_cache import FrameCache, source_of
from waldo.errors import count


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFault:
    """A difference between a cache and the recording."""

    index: int
    """Index of the episode."""
    camera: str
    """Camera stream; empty if the fault concerns the whole episode."""
    found: str
    """Description of the fault."""


def check_cache(
    cache: FrameCache, episodes: Sequence[Callable[[], Episode]], advance: Callable[[int, int], None]
) -> Iterator[CacheFault]:
    """Yield the differences between a cache and a recording: episodes, checksums, and every frame, decoded again.

    Args:
        cache: The cache.
        episodes: Openers of all episodes that the cache should contain.
        advance: Called with the number of checked episodes and the total.
    """
    known: set[int] = set()
    for done, opener in enumerate(episodes):
        episode = opener()
        known.add(episode.index)
        found = cache.source(episode.index)
        if found is None:
            yield CacheFault(index=episode.index, camera="", found="is not in the cache")
        elif found != source_of(episode, cache.config):
            yield CacheFault(index=episode.index, camera="", found="was built from another version of the episode")
        else:
            for camera in found["cameras"]:
                yield from _check_camera(cache, episode, camera)
        advance(done + 1, len(episodes))
    for index in cache.indices:
        if index not in known:
            yield CacheFault(index=index, camera="", found="is in the cache but not in the dataset")


def _check_camera(cache: FrameCache, episode: Episode, camera: str) -> Iterator[CacheFault]:
    """Compare a camera's frames with their checksums and with the recorded frames."""
    try:
        kept = np.load(cache.file(episode.index, camera), mmap_mode="r")
        sums = np.load(cache.checksums(episode.index, camera))
    except (OSError, ValueError) as error:
        yield CacheFault(index=episode.index, camera=camera, found=f"cannot be read ({error})")
        return
    stream = episode.camera(camera)
    shape = (episode.count(camera), 3, *cache.config.size(stream.height, stream.width))
    if kept.shape != shape or sums.shape != shape[:1]:
        found = f"has frames of shape {kept.shape}, expected {shape}"
        yield CacheFault(index=episode.index, camera=camera, found=found)
        return
    damaged = [n for n in range(len(kept)) if google_crc32c.value(kept[n].tobytes()) != sums[n]]
    frames = enumerate(cache_frames(episode, camera, shape))
    differing = [n for n, frame in frames if not np.array_equal(frame, kept[n])]
    for numbers, text in (
        (damaged, "wrong checksum"),
        (sorted({*differing} - {*damaged}), "difference from the recording"),
    ):
        if numbers:
            found = f"{text} in {count(len(numbers), 'frame')}, first in frame {numbers[0]}"
            yield CacheFault(index=episode.index, camera=camera, found=found)
