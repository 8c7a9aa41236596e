"""Verify the checksums of an episode; damage is reported with its file and chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
import zarr

from waldo.datasets.episode import Episode
from waldo.datasets.recording.finalize import metadata_checksum
from waldo.datasets.video.shard import ShardReader
from waldo.errors import WaldoError


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A part of an episode that differs from what was written."""

    stream: str
    """The stream; empty for the metadata of the episode."""
    path: str
    """Path in the episode, with the number of the chunk if the file has several."""
    found: str
    """Description of the damage."""


def verify(episode: Episode) -> list[Damage]:
    """Read the whole episode and return all damage."""
    if metadata_checksum(episode.path) != episode.attributes.get("metadata_crc32c"):
        # Damaged metadata does not locate the remaining files reliably.
        return [Damage(stream="", path="zarr.json", found="wrong checksum of the metadata")]
    damage: list[Damage] = []
    for name in episode.streams:
        damage += _scalars(episode, name)
        if name in episode.image_streams and episode.count(name):
            damage += _frames(episode, name)
    return damage


def _scalars(episode: Episode, stream: str) -> Iterator[Damage]:
    """Read every array of a stream except the frames: one chunk each, with a checksum that the codec verifies."""
    group = episode.group[stream]
    if not isinstance(group, zarr.Group):
        return
    for name, array in sorted(group.arrays()):
        if name == "frames" or not array.size:
            continue
        file = f"{stream}/{name}/c/" + "/".join("0" * array.ndim)
        if not (episode.path / file).is_file():
            yield Damage(stream=stream, path=file, found="missing chunk")
            continue
        try:
            array[...]
        except (OSError, ValueError, RuntimeError) as error:
            yield Damage(stream=stream, path=file, found=f"damaged chunk ({error})")


def _frames(episode: Episode, camera: str) -> Iterator[Damage]:
    """Verify the checksums of a camera's shard: the index, each chunk, and the MP4 container."""
    file = str(episode.video_path(camera)).removeprefix(f"{episode.path}/")
    try:
        shard = episode.shard(camera)
        sums = np.asarray(episode.group[f"{camera}/chunk_crc32c"][...])  # type: ignore[index]
    except (OSError, ValueError, RuntimeError, WaldoError) as error:
        yield Damage(stream=camera, path=file, found=str(error))
        return
    for chunk, crc in enumerate(sums.tolist()):
        if _chunk_checksum(shard, chunk) != crc:
            first = chunk * shard.gop
            last = min(first + shard.gop, shard.frames) - 1
            found = f"wrong checksum (frames {first} to {last})"
            yield Damage(stream=camera, path=f"{file} chunk {chunk}", found=found)
    if shard.container_checksum() != episode.group[episode.frames_path(camera)].attrs.get("container_crc32c"):
        yield Damage(stream=camera, path=file, found="wrong checksum of the MP4 container")


def _chunk_checksum(shard: ShardReader, chunk: int) -> int | None:
    """Return the checksum of a chunk; None if the file is truncated before it."""
    try:
        return int(google_crc32c.value(shard.chunk(chunk)))
    except WaldoError:
        return None
