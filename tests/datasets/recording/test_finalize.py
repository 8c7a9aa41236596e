"""The order of flushes, renames and removals that crash safety depends on, and a crash before each of them."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.durability import crash_before, recorded, tree
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.quality.verify import verify
from waldo.datasets.recording.finalize import finalize, metadata_checksum, sorted_by_arrival
from waldo.datasets.recording.finalizer import Finalizer, NotFinalizedError
from waldo.datasets.streams import DepthStream, Field, ScalarStream, VideoStream
from waldo.errors import FileError

STREAM = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a",)),))
ROWS = 5


@pytest.fixture
def saved(tmp_path: Path) -> Dataset:
    """Return a dataset with the complete journal of a saved episode that is not finalized."""
    dataset = Dataset.create(tmp_path / "dataset", robot="toy")
    with dataset.lock():
        writer = dataset.begin([STREAM], {"task": "t"})
        for k in range(ROWS):
            writer.row("joints/state", values={"position": [k]}, header_ns=k, receipt_ns=k, sequence=k + 1)
        writer._finalize = lambda journal, destination: None
        writer.save("success")
    return dataset


def paths(dataset: Dataset) -> tuple[Path, Path]:
    return dataset.journal_path(0), dataset.path / "episode_000000.zarr"


def test_episode_is_flushed_renamed_and_its_parent_flushed_before_the_journal_is_removed(saved: Dataset) -> None:
    journal, destination = paths(saved)
    with recorded() as calls:
        finalize(journal, destination)
    renamed = next(n for n, call in enumerate(calls) if call.target == str(destination))
    partial = calls[renamed].path
    flushed = [call.path for call in calls[:renamed] if call.name == "fsync"]
    files = {f"{partial}/{name}" for name in tree(destination)}
    folders = {str(partial)} | {os.path.dirname(name) for name in files}
    assert files | folders <= set(flushed)
    # No file changes after it was flushed.
    last_change = max((n for n, call in enumerate(calls[:renamed]) if call.name != "fsync"), default=-1)
    assert all(call.name == "fsync" for call in calls[last_change + 1 : renamed])
    assert files | folders <= {call.path for call in calls[last_change + 1 : renamed]}
    parent = next(n for n in range(renamed, len(calls)) if calls[n] == ("fsync", str(saved.path), ""))
    removed = next(n for n, call in enumerate(calls) if call.name == "unlink" and call.path == str(journal))
    assert renamed < parent < removed
    assert ("fsync", str(saved.path), "") in calls[removed:]


def test_crash_before_any_step_loses_no_row(saved: Dataset, tmp_path: Path) -> None:
    with recorded() as calls:
        copy = Dataset.open(shutil.copytree(saved.path, tmp_path / "counted"))
        finalize(*paths(copy))
    renamed = next(n for n, call in enumerate(calls) if call.target.endswith("episode_000000.zarr"))
    for step in (0, renamed // 2, *range(renamed - 1, len(calls) + 1)):
        copy = Dataset.open(shutil.copytree(saved.path, tmp_path / str(step)))
        assert crash_before(step, lambda copy=copy: finalize(*paths(copy))) == (step < len(calls))
        with copy.lock():
            copy.recover()
        assert [episode.count("joints/state") for episode in copy.episodes] == [ROWS]
        assert copy.episodes[0].outcome == "success"
        assert verify(copy.episodes[0]) == []
        assert copy.unfinished == []
        assert not list(copy.path.glob(".*"))


def test_journal_exists_until_the_episode_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, replace = Dataset.create(tmp_path / "d", robot="toy"), os.replace

    def fail(source: object, target: object) -> None:
        if str(target).endswith(".zarr"):
            raise OSError("simulated crash")
        replace(source, target)  # type: ignore[arg-type]

    with dataset.lock():
        writer = dataset.begin([STREAM], {"task": "t"})
        for k in range(ROWS):
            writer.row("joints/state", values={"position": [k]}, header_ns=k, receipt_ns=k, sequence=k + 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            with pytest.raises(OSError, match="simulated crash"):
                writer.save("success")
        dataset.recover()
    assert dataset.episodes[0].count("joints/state") == ROWS


def test_journal_is_complete_on_disk_before_it_is_finalized(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", robot="toy")
    with dataset.lock():
        writer = dataset.begin([STREAM, VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0)], {})
        writer.frame("cameras/front", header_ns=1, receipt_ns=1, sequence=1, image=np.zeros((48, 64, 3), np.uint8))
        with recorded() as calls:
            writer.save("success")
    flushed = [call.path for call in calls if call.name == "fsync"]
    assert flushed[0] == str(writer.destination.with_suffix(".journal"))
    assert Episode(writer.destination).count("cameras/front") == 1


def test_journal_without_a_first_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "episode_000000.journal").write_bytes(b"garbage")
    with pytest.raises(FileError, match="its first record is unreadable; it cannot be recovered"):
        finalize(tmp_path / "episode_000000.journal", tmp_path / "episode_000000.zarr")
    assert os.listdir(tmp_path) == ["episode_000000.journal"]


def test_existing_episode_is_not_overwritten(saved: Dataset) -> None:
    journal, destination = paths(saved)
    destination.mkdir()
    (destination / "zarr.json").write_text("{}")
    with pytest.raises(FileError, match="already exists"):
        finalize(journal, destination)
    assert journal.exists()


@pytest.mark.parametrize(
    ("recorded_order", "arrival"),
    [
        ([], []),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 4, 2, 3], [1, 2, 3, 4]),
        ([5, 6, 1, 3, 2], [5, 6, 1, 2, 3]),
        ([5, 5, 4, 9], [5, 5, 4, 9]),
        ([-1, -1, -1], [-1, -1, -1]),
    ],
)
def test_dropped_frames_are_sorted_into_their_count(recorded_order: list[int], arrival: list[int]) -> None:
    assert sorted_by_arrival(recorded_order) == arrival


def test_attributes_describe_the_episode(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", robot="toy")
    motors = ScalarStream(name="motors", rate_hz=10.0, fields=(Field("winding", "°C", ("a", "b")),))
    depth = DepthStream(name="depth/front", width=64, height=48, rate_hz=30.0, unit_m=0.0005)
    with dataset.lock():
        writer = dataset.begin([STREAM, motors, depth], {"task": "t"}, back_pressure="wait")
        for k, winding in enumerate(([20.0, float("nan")], [35.5, float("nan")])):
            stamps = {"header_ns": 100 + k, "receipt_ns": 200 + k, "sequence": k + 1}
            writer.row("motors", values={"winding": winding}, **stamps)
            writer.frame("depth/front", image=np.full((48, 64), k, np.uint16), publish_ns=300 + k, **stamps)
        path = writer.save("failure", "operator")
    episode = Episode(path)
    assert (episode.outcome, episode.reason, episode.span_ns) == ("failure", "operator", (100, 101))
    assert episode.max_winding_c == 35.5
    assert episode.nbytes == sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and p.parent != path)
    assert [episode.count(name) for name in episode.streams] == [0, 2, 2]
    assert episode.time_ns("depth/front", "publish").tolist() == [300, 301]
    assert episode.time_ns("motors", "publish").tolist() == [-1, -1]
    assert episode.group["depth/front/frames"].attrs["unit_m"] == 0.0005
    assert episode.group["motors/values"].attrs.asdict() == {
        "columns": ["winding.a", "winding.b"],
        "units": ["°C", "°C"],
    }
    assert episode.attributes["metadata_crc32c"] == metadata_checksum(path)
    assert "journal_lost_bytes" not in episode.attributes


def test_unknown_temperatures_give_no_maximum(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", robot="toy")
    motors = ScalarStream(name="motors", rate_hz=10.0, fields=(Field("winding", "°C", ("a",)),))
    with dataset.lock():
        for streams in ([motors], [STREAM]):
            writer = dataset.begin(streams, {})
            if streams == [motors]:
                writer.row("motors", values={"winding": [np.nan]}, header_ns=1, receipt_ns=1, sequence=1)
            writer.save("success")
    assert [episode.max_winding_c for episode in dataset.episodes] == [None, None]


def test_failure_in_the_background_is_raised_once_and_the_next_journal_is_finalized() -> None:
    done: list[str] = []

    def work(journal: Path, destination: Path) -> None:
        if journal.name == "a":
            raise OSError("disk full")
        done.append(journal.name)

    finalizer = Finalizer(work)
    finalizer.add(Path("a"), Path("a.zarr"))
    finalizer.add(Path("b"), Path("b.zarr"))
    with pytest.raises(NotFinalizedError) as error:
        finalizer.wait()
    expected = "a saved episode could not be finalized: disk full; free disk space, then run waldo recover"
    assert str(error.value) == expected
    finalizer.wait()
    assert done == ["b"]


def test_episode_that_could_not_be_finalized_stops_the_next_one(
    saved: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finalized: list[int] = []
    saved.on_finalized = finalized.append
    with saved.lock():
        saved.recover()
        writer = saved.begin([STREAM], {})
        writer._finalize_later(writer._journal.path.with_name("episode_000007.journal"), Path("nowhere.zarr"))  # type: ignore[misc]
        saved._finalizer._queue.join()
        with pytest.raises(NotFinalizedError):
            saved.begin([STREAM], {})
        writer.save("success", wait=False)
        saved.wait()
    assert finalized == [0, 1]


def test_the_wait_for_the_finalizer_reports_the_remaining_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waldo.datasets.recording.finalizer.REPORT_S", 0.01)
    released = threading.Event()
    finalizer = Finalizer(lambda journal, destination: released.wait(60))
    for number in range(3):
        finalizer.add(Path(f"{number}.journal"), Path(f"{number}.zarr"))
    assert finalizer.pending == 3
    reports: list[int] = []

    def report(pending: int) -> None:
        reports.append(pending)
        released.set()

    finalizer.wait(report)
    assert reports[0] == 3
    assert finalizer.pending == 0
