import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from waldo.collect.recorder.uploader import Uploader
from waldo.datasets.dataset import Dataset
from waldo.datasets.storage.store_path import ObjectPath
from waldo.datasets.streams import Field, ScalarStream

STREAM = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),))


def save(dataset: Dataset) -> None:
    writer = dataset.begin([STREAM], {})
    writer.row("joints/state", header_ns=1, receipt_ns=1, sequence=1, values={"position": [1, 2]})
    writer.save("success", wait=False)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "dataset", robot="tiny")


def test_each_saved_episode_is_pushed_while_the_next_is_recorded(dataset: Dataset, bucket: ObjectPath) -> None:
    notices: list[str] = []
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, bucket / "day", notices.append)
        until(lambda: (bucket / "day/episode_000000.zarr/zarr.json").is_file())
        save(dataset)
        until(lambda: (bucket / "day/episode_000001.zarr/zarr.json").is_file())
        save(dataset)
        dataset.wait()
        assert uploader.close(60.0)
    assert Dataset.open(bucket / "day").indices == [0, 1, 2]
    assert notices == []


def test_a_failed_upload_is_retried_and_does_not_stop_the_recording(
    dataset: Dataset, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    offline = True
    write = ObjectPath.write_bytes

    def refuse(self: ObjectPath, data: bytes, **options: str | None) -> None:
        if offline:
            raise OSError("the network is unreachable")
        write(self, data, **options)

    monkeypatch.setattr(ObjectPath, "write_bytes", refuse)
    with dataset.lock():
        uploader = Uploader(dataset, bucket / "day", notices.append, retry_s=0.05)
        save(dataset)
        until(lambda: bool(notices))
        save(dataset)
        dataset.wait()
        offline = False
        until(lambda: len(notices) == 2)
        assert uploader.close(60.0)
    assert notices == [
        "cannot upload: the network is unreachable; recording continues, episodes stay on this machine",
        "upload resumed",
    ]
    assert Dataset.open(bucket / "day").indices == [0, 1]


def test_a_failed_upload_is_retried_although_no_further_episode_is_saved(
    dataset: Dataset, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    offline = True
    write = ObjectPath.write_bytes

    def refuse(self: ObjectPath, data: bytes, **options: str | None) -> None:
        if offline:
            raise OSError("the network is unreachable")
        write(self, data, **options)

    monkeypatch.setattr(ObjectPath, "write_bytes", refuse)
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, bucket / "day", notices.append, retry_s=0.05)
        until(lambda: bool(notices))
        offline = False
        until(lambda: notices[-1] == "upload resumed")
        assert uploader.close(60.0)
    assert Dataset.open(bucket / "day").indices == [0]


def test_closing_does_not_wait_for_a_slow_upload(
    dataset: Dataset, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    entered, go = threading.Event(), threading.Event()
    write = ObjectPath.write_bytes

    def wait(self: ObjectPath, data: bytes, **options: str | None) -> None:
        if not entered.is_set():
            entered.set()
            go.wait(20)
        write(self, data, **options)

    monkeypatch.setattr(ObjectPath, "write_bytes", wait)
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, bucket / "day", notices.append)
        assert entered.wait(60)
        assert not uploader.close(0.0)
        go.set()
        # The upload is completed all the same if the process lives on.
        assert uploader.close(60.0)
    assert notices == [f"upload incomplete; continue with: waldo push {dataset.path} {bucket / 'day'}"]
    assert Dataset.open(bucket / "day").indices == [0]


def test_an_incomplete_upload_is_reported(dataset: Dataset) -> None:
    notices: list[str] = []
    with dataset.lock():
        save(dataset)
        dataset.wait()
        uploader = Uploader(dataset, ObjectPath("s3://no-such-bucket", "day"), notices.append, retry_s=0.05)
        until(lambda: bool(notices))
        assert not uploader.close(60.0)
    assert notices[-1].startswith("upload incomplete; continue with: waldo push ")
