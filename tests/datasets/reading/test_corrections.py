"""Rows of attempts that a policy and a person shared: what a person commanded is imitated, a correction repeatedly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import recordings
from waldo.datasets.dataset import Dataset
from waldo.datasets.reading.corrections import ControlConfig, pieces
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import Column, Rows, make_rows
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.schema import CONTROL_COLUMN, control_stream
from waldo.datasets.streams import Stream
from waldo.errors import InvalidValueError
from waldo.robots.control.arbiter import Source

HOLD, PERSON, POLICY = Source.HOLD, Source.PERSON, Source.POLICY


@pytest.fixture
def rows(record: Callable[..., Dataset], script: type) -> Rows:
    return make_rows(record(script()).episodes[0], RowConfig(cameras=()))


def with_control(rows: Rows, sources: list[int]) -> Rows:
    """Return as many rows as there are sources, with a column of them."""
    values = np.array(sources, dtype=np.float32)[:, None]
    part = rows.part(0, len(sources))
    return replace(part, columns={**part.columns, CONTROL_COLUMN: Column(names=("control",), values=values)})


def starts(rows: Rows, parts: list[Rows]) -> list[tuple[int, int]]:
    """Return first and stop of each piece in the rows."""
    found = [int(np.searchsorted(rows.instants_ns, part.instants_ns[0])) for part in parts]
    return [(first, first + len(part)) for first, part in zip(found, parts, strict=True)]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([PERSON] * 6, [(0, 6)]),
        ([HOLD, PERSON, PERSON, HOLD, PERSON], [(0, 5)]),
        ([POLICY, POLICY, PERSON, PERSON, PERSON], [(2, 5)]),
        ([HOLD, POLICY, HOLD, PERSON, PERSON, HOLD], [(3, 6)]),
        ([POLICY, PERSON, POLICY, PERSON, PERSON], [(1, 2), (3, 5)]),
        ([PERSON, PERSON, HOLD, POLICY], [(0, 3)]),
        ([POLICY, POLICY, HOLD], []),
    ],
)
def test_the_rows_of_a_person_are_kept(rows: Rows, sources: list[int], expected: list[tuple[int, int]]) -> None:
    shared = with_control(rows, sources)
    assert starts(shared, pieces(shared, ControlConfig())) == expected


def test_rows_without_the_column_are_one_piece(rows: Rows) -> None:
    assert pieces(rows, ControlConfig(corrections=3)) == [rows]


def test_only_corrections_are_repeated(rows: Rows) -> None:
    config = ControlConfig(corrections=3)
    assert len(pieces(with_control(rows, [PERSON] * 4), config)) == 1
    shared = with_control(rows, [POLICY, POLICY, PERSON, PERSON])
    assert starts(shared, pieces(shared, config)) == [(2, 4)] * 3


def test_all_rows_can_be_kept(rows: Rows) -> None:
    shared = with_control(rows, [POLICY, POLICY, PERSON, PERSON])
    assert starts(shared, pieces(shared, ControlConfig(control="all", corrections=2))) == [(0, 4)] * 2


def test_a_piece_has_the_columns_and_frames_of_its_rows(record: Callable[..., Dataset], script: type) -> None:
    whole = make_rows(record(script()).episodes[0], RowConfig())
    part = whole.part(5, 12)
    assert len(part) == 7
    for key, column in whole.columns.items():
        np.testing.assert_array_equal(part.columns[key].values, column.values[5:12], key)
    for name, frames in whole.frames.items():
        np.testing.assert_array_equal(part.frames[name], frames[5:12])


@pytest.mark.parametrize("corrections", [0, 101])
def test_a_number_of_repetitions_out_of_range_is_refused(corrections: int) -> None:
    with pytest.raises(InvalidValueError, match=f"^corrections is {corrections}, expected 1 to 100"):
        ControlConfig(corrections=corrections)


@pytest.fixture
def streams(streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    """The streams of a robot that states who controls it."""
    return (*streams, control_stream(60.0))


@pytest.fixture
def shared(record: Callable[..., Dataset], script: type) -> Dataset:
    """A demonstration, and an attempt in which a person takes over from a policy after half a second."""
    return record(script(seed=0), script(seed=1, policy=range(30)))


def test_windows_leave_out_what_a_policy_did(shared: Dataset) -> None:
    config = WindowConfig(rows=RowConfig(cameras=()))
    windows = Windows(shared, config)
    first, second = windows.spans
    assert second.stop - second.first == pytest.approx((first.stop - first.first) / 2, abs=1)
    assert (windows.columns["control"] == PERSON).all()
    assert {span.index for span in windows.spans} == {0, 1}
    every = Windows(shared, replace(config, control=ControlConfig(control="all")))
    assert len(every) == 2 * (first.stop - first.first)
    assert (every.columns["control"] == POLICY).any()


def test_windows_repeat_corrections_and_weighted_episodes(shared: Dataset) -> None:
    config = WindowConfig(rows=RowConfig(cameras=()))
    plain = Windows(shared, config)
    repeated = Windows(shared, replace(config, control=ControlConfig(corrections=3)))
    assert [span.index for span in repeated.spans] == [0, 1, 1, 1]
    weighted = Windows(shared, replace(config, control=ControlConfig(repeats=((0, 1, 2), (1, 2, 1)))))
    assert [span.index for span in weighted.spans] == [0, 0, 1]
    assert len(weighted) == len(plain) + plain.spans[0].stop


def test_images_of_a_correction_are_those_of_its_rows(shared: Dataset) -> None:
    config = WindowConfig(rows=RowConfig())
    windows = Windows(shared, replace(config, control=ControlConfig(corrections=2)))
    key, camera = next(iter(windows.cameras.items()))
    for span in windows.spans[1:]:
        episode = shared.episode(span.index)
        batch = windows.batch(range(span.first, span.stop))
        frames = episode.frames(camera, windows.frames[key][span.first : span.stop])
        np.testing.assert_array_equal(batch[key].transpose(0, 2, 3, 1), frames)
        assert windows.frames[key][span.first] > 10


def test_an_episode_that_a_policy_commanded_is_skipped_by_name(record: Callable[..., Dataset], script: type) -> None:
    dataset = record(script(), script(policy=range(60)))
    windows = Windows(dataset, WindowConfig(rows=RowConfig(cameras=())))
    assert windows.skipped == {1: "a policy commanded all of it; pass --control all to use it"}


def test_recordings_of_before_policies_are_used_beside_later_ones(
    record: Callable[..., Dataset], script: type, streams: tuple[Stream, ...], tmp_path: Path
) -> None:
    dataset = record(script())
    later = dataset.indices
    with dataset.lock():
        writer = dataset.begin(streams[:-1], {"task": "lift"}, back_pressure="wait")
        recordings.write(writer, script())
        writer.save("success")
    windows = Windows(Dataset.open(dataset.path), WindowConfig(rows=RowConfig(cameras=())))
    assert windows.skipped == {}
    assert len(windows.spans) == len(later) + 1
    assert "control" not in windows.columns
