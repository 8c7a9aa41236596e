"""The order in which training sees rows: in blocks, so that what was decoded for one row serves its neighbours.

A full shuffle decodes a group of pictures for every row that it holds, one by one. Here the groups are shuffled over
the whole dataset, a window of them is open at a time, and its rows come in random order. Every row comes once an epoch.

What it costs in randomness: a batch is drawn from the window's rows, not from all of them. Two rows of one group are at
most a window apart; neighbouring groups are hardly ever in one window. With 256 groups of 5 rows open, 1 batch of 8 in
11 holds two rows of one group (8 * 7 / 2 pairs, each with 4 chances in 1279), and gradients are as good as independent.
With a window of few groups, batches are of look-alikes: give the cache more memory then, or shuffle in full.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError

Rows = NDArray[np.int64]


def cut_blocks(starts: Sequence[int] | Rows, stops: Sequence[int] | Rows, group: Rows) -> Rows:
    """Cut spans of rows, each from a start to before its stop, into runs of rows of one group: (blocks, 2).

    `group` (rows,) is each row's group of pictures. No block reaches over a span's end.
    """
    parts: list[Rows] = []
    for start, stop in zip(starts, stops, strict=True):
        if start < stop:
            edges = start + 1 + np.flatnonzero(np.diff(group[start:stop]))
            edges = np.concatenate([[start], edges, [stop]]).astype(np.int64)
            parts.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)


def block_order(blocks: Rows, *, window: int, batch: int, lanes: int = 1, seed: int = 0, epoch: int = 0) -> Rows:
    """Return every row of the blocks (blocks, 2) once, in an order that is a function of the arguments alone.

    `window` blocks are open at a time. `lanes` readers take batches of `batch` rows in turn (the workers of a
    DataLoader): a block's rows all come to one of them, so that no two decode the same. An order of other `lanes` or
    another `batch` is another order.
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
            # The lane that begins moves on, so that no lane gets more blocks than others where windows do not divide.
            rows = _rows(opened[(lane + first // window) % lanes :: lanes])
            parts[lane].append(rng.permutation(rows))
    return _interleave([np.concatenate(part) if part else np.empty(0, np.int64) for part in parts], batch, rng)


def _rows(blocks: Rows) -> Rows:
    """Return all rows of some blocks."""
    return np.concatenate([np.arange(first, stop) for first, stop in blocks.tolist()] or [np.empty(0, np.int64)])


def _interleave(lanes: Sequence[Rows], batch: int, rng: np.random.Generator) -> Rows:
    """Take a batch from each lane in turn, for as long as all have one; what is left comes last, mixed."""
    rounds = min(len(lane) for lane in lanes) // batch
    taken = np.stack([lane[: rounds * batch].reshape(rounds, batch) for lane in lanes], axis=1)
    rest = np.concatenate([lane[rounds * batch :] for lane in lanes])
    return np.concatenate([taken.ravel(), rng.permutation(rest)]).astype(np.int64)
