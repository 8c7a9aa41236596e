import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from waldo.collect.recorder.uploader import Uploader
from waldo.datasets.dataset import Dataset
from waldo.datasets.store_path import ObjectPath
from waldo.datasets.streams import Field, ScalarStream

STREAM = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),))


def save(dataset: Dataset) -> None:
    writer = dataset.begin([STREAM], {})
    writer.row("joints/state", header_ns=1, receipt_ns=1, sequence=1, values={"position": [1, 2]})
    writer.save("success", wait=False)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "dataset", robot="tiny")


def test_each_saved_episode_is_pushed_while_the_next_is_recorded(dataset: Dataset, bucket: ObjectPath) -> None:
    told: list[str] = []
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, bucket / "day", told.append)
        until(lambda: (bucket / "day/episode_000000.zarr/zarr.json").is_file())
        save(dataset)
        until(lambda: (bucket / "day/episode_000001.zarr/zarr.json").is_file())
        save(dataset)
        dataset.wait()
        assert uploader.close(60.0)
    assert Dataset.open(bucket / "day").indices == [0, 1, 2]
    assert told == []


def test_a_store_that_is_away_stops_nothing_and_catches_up(
    dataset: Dataset, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    away = True
    write = ObjectPath.write_bytes

    def refuse(self: ObjectPath, data: bytes, **options: str | None) -> None:
        if away:
            raise OSError("the network is unreachable")
        write(self, data, **options)

    monkeypatch.setattr(ObjectPath, "write_bytes", refuse)
    with dataset.lock():
        uploader = Uploader(dataset, bucket / "day", told.append, retry_s=0.05)
        save(dataset)
        until(lambda: bool(told))
        save(dataset)
        dataset.wait()
        away = False
        until(lambda: len(told) == 2)
        assert uploader.close(60.0)
    assert told == [
        "cannot upload: the network is unreachable; recording goes on, the episodes are kept here",
        "uploading again",
    ]
    assert Dataset.open(bucket / "day").indices == [0, 1]


def test_what_is_left_is_said(dataset: Dataset) -> None:
    told: list[str] = []
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, ObjectPath("s3://no-such-bucket", "day"), told.append, retry_s=0.05)
        until(lambda: bool(told))
        assert not uploader.close(60.0)
    assert told[-1].startswith("not everything is uploaded yet; go on with: waldo push ")
