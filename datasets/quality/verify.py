"""Are an episode's bytes still those that were written? Names the file and the chunk that are not."""

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
    """A place in an episode that does not hold what was written."""

    stream: str
    """The stream it belongs to; empty for the episode's own metadata."""
    place: str
    """The file inside the episode, and the chunk."""
    found: str
    """What is wrong there."""


def verify(episode: Episode) -> list[Damage]:
    """Read everything once and compare the checksums."""
    if metadata_checksum(episode.path) != episode.attributes.get("metadata_crc32c"):
        # Metadata that cannot be trusted says nothing of where the rest is.
        return [Damage(stream="", place="zarr.json", found="the checksum of the metadata is wrong")]
    damage: list[Damage] = []
    for name in episode.streams:
        damage += _scalars(episode, name)
        if name in episode.image_streams and episode.count(name):
            damage += _frames(episode, name)
    return damage


def _scalars(episode: Episode, stream: str) -> Iterator[Damage]:
    """Read every array of a stream but the frames: one chunk each, whose codecs verify its checksum."""
    group = episode.group[stream]
    if not isinstance(group, zarr.Group):
        return
    for name, array in sorted(group.arrays()):
        if name == "frames" or not array.size:
            continue
        file = f"{stream}/{name}/c/" + "/".join("0" * array.ndim)
        if not (episode.path / file).is_file():
            yield Damage(stream=stream, place=file, found="the chunk is missing")
            continue
        try:
            array[...]
        except (OSError, ValueError, RuntimeError) as error:
            yield Damage(stream=stream, place=file, found=f"the chunk is damaged ({error})")


def _frames(episode: Episode, camera: str) -> Iterator[Damage]:
    """Compare the checksums of a camera's shard: its index, each chunk, and the MP4 around them."""
    file = str(episode.video_path(camera)).removeprefix(f"{episode.path}/")
    try:
        shard = episode.shard(camera)
        sums = np.asarray(episode.group[f"{camera}/chunk_crc32c"][...])  # type: ignore[index]
    except (OSError, ValueError, RuntimeError, WaldoError) as error:
        yield Damage(stream=camera, place=file, found=str(error))
        return
    for chunk, crc in enumerate(sums.tolist()):
        if _chunk_checksum(shard, chunk) != crc:
            first = chunk * shard.gop
            last = min(first + shard.gop, shard.frames) - 1
            found = f"the checksum of chunk {chunk} is wrong (frames {first} to {last})"
            yield Damage(stream=camera, place=f"{file} chunk {chunk}", found=found)
    if shard.container_checksum() != episode.group[f"{camera}/frames"].attrs.get("container_crc32c"):
        yield Damage(stream=camera, place=file, found="the checksum of what stands around the chunks is wrong")


def _chunk_checksum(shard: ShardReader, chunk: int) -> int | None:
    """Return the checksum of a chunk; None where the file is too short for it."""
    try:
        return int(google_crc32c.value(shard.chunk(chunk)))
    except WaldoError:
        return None
