from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.reading.shuffle import block_order, cut_blocks
from waldo.errors import ConfigError

SPANS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=6)


def spans(drawn: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return starts and stops from (gap, length)."""
    starts, stops, at = [], [], 0
    for gap, length in drawn:
        starts.append(at + gap)
        stops.append(at + gap + length)
        at = stops[-1]
    return starts, stops


def cut(starts: list[int], stops: list[int], block: int) -> np.ndarray:
    return cut_blocks(starts, stops, np.arange(max(stops)) // block)


@given(SPANS, st.integers(1, 9), st.integers(1, 12), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_every_row_comes_once(drawn: list, block: int, window: int, batch: int, lanes: int, epoch: int) -> None:
    starts, stops = spans(drawn)
    blocks = cut(starts, stops, block)
    order = block_order(blocks, window=window, batch=batch, lanes=lanes, epoch=epoch)
    expected = [row for start, stop in zip(starts, stops, strict=True) for row in range(start, stop)]
    assert sorted(order.tolist()) == expected
    assert all(stop - start <= block for start, stop in blocks.tolist())


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    blocks = cut([0], [1000], 5)
    first = block_order(blocks, window=32, batch=8, seed=3, epoch=1)
    np.testing.assert_array_equal(first, block_order(blocks, window=32, batch=8, seed=3, epoch=1))
    for other in ({"seed": 3, "epoch": 2}, {"seed": 4, "epoch": 1}):
        assert not np.array_equal(first, block_order(blocks, window=32, batch=8, **other))


def test_only_one_window_is_open_at_a_time() -> None:
    blocks = cut([0], [4000], 5)
    order = block_order(blocks, window=40, batch=8)
    for at in range(0, 4000, 200):
        assert len({row // 5 for row in order[at : at + 200].tolist()}) == 40
    # Each window contains blocks from the whole dataset.
    assert np.ptp(order[:200]) > 3000


def test_all_rows_of_a_block_go_to_one_reader() -> None:
    lanes, batch = 3, 8
    order = block_order(cut([0], [6000], 5), window=60, batch=batch, lanes=lanes)
    owners: dict[int, set[int]] = {}
    for place, row in enumerate(order[: len(order) - 200].tolist()):
        owners.setdefault(row // 5, set()).add(place // batch % lanes)
    assert all(len(readers) == 1 for readers in owners.values())


def test_blocks_follow_the_groups() -> None:
    group = np.array([0, 0, 1, 1, 1, 2, 0, 0])
    assert cut_blocks([0, 6], [6, 8], group).tolist() == [[0, 2], [2, 5], [5, 6], [6, 8]]
    assert cut_blocks([1], [4], group).tolist() == [[1, 2], [2, 4]]
    assert len(cut_blocks([], [], group)) == 0


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^window of a shuffle is 0, expected a whole number from 1$"):
        block_order(cut([0], [10], 5), window=0, batch=8)
