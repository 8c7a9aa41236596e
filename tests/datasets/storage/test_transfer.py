"""Transfer to an object store and back, with real requests to an S3 server in this process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.durability import recorded
from waldo.cli.main import main
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.quality.verify import verify
from waldo.datasets.reading.rows import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.selection import Selection
from waldo.datasets.storage.transfer import pull, push
from waldo.errors import FileError, WaldoError


class StoppedError(Exception):
    pass


@pytest.fixture
def requests(monkeypatch):
    """Record the keys of all uploads and deletions, in order; raise at upload number `stop_at` if it is set."""
    import obstore

    class Requests(list):
        stop_at = None

        def keys(self, operation):
            return [key for kind, key in self if kind == operation]

    made = Requests()

    def wrap(operation, function):
        def call(store, key, *args, **options):
            if operation == "put" and len(made.keys("put")) == made.stop_at:
                raise StoppedError
            made.append((operation, key))
            return function(store, key, *args, **options)

        return call

    for operation in ("put", "delete"):
        monkeypatch.setattr(obstore, operation, wrap(operation, getattr(obstore, operation)))
    return made


@pytest.fixture
def streams(streams):
    """The streams that rows need: an upload takes a request per file, and each stream has seven or more."""
    return tuple(one for one in streams if one.name.startswith(("joints/state", "joints/command", "cameras/")))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def pushed(record, script, bucket):
    """Two episodes, local and in an object store."""
    dataset = record(script(), script(task="push the can", outcome="failure", seed=3))
    done = push(dataset, bucket / "lift", dataset.indices)
    assert (done.moved, done.kept, done.removed) == (2, 0, 0)
    return dataset, Dataset.open(str(bucket / "lift"))


def test_dataset_in_an_object_store_reads_like_a_local_one(pushed):
    here, there = pushed
    assert (there.robot, there.indices, there.unfinished) == (here.robot, here.indices, [])
    assert list(there.catalog) == list(here.catalog)
    assert there.select(Selection(task=("push*",))) == [1]
    for a, b in zip(here.episodes, there.episodes, strict=True):
        assert (a.index, a.task, a.outcome) == (b.index, b.task, b.outcome)
        assert np.array_equal(a.values("joints/state", "position"), b.values("joints/state", "position"))
        assert np.array_equal(a.frames("cameras/front"), b.frames("cameras/front"))
        assert verify(b) == []
    assert [report.problems for report in check_dataset(there)] == [0, 0]


def test_training_reads_from_the_object_store(pushed):
    here, there = pushed
    config = WindowConfig(
        rows=RowConfig(cameras=("cameras/front", "cameras/wrist")), deltas={"observation.images.front": [-1 / 30, 0.0]}
    )
    rows = [3, 29, 30, 45]
    ours, theirs = (Windows(dataset, config).batch(rows) for dataset in (here, there))
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key], err_msg=key)


def test_export_copies_from_the_object_store(pushed, tmp_path):
    here, there = pushed
    config = LeRobotConfig(selection=Selection())
    a, b = (export_dataset(one, tmp_path / name, config) for one, name in ((here, "a"), (there, "b")))
    assert (a.frames_copied, a.frames_encoded) == (b.frames_copied, b.frames_encoded) == (120, 0)
    assert contents(tmp_path / "a" / "videos") == contents(tmp_path / "b" / "videos")
    assert contents(tmp_path / "a" / "data") == contents(tmp_path / "b" / "data")


def test_edits_are_transferred(pushed, tmp_path):
    here, there = pushed
    there.relabel([0], task="lift it")
    there.delete([1])
    assert [episode.task for episode in Dataset.open(there.path).episodes] == ["lift it"]
    done = pull(Dataset.open(there.path), here.path, [0])
    assert (done.moved, done.kept) == (0, 1)
    assert [episode.task for episode in Dataset.open(here.path).episodes] == ["lift it"]
    # An episode that is pruned here is removed there.
    with Dataset.open(here.path).lock() as dataset:
        dataset.prune()
    assert push(Dataset.open(here.path), there.path, [0]).removed == 1
    assert not (there.path / "episode_000001.zarr").is_dir()
    assert Dataset.open(there.path).indices == [0]


def test_edits_on_both_sides_are_refused(pushed):
    here, there = pushed
    there.relabel([0], task="theirs")
    here.relabel([0], task="ours")
    with pytest.raises(FileError, match="were both edited since the last transfer"):
        push(here, there.path, here.indices)
    with pytest.raises(FileError, match="run waldo push before editing"):
        pull(there, here.path, [0])


def test_pulled_dataset_is_identical(pushed, tmp_path):
    here, there = pushed
    here.relabel([1], outcome="success")
    push(here, there.path, here.indices)
    done = pull(Dataset.open(there.path), tmp_path / "copy", [0, 1])
    assert done.moved == 2
    ours, theirs = contents(here.path), contents(tmp_path / "copy")
    assert {k: v for k, v in ours.items() if k.name not in ("lock",)} == {
        k: v for k, v in theirs.items() if k.name not in ("lock",)
    }


def test_interrupted_push_resumes(record, script, bucket):
    dataset = record(script(), script(seed=1), script(seed=2))
    target = bucket / "day"
    push(dataset, target, [0])
    # The upload of the second one was interrupted: it has no root metadata yet.
    (target / "episode_000001.zarr" / "cameras" / "junk").write_bytes(b"half")
    assert Dataset.open(target).indices == [0]
    done = push(dataset, target, dataset.indices)
    assert (done.moved, done.kept) == (2, 1)
    assert Dataset.open(target).indices == [0, 1, 2]


def test_failed_pull_leaves_no_incomplete_episode(pushed, tmp_path, monkeypatch):
    _, there = pushed
    (there.path / "episode_000001.zarr" / "joints" / "zarr.json").write_bytes(b"{}")
    with pytest.raises(FileError, match="the checksum of the metadata is wrong"):
        pull(there, tmp_path / "copy", [0, 1])
    copy = Dataset.open(tmp_path / "copy")
    assert copy.indices == [0]
    with copy.lock():
        assert copy.recover() == []
    assert not list((tmp_path / "copy").glob(".*"))


def test_diverged_datasets_are_refused(record, script, pushed, tmp_path):
    _, there = pushed
    other = record(script(seed=9), path=tmp_path / "other")
    with pytest.raises(FileError, match="have different episodes with the indices 0"):
        push(other, there.path, [0])
    elsewhere = record(script(robot="giant"), path=tmp_path / "giant")
    with pytest.raises(WaldoError, match=r"robot: tiny in .* giant in"):
        push(elsewhere, there.path, [0])
    (there.path.parent / "junk" / "file").write_bytes(b"?")
    with pytest.raises(FileError, match="is neither empty nor a dataset"):
        push(other, there.path.parent / "junk", [0])


def test_recording_into_an_object_store_is_refused(pushed):
    _, there = pushed
    with pytest.raises(FileError, match="requires a local folder; run waldo pull first"), there.lock():
        pass


def test_flipped_bit_in_the_object_store_is_found(pushed):
    _, there = pushed
    path = there.episode(0).video_path("cameras/front")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert any("checksum" in damage.found for damage in verify(there.episode(0)))


def test_the_commands(pushed, tmp_path, capsys):
    here, there = pushed
    address = str(there.path)

    def waldo(*words):
        code = main(words)
        output, error = capsys.readouterr()
        return code, output, error

    code, output, _ = waldo("push", str(here.path), address)
    assert (code, "0 episodes copied" in output) == (0, True)
    info = json.loads(waldo("info", address, "--json")[1])
    assert (info["episodes"], info["path"]) == (2, address)
    assert waldo("check", address)[0] == 0
    assert waldo("delete", address, "--episodes", "1")[0] == 0
    assert [e["episode"] for e in json.loads(waldo("list", address, "--json")[1])] == [0]
    assert waldo("pull", address, str(tmp_path / "back"))[0] == 0
    assert Dataset.open(tmp_path / "back").indices == [0]
    code, _, error = waldo("push", str(here.path), str(tmp_path / "folder"))
    assert (code, "expected the address of an object store, such as s3://bucket/name" in error) == (2, True)
    code, _, error = waldo("info", "s3://no-such-bucket/x")
    assert (code, len(error.splitlines())) == (2, 1)


def test_a_process_of_its_own_reads_the_object_store(pushed):
    _, there = pushed
    command = [sys.executable, "-m", "waldo", "info", str(there.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["episodes"] == 2


def test_root_metadata_is_uploaded_after_all_other_files_of_the_episode(record, script, bucket, requests):
    dataset = record(script(seconds=0.2), script(seconds=0.2, seed=1))
    push(dataset, bucket / "lift", dataset.indices)
    for index in dataset.indices:
        root = f"episode_{index:06d}.zarr"
        uploads = [key.partition(f"{root}/")[2] for key in requests.keys("put") if root in key]
        assert uploads[-1] == "zarr.json"
        assert sorted(uploads) == sorted(str(path) for path in contents(dataset.path / root))


def test_upload_that_stops_at_any_file_leaves_no_episode_and_resumes(record, script, bucket, requests):
    dataset = record(script(seconds=0.2))
    files = len(contents(dataset.path / "episode_000000.zarr"))
    for step in (0, 1, files // 2, files - 1):
        target = bucket / f"stopped-{step}"
        requests.clear()
        requests.stop_at = 1 + step  # dataset.json is uploaded first
        with pytest.raises(StoppedError):
            push(dataset, target, [0])
        assert Dataset.open(target).indices == []
        requests.stop_at = None
        assert push(dataset, target, [0]).moved == 1
        assert verify(Dataset.open(target).episode(0)) == []


def test_root_metadata_is_removed_before_all_other_files_of_the_episode(pushed, requests):
    here, there = pushed
    here.delete([1])
    with here.lock():
        here.prune()
    assert push(here, there.path, [0]).removed == 1
    removed = requests.keys("delete")
    assert removed[0].endswith("episode_000001.zarr/zarr.json")
    assert len(removed) > 10


def test_pulled_episode_is_flushed_before_it_is_renamed(pushed, tmp_path):
    _, there = pushed
    with recorded() as calls:
        pull(there, tmp_path / "copy", [0])
    final = str(tmp_path / "copy" / "episode_000000.zarr")
    renamed = next(number for number, call in enumerate(calls) if call.target == final)
    flushed = {call.path for call in calls[:renamed] if call.name == "fsync"}
    partial = calls[renamed].path
    assert {f"{partial}/{name}" for name in contents(tmp_path / "copy" / "episode_000000.zarr")} < flushed
    assert os.path.dirname(final) in {call.path for call in calls[renamed:] if call.name == "fsync"}
