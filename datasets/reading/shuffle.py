"""The order of rows in training: shuffled in blocks, so that a decoded group of pictures serves all of its rows.

A full shuffle decodes a group of pictures again for every row in it. Here the groups are shuffled over the whole
dataset, a window of groups is open at a time, and the rows of the window come in random order. Every row comes once per
epoch.

The cost in randomness: a batch is drawn from the rows of the window instead of all rows. Two rows of one group are at
most a window apart; adjacent groups are hardly ever in the same window. With 256 open groups of 5 rows, 1 in 11 batches
of 8 contains two rows of one group (8 * 7 / 2 pairs, each with probability 4 / 1279), so gradients are almost
independent. With a window of few groups, batches consist of similar images: increase the memory, or shuffle fully.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError

Rows = NDArray[np.int64]


def cut_blocks(starts: Sequence[int] | Rows, stops: Sequence[int] | Rows, group: Rows) -> Rows:
    """Return the blocks of rows, (blocks, 2): first row and end of each run of rows within one group and one span.

    Args:
        starts: First row of each span.
        stops: End of each span, exclusive.
        group: Group of pictures of each row, shape (rows,).
    """
    parts: list[Rows] = []
    for start, stop in zip(starts, stops, strict=True):
        if start < stop:
            edges = start + 1 + np.flatnonzero(np.diff(group[start:stop]))
            edges = np.concatenate([[start], edges, [stop]]).astype(np.int64)
            parts.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)


def block_order(blocks: Rows, *, window: int, batch: int, lanes: int = 1, seed: int = 0, epoch: int = 0) -> Rows:
    """Return every row of the blocks once, (rows,), in an order that depends only on the arguments.

    Args:
        blocks: First row and end of each block, shape (blocks, 2).
        window: Number of blocks that are open at a time.
        batch: Number of rows per batch.
        lanes: Number of readers that take batches in turn, such as DataLoader workers. All rows of a block go to one
            reader, so that no two readers decode the same block.
        seed: Seed of the order.
        epoch: Number of the epoch; every epoch has another order.
    """
    for name, value in (("window", window), ("batch", batch), ("lanes", lanes)):
        if value < 1:
            raise InvalidValueError(f"{name} of a shuffle", value, "a whole number from 1")
    rng = np.random.default_rng([seed, epoch])
    shuffled = blocks[rng.permutation(len(blocks))]
    parts: list[list[Rows]] = [[] for _ in range(lanes)]
    for first in range(0, len(shuffled), window):
        opened = shuffled[first : first + window]
        for lane in range(lanes):
            # Rotate the first lane, so that lanes get equally many blocks even if `window` is not divisible by `lanes`.
            rows = _rows(opened[(lane + first // window) % lanes :: lanes])
            parts[lane].append(rng.permutation(rows))
    return _interleave([np.concatenate(part) if part else np.empty(0, np.int64) for part in parts], batch, rng)


def _rows(blocks: Rows) -> Rows:
    """Return all rows of the blocks."""
    return np.concatenate([np.arange(first, stop) for first, stop in blocks.tolist()] or [np.empty(0, np.int64)])


def _interleave(lanes: Sequence[Rows], batch: int, rng: np.random.Generator) -> Rows:
    """Take a batch from each lane in turn while all have one; the remaining rows come last, shuffled."""
    rounds = min(len(lane) for lane in lanes) // batch
    taken = np.stack([lane[: rounds * batch].reshape(rounds, batch) for lane in lanes], axis=1)
    rest = np.concatenate([lane[rounds * batch :] for lane in lanes])
    return np.concatenate([taken.ravel(), rng.permutation(rest)]).astype(np.int64)
