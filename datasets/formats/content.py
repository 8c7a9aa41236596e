"""The identity of an episode's content, and episodes of which a dataset contains more than a source.

The digest of an episode covers its decoded numbers and some of its images. It depends neither on the names of files and
episodes nor on the compression, so a renamed, recompressed or converted source adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.formats.cameras_in import SourceCamera, psnr_db
from waldo.datasets.formats.images_in import decode_image
from waldo.datasets.formats.rows_in import SourceTable
from waldo.datasets.formats.source import EpisodeDraft, SourceError, digest_of
from waldo.datasets.streams import ScalarStream
from waldo.robots.cameras.ros_images import JPEG_START

DIGEST_VERSION = 2
"""Version of the digests; those of version 1 covered names and compressed bytes."""

SIMILAR_DB = 28.0
"""Smallest peak signal-to-noise ratio of a stored image and the image that it may have been encoded from [dB]."""

SAMPLED = 4
"""Number of images of each camera that the digest covers."""


def content_digest(
    numbers: Mapping[str, NDArray[np.generic]],
    images: Mapping[str, Iterable[NDArray[np.generic] | bytes]],
    *more: object,
) -> str:
    """Return the digest of an episode.

    Args:
        numbers: Key -> values, shape (rows, ...).
        images: Key -> some images, decoded or as the bytes of a JPEG or PNG.
        more: Other properties, such as the instruction.
    """
    parts: list[object] = list(more)
    for key in sorted(numbers):
        values = np.ascontiguousarray(numbers[key])
        values = values.astype(values.dtype.newbyteorder("<"))
        parts += [key, values.dtype.str, values.shape, values]
    for key in sorted(images):
        parts += [key, *(_pixels(image) for image in images[key])]
    return digest_of(*parts)


def sampled_rows(rows: int) -> list[int]:
    """Return the rows of the images that the digest covers."""
    return sorted({round(at) for at in np.linspace(0, rows - 1, min(SAMPLED, rows))})


def _pixels(image: NDArray[np.generic] | bytes) -> NDArray[np.generic] | bytes:
    """Return a JPEG as it is, and any other image as its pixels, whose compression is lossless."""
    if isinstance(image, bytes):
        try:
            return image if image.startswith(JPEG_START) else decode_image(image)
        except SourceError:
            return image
    return np.ascontiguousarray(image)


def checkpoints(tables: Sequence[SourceTable]) -> list[str]:
    """Return digests of the first 1, 2, 4, 8 ... rows of all tables together; none without rows.

    Episodes whose common beginning is at least as long have equal digests, so that candidates for `contains` are found
    without comparing every pair of episodes.
    """
    shortest = min((len(table.header_ns) for table in tables), default=0)
    hashed = {(table.stream.name, field): hashlib.blake2b(digest_size=8) for table in tables for field in table.values}
    found: list[str] = []
    start, stop = 0, 1
    while stop <= shortest:
        for table in tables:
            for field, values in table.values.items():
                part = np.ascontiguousarray(values[start:stop], np.float64)
                hashed[table.stream.name, field].update(part.tobytes())
        whole = hashlib.blake2b(digest_size=8)
        for key in sorted(hashed):
            whole.update(repr(key).encode() + hashed[key].digest())
        found.append(whole.hexdigest())
        start, stop = stop, 2 * stop
    return found


def contains(episode: Episode, draft: EpisodeDraft) -> bool:
    """Return whether a draft is the beginning of a longer episode: all its rows, and some of its images."""
    if not draft.tables or not any(
        episode.count(t.stream.name) > len(t.header_ns) for t in draft.tables if _has(episode, t)
    ):
        return False
    return all(_has(episode, table) and _starts_with(episode, table) for table in draft.tables) and all(
        _shows(episode, camera) for camera in draft.cameras
    )


def _has(episode: Episode, table: SourceTable) -> bool:
    """Return whether an episode has the values of a stream; estimated rates and dtypes may differ."""
    stored = episode.streams.get(table.stream.name)
    if not isinstance(stored, ScalarStream):
        return False
    return [(f.name, f.labels) for f in stored.fields] == [(f.name, f.labels) for f in table.stream.fields]


def _starts_with(episode: Episode, table: SourceTable) -> bool:
    """Return whether the first rows of a stream are those of a table, at the same distances in time."""
    name, rows = table.stream.name, len(table.header_ns)
    if not np.array_equal(np.diff(episode.time_ns(name)[:rows]), np.diff(table.header_ns)):
        return False
    for field, values in table.values.items():
        stored = episode.values(name, field)[:rows]
        if not np.array_equal(stored, np.asarray(values, np.float64), equal_nan=True):
            return False
    return True


def _shows(episode: Episode, camera: SourceCamera) -> bool:
    """Return whether an episode contains some images of a camera, which may be stored with loss."""
    rows = sampled_rows(len(camera.header_ns))
    if camera.name not in episode.streams or episode.count(camera.name) < len(camera.header_ns):
        return False
    own = [camera.plain(image) for row, image in enumerate(camera.images()) if row in rows]
    stored = episode.frames(camera.name, rows)
    return len(own) == len(rows) and all(
        one.shape == other.shape and psnr_db(one, other) >= SIMILAR_DB for one, other in zip(own, stored, strict=True)
    )
