from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.recording import recover as recovery
from waldo.datasets.recording.journal import HEADER, Journal, Kind
from waldo.datasets.recording.recover import Recovered, remove_unfinished
from waldo.datasets.streams import Field, ScalarStream

FIELDS = (Field("position", "rad", ("a",)),)
STREAMS = tuple(
    ScalarStream(name=f"joints/{name}", rate_hz=10.0, fields=FIELDS) for name in ("state", "extra", "command")
)
SECOND = 1_000_000_000


def write_journal(dataset: Dataset, stamps: dict[str, list[int]], torn: bytes = b"", row: bytes = bytes(4)) -> Path:
    """Write the journal of a recording that was cut off, with these publisher's stamps per stream."""
    path = dataset.path / "episode_000000.journal"
    journal = Journal(path, {"streams": [stream.to_dict() for stream in STREAMS], "attributes": {"robot": "toy"}})
    for number, stream in enumerate(STREAMS):
        for sequence, stamp in enumerate(stamps.get(stream.name, [])):
            journal.append(Kind.ROW, stream=number, header_ns=stamp, sequence=sequence + 1, payload=row)
    journal.close()
    path.write_bytes(path.read_bytes() + torn)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "dataset", robot="toy")


def recover(dataset: Dataset) -> Recovered:
    with dataset.lock():
        (result,) = dataset.recover()
    return result


def test_streams_that_end_early_are_reported(dataset: Dataset) -> None:
    write_journal(dataset, {"joints/state": [0, SECOND], "joints/extra": [0, SECOND // 2], "joints/command": [0]})
    result = recover(dataset)
    assert result.span_ns == (0, SECOND)
    assert result.counts == {"joints/state": 2, "joints/extra": 2, "joints/command": 1}
    # Commands may stop at any time, so their end is not reported.
    assert result.missing_s == {"joints/extra": 0.5}
    assert str(result) == (
        "episode 0: saved as unknown (interrupted); recovered 1.00 s until 1970-01-01 00:00:01.000000 UTC: "
        "2 joints/state, 2 joints/extra, 1 joints/command; lost at most 0.5 s after that, "
        "joints/extra ends 0.50 s earlier"
    )


@pytest.mark.parametrize(("end_ns", "is_early"), [(850_000_000, False), (849_000_000, True)])
def test_stream_ends_early_if_more_than_one_and_a_half_periods_are_missing(
    dataset: Dataset, end_ns: int, is_early: bool
) -> None:
    write_journal(dataset, {"joints/state": [0, SECOND], "joints/extra": [0, end_ns]})
    assert ("joints/extra" in recover(dataset).missing_s) == is_early


def test_stream_without_rows_does_not_end_early(dataset: Dataset) -> None:
    write_journal(dataset, {"joints/state": [0, SECOND]})
    assert recover(dataset).missing_s == {}


def test_unreadable_bytes_are_counted(dataset: Dataset) -> None:
    write_journal(dataset, {"joints/state": [5]}, torn=b"torn record")
    result = recover(dataset)
    assert result.lost_bytes == 11
    assert str(result).endswith("; lost at most 0.5 s after that; 11 bytes at the end were unreadable")
    assert dataset.episodes[0].attributes["journal_lost_bytes"] == 11


def test_journal_without_rows_is_removed(dataset: Dataset) -> None:
    path = write_journal(dataset, {})
    result = recover(dataset)
    assert (result.path, result.counts, str(result)) == (None, {}, "episode 0: nothing had been recorded")
    assert not path.exists()
    assert dataset.next_index == 0


def test_journal_of_zero_bytes_is_removed(dataset: Dataset) -> None:
    (dataset.path / "episode_000000.journal").touch()
    assert recover(dataset).note == "nothing had been recorded"
    assert dataset.unfinished == []


def test_journal_of_a_finished_episode_is_removed(dataset: Dataset) -> None:
    path = write_journal(dataset, {"joints/state": [5]})
    content = path.read_bytes()
    recover(dataset)
    path.write_bytes(content)
    result = recover(dataset)
    assert (result.note, result.path, result.index) == ("was already saved", path.with_suffix(".zarr"), 0)
    assert not path.exists()


def test_journal_whose_first_row_is_damaged_is_kept(dataset: Dataset) -> None:
    path = write_journal(dataset, {"joints/state": [5, 6]})
    content = bytearray(path.read_bytes())
    rows = 2 * (HEADER.size + 4)
    content[-rows + HEADER.size] ^= 1
    path.write_bytes(content)
    result = recover(dataset)
    assert str(result) == (
        "episode 0: the journal's second record is unreadable; the journal is kept as .damaged; "
        f"{rows} bytes at the end were unreadable"
    )
    assert (result.path, result.lost_bytes) == (None, rows)
    assert path.with_name("episode_000000.journal.damaged").read_bytes() == content
    assert dataset.unfinished == []


def test_journal_with_rows_of_another_length_is_kept(dataset: Dataset) -> None:
    path = write_journal(dataset, {"joints/state": [5]}, torn=b"torn", row=bytes(3))
    content = path.read_bytes()
    result = recover(dataset)
    assert (result.index, result.path, result.lost_bytes, result.counts) == (0, None, 4, {})
    assert result.note.startswith("cannot be converted (")
    assert result.note.endswith("); the journal is kept as .damaged")
    assert path.with_name("episode_000000.journal.damaged").read_bytes() == content
    assert (dataset.unfinished, dataset.indices) == ([], [])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a row of 3 bytes"), "a row of 3 bytes"),
        (KeyError("streams"), "'streams'"),
        (TypeError("one\nof two lines"), "one of two lines"),
        (OverflowError(199 * "x" + "yz"), 199 * "x" + "…"),
    ],
)
def test_note_on_a_journal_that_cannot_be_converted_names_the_reason_on_one_line(
    dataset: Dataset, error: Exception, text: str
) -> None:
    def fail(journal: Path, destination: Path) -> dict[str, Any]:
        raise error

    path = write_journal(dataset, {"joints/state": [5]})
    result = recovery.recover(path, fail)
    assert str(result) == f"episode 0: cannot be converted ({text}); the journal is kept as .damaged"
    assert [one.name for one in dataset.path.glob("episode*")] == ["episode_000000.journal.damaged"]


def test_only_half_built_episodes_are_removed(dataset: Dataset) -> None:
    kept = ["episode_000000.zarr", "episode_000001.journal.damaged", "other.zarr.tmp"]
    for name in [*kept, "episode_000002.zarr.tmp", ".episode_000003.zarr.99.partial"]:
        (dataset.path / name).mkdir()
    remove_unfinished(dataset.path)
    assert sorted(path.name for path in dataset.path.iterdir()) == sorted([*kept, "dataset.json"])
