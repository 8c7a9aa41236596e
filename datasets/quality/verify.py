"""Verify the checksums of an episode; damage is reported with its file and chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import google_crc32c

from waldo.datasets.episode import Episode
from waldo.datasets.recording.finalize import metadata_checksum
from waldo.datasets.storage.array_file import array_metadata, chunk_name, metadata_files
from waldo.datasets.storage.episode_layout import FRAMES
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
    documents = metadata_files(episode.path)
    if metadata_checksum(episode.path, documents) != episode.attributes.get("metadata_crc32c"):
        # Damaged metadata does not locate the remaining files reliably.
        return [Damage(stream="", path="zarr.json", found="wrong checksum of the metadata")]
    damage: list[Damage] = []
    arrays: dict[str, dict[str, bytes]] = {}
    for document, content in documents.items():
        stream, _, array = document.removesuffix("/zarr.json").rpartition("/")
        arrays.setdefault(stream, {})[array] = content
    for name in episode.streams:
        damage += _scalars(episode, name, arrays.get(name, {}))
        if name in episode.image_streams and episode.count(name):
            damage += _frames(episode, name)
    return damage


def _scalars(episode: Episode, stream: str, arrays: Mapping[str, bytes]) -> Iterator[Damage]:
    """Read every array of a stream except the frames: one chunk each, with a checksum.

    Args:
        episode: The episode.
        stream: The stream.
        arrays: Name of an array -> content of its metadata.
    """
    for name, metadata in arrays.items():
        if name == FRAMES:
            continue
        try:
            episode.array(stream, name, json.loads(metadata))
        except FileNotFoundError:
            yield Damage(stream=stream, path=_chunk_path(episode, stream, name), found="missing chunk")
        except (OSError, ValueError, RuntimeError) as error:
            found = f"damaged chunk ({error})"
            yield Damage(stream=stream, path=_chunk_path(episode, stream, name), found=found)


def _chunk_path(episode: Episode, stream: str, name: str) -> str:
    """Return the path of an array's chunk in the episode."""
    return f"{stream}/{name}/{chunk_name(array_metadata(episode.path / f'{stream}/{name}'))}"


def _frames(episode: Episode, camera: str) -> Iterator[Damage]:
    """Verify the checksums of a camera's shard: the index, each chunk, and the MP4 container."""
    file = str(episode.video_path(camera)).removeprefix(f"{episode.path}/")
    try:
        shard = episode.shard(camera)
        sums = episode.chunk_checksums(camera)
        container = (
            array_metadata(episode.path / episode.frames_path(camera)).get("attributes", {}).get("container_crc32c")
        )
    except (OSError, ValueError, RuntimeError, WaldoError) as error:
        yield Damage(stream=camera, path=file, found=str(error))
        return
    for chunk, crc in enumerate(sums.tolist()):
        if _chunk_checksum(shard, chunk) != crc:
            first = chunk * shard.gop
            last = min(first + shard.gop, shard.frames) - 1
            found = f"wrong checksum (frames {first} to {last})"
            yield Damage(stream=camera, path=f"{file} chunk {chunk}", found=found)
    if shard.container_checksum() != container:
        yield Damage(stream=camera, path=file, found="wrong checksum of the MP4 container")


def _chunk_checksum(shard: ShardReader, chunk: int) -> int | None:
    """Return the checksum of a chunk; None if the file is truncated before it."""
    try:
        return int(google_crc32c.value(shard.chunk(chunk)))
    except WaldoError:
        return None
