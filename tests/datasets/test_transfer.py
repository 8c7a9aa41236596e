"""Through an object store and back: a real S3 server in this process, real requests."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.quality.verify import verify
from waldo.datasets.reading.rows import RowConfig
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.selection import Selection
from waldo.datasets.transfer import pull, push
from waldo.errors import FileError, WaldoError

pytest.importorskip("obstore")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def pushed(record, script, bucket):
    """Two episodes here and in an object store."""
    dataset = record(script(), script(task="push the can", outcome="failure", seed=3))
    done = push(dataset, bucket / "lift", dataset.indices)
    assert (done.moved, done.kept, done.removed) == (2, 0, 0)
    return dataset, Dataset.open(str(bucket / "lift"))


def test_a_dataset_in_an_object_store_reads_as_one_here(pushed):
    here, there = pushed
    assert (there.robot, there.indices, there.cut) == (here.robot, here.indices, [])
    assert list(there.catalog) == list(here.catalog)
    assert there.select(Selection(task=("push*",))) == [1]
    for a, b in zip(here.episodes, there.episodes, strict=True):
        assert (a.index, a.task, a.outcome) == (b.index, b.task, b.outcome)
        assert np.array_equal(a.values("joints/state", "position"), b.values("joints/state", "position"))
        assert np.array_equal(a.frames("cameras/front"), b.frames("cameras/front"))
        assert verify(b) == []
    assert [report.problems for report in check_dataset(there)] == [0, 0]


def test_training_reads_straight_from_it(pushed):
    here, there = pushed
    config = WindowConfig(
        rows=RowConfig(cameras=("cameras/front", "cameras/wrist")), deltas={"observation.images.front": [-1 / 30, 0.0]}
    )
    rows = [3, 29, 30, 45]
    ours, theirs = (Windows(dataset, config).batch(rows) for dataset in (here, there))
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key], err_msg=key)


def test_an_export_copies_from_it(pushed, tmp_path):
    here, there = pushed
    config = LeRobotConfig(selection=Selection())
    a, b = (export_dataset(one, tmp_path / name, config) for one, name in ((here, "a"), (there, "b")))
    assert (a.frames_copied, a.frames_encoded) == (b.frames_copied, b.frames_encoded) == (120, 0)
    assert contents(tmp_path / "a" / "videos") == contents(tmp_path / "b" / "videos")
    assert contents(tmp_path / "a" / "data") == contents(tmp_path / "b" / "data")


def test_edits_hold_on_the_other_side(pushed, tmp_path):
    here, there = pushed
    there.relabel([0], task="lift it")
    there.delete([1])
    assert [episode.task for episode in Dataset.open(there.path).episodes] == ["lift it"]
    done = pull(Dataset.open(there.path), here.path, [0])
    assert (done.moved, done.kept) == (0, 1)
    assert [episode.task for episode in Dataset.open(here.path).episodes] == ["lift it"]
    # What is collected here is removed there.
    with Dataset.open(here.path).lock() as dataset:
        dataset.gc()
    assert push(Dataset.open(here.path), there.path, [0]).removed == 1
    assert not (there.path / "episode_000001.zarr").is_dir()
    assert Dataset.open(there.path).indices == [0]


def test_edits_on_both_sides_are_refused(pushed):
    here, there = pushed
    there.relabel([0], task="theirs")
    here.relabel([0], task="ours")
    with pytest.raises(FileError, match="was edited since the last transfer, and so was"):
        push(here, there.path, here.indices)
    with pytest.raises(FileError, match="waldo push first, then edit"):
        pull(there, here.path, [0])


def test_a_pulled_dataset_is_the_same_in_every_byte(pushed, tmp_path):
    here, there = pushed
    here.relabel([1], outcome="success")
    push(here, there.path, here.indices)
    done = pull(Dataset.open(there.path), tmp_path / "copy", [0, 1])
    assert done.moved == 2
    ours, theirs = contents(here.path), contents(tmp_path / "copy")
    assert {k: v for k, v in ours.items() if k.name not in ("lock",)} == {
        k: v for k, v in theirs.items() if k.name not in ("lock",)
    }


def test_what_broke_off_goes_on(record, script, bucket):
    dataset = record(script(), script(seed=1), script(seed=2))
    target = bucket / "day"
    push(dataset, target, [0])
    # The second one was on its way: it has no root metadata yet.
    (target / "episode_000001.zarr" / "cameras" / "junk").write_bytes(b"half")
    assert Dataset.open(target).indices == [0]
    done = push(dataset, target, dataset.indices)
    assert (done.moved, done.kept) == (2, 1)
    assert Dataset.open(target).indices == [0, 1, 2]


def test_an_interrupted_pull_leaves_no_half_episode(pushed, tmp_path, monkeypatch):
    _, there = pushed
    (there.path / "episode_000001.zarr" / "joints" / "zarr.json").write_bytes(b"{}")
    with pytest.raises(FileError, match="the checksum of the metadata is wrong"):
        pull(there, tmp_path / "copy", [0, 1])
    copy = Dataset.open(tmp_path / "copy")
    assert copy.indices == [0]
    with copy.lock():
        assert copy.recover() == []
    assert not list((tmp_path / "copy").glob("*.tmp"))


def test_datasets_that_have_grown_apart_are_refused(record, script, pushed, tmp_path):
    _, there = pushed
    other = record(script(seed=9), path=tmp_path / "other")
    with pytest.raises(FileError, match="has other episodes under the numbers 0 than"):
        push(other, there.path, [0])
    elsewhere = record(script(robot="giant"), path=tmp_path / "giant")
    with pytest.raises(WaldoError, match=r"robot: tiny in .* giant in"):
        push(elsewhere, there.path, [0])
    (there.path.parent / "junk" / "file").write_bytes(b"?")
    with pytest.raises(FileError, match="is not empty and no dataset"):
        push(other, there.path.parent / "junk", [0])


def test_recording_there_is_refused(pushed):
    _, there = pushed
    with pytest.raises(FileError, match="needs a folder here; run waldo pull first"), there.lock():
        pass


def test_a_flipped_bit_there_is_found(pushed):
    _, there = pushed
    path = there.episode(0).video_path("cameras/front")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert any("checksum" in damage.found for damage in verify(there.episode(0)))


def test_the_commands(pushed, tmp_path):
    here, there = pushed

    def waldo(*words):
        return subprocess.run([sys.executable, "-m", "waldo", *words], capture_output=True, text=True, timeout=300)

    address = str(there.path)
    done = waldo("push", str(here.path), address)
    assert (done.returncode, "0 episodes copied" in done.stdout) == (0, True), done.stderr
    told = json.loads(waldo("info", address, "--json").stdout)
    assert (told["episodes"], told["path"]) == (2, address)
    assert waldo("check", address).returncode == 0
    assert waldo("delete", address, "--episodes", "1").returncode == 0
    assert [e["episode"] for e in json.loads(waldo("list", address, "--json").stdout)] == [0]
    done = waldo("pull", address, str(tmp_path / "back"))
    assert (done.returncode, Dataset.open(tmp_path / "back").indices) == (0, [0]), done.stderr
    done = waldo("push", str(here.path), str(tmp_path / "folder"))
    assert (done.returncode, "expected an object store's, such as s3://bucket/name" in done.stderr) == (2, True)
    shutil.rmtree(tmp_path / "back")
    done = waldo("info", "s3://no-such-bucket/x")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
