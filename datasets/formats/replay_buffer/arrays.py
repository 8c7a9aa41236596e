"""Write the zarr v2 arrays of a replay buffer as diffusion_policy does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode

CHUNK_BYTES = 2e6
"""Target size of a chunk, as in diffusion_policy's `get_optimal_chunks` [bytes]."""

BATCH = 30
"""Number of frames that are decoded at once."""


def decode_batches(
    episode: Episode, camera: str, frames: NDArray[np.int64], step: int = 1
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the images of the rows in batches, each with its first row.

    Args:
        episode: The episode.
        camera: Camera stream.
        frames: Index of the frame of each row.
        step: Batches contain a multiple of this number of rows, so that chunks are written once.
    """
    shard = episode.shard(camera)
    size = max(1, BATCH // step) * step
    for start in range(0, len(frames), size):
        yield start, shard.read(frames[start : start + size])


def write_array(root: Any, key: str, values: NDArray[Any], attributes: Mapping[str, Any] | None) -> None:
    """Write an array of all rows to `/data`; `attributes` are stored under the name "waldo"."""
    create_array(root, key, values.shape, values.dtype, attributes)[:] = values


def create_array(
    root: Any, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], attributes: Mapping[str, Any] | None
) -> Any:
    """Create an array in `/data` with Blosc (lz4) and chunks of about `CHUNK_BYTES`."""
    from numcodecs.blosc import NOSHUFFLE, Blosc

    return root.require_group("data").create_array(
        key,
        shape=shape,
        chunks=chunks_of(shape, dtype),
        dtype=dtype,
        compressors=Blosc(cname="lz4", clevel=5, shuffle=NOSHUFFLE),
        attributes={} if attributes is None else {"waldo": dict(attributes)},
        config={"write_empty_chunks": True},
    )


def write_plain_array(group: Any, key: str, values: NDArray[Any]) -> None:
    """Write an uncompressed array of a single chunk."""
    array = group.create_array(
        key,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        compressors=None,
        config={"write_empty_chunks": True},
    )
    array[:] = values


def write_ends(root: Any, lengths: Sequence[int]) -> None:
    """Write the row after the last one of each episode to `/meta/episode_ends`."""
    write_plain_array(root.require_group("meta"), "episode_ends", np.cumsum(lengths, dtype=np.int64))


def chunks_of(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return chunks of about `CHUNK_BYTES`, split along the outermost possible axis as in diffusion_policy."""
    below = dtype.itemsize
    for axis in range(len(shape) - 1, -1, -1):
        if below * shape[axis] > CHUNK_BYTES or axis == 0:
            length = min(shape[axis], math.ceil(CHUNK_BYTES / below))
            return (*(1,) * axis, max(1, length), *shape[axis + 1 :])
        below *= shape[axis]
    return ()
