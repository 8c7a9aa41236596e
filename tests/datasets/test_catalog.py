import json
import os
import shutil

import pytest

from tests.durability import crash_before, recorded, tree
from waldo.datasets.catalog import FILE
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.storage import jsonlines
from waldo.errors import ConfigError, FileError


@pytest.fixture
def dataset(record, script):
    """Three short episodes: a success, a failure with another task and a lost message, and one with hot motors."""
    return record(
        script(seconds=0.2),
        script(seconds=0.5, outcome="failure", task="put it down", without_rows=[3]),
        script(seconds=0.3, winding_c=61.5, outcome="unknown"),
    )


def numbers(catalog):
    return [entry.episode for entry in catalog]


def test_entry_agrees_with_the_episode(dataset):
    for entry, episode in zip(dataset.catalog, dataset.episodes, strict=True):
        stamps = [episode.time_ns(name) for name in episode.streams]
        files = [path for path in episode.path.rglob("*") if path.is_file() and path.parent != episode.path]
        assert entry.episode == episode.index
        assert (entry.task, entry.outcome, entry.reason) == (episode.task, episode.outcome, "operator")
        assert entry.start_ns == min(s.min() for s in stamps)
        assert entry.duration_s == (max(s.max() for s in stamps) - entry.start_ns) / 1e9 == episode.duration_s
        assert entry.nbytes == sum(path.stat().st_size for path in files)
        assert entry.lost == sum(episode.lost(name) for name in episode.streams)
        assert entry.max_winding_c == episode.values("motors", "winding").max()
    assert [entry.lost for entry in dataset.catalog] == [0, 1, 0]
    assert len({entry.signature for entry in dataset.catalog}) == 1


def test_catalog_grows_with_each_episode_and_can_be_derived_again(dataset, record, script):
    path = dataset.path / FILE
    before = path.read_bytes()
    record(script(seconds=0.2))
    assert path.read_bytes().startswith(before)
    whole = path.read_bytes()
    path.unlink()
    assert numbers(Dataset.open(dataset.path).catalog) == [0, 1, 2, 3]
    assert path.read_bytes() == whole


def test_damaged_catalog_is_derived_again(dataset):
    path = dataset.path / FILE
    good = list(dataset.catalog)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert list(Dataset.open(dataset.path).catalog) == good
    path.write_bytes(os.urandom(999) + b"\n")
    assert list(Dataset.open(dataset.path).catalog) == good
    jsonlines.append(path, [{"of": "another version"}, [1, 2]], sync=False)
    assert list(Dataset.open(dataset.path).catalog) == good


def test_unreadable_episode_is_named_and_the_others_are_listed(dataset):
    (dataset.path / FILE).unlink()
    (dataset.path / "episode_000001.zarr" / "zarr.json").write_text("{")
    shutil.rmtree(dataset.path / "episode_000002.zarr")
    (dataset.path / "episode_000002.zarr").mkdir()
    found = dataset.catalog
    assert numbers(found) == [0]
    assert sorted(found.unreadable) == [1, 2]
    assert "zarr.json cannot be opened" in found.unreadable[1]


def test_deleting_and_restoring_touch_no_episode(dataset):
    def content():
        files = dataset.path.glob("*.zarr/**/*")
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    before = content()
    dataset.delete([0, 2])
    assert numbers(dataset.catalog) == [e.index for e in dataset.episodes] == list(dataset.indices) == [1]
    assert numbers(dataset.deleted) == [0, 2]
    dataset.restore([2])
    assert numbers(Dataset.open(dataset.path).catalog) == [1, 2]
    assert content() == before
    with pytest.raises(ConfigError, match="episode index is 0, expected one of the dataset's"):
        dataset.delete([0])
    with pytest.raises(ConfigError, match="episode index is 1, expected one that was deleted and not yet pruned"):
        dataset.restore([1])


def test_relabeling_changes_catalog_and_episodes_and_keeps_the_recorded_labels(dataset):
    dataset.relabel([0, 1], task="stack them")
    dataset.relabel([1], outcome="success")
    assert [(e.task, e.outcome) for e in dataset.catalog] == [
        ("stack them", "success"),
        ("stack them", "success"),
        ("lift the red cube", "unknown"),
    ]
    again = Dataset.open(dataset.path)
    assert [(e.task, e.outcome) for e in again.episodes] == [(e.task, e.outcome) for e in again.catalog]
    assert Episode(again.episode_path(1)).task == "put it down"
    with pytest.raises(ConfigError, match="outcome is 'good', expected one of success, failure, unknown"):
        dataset.relabel([0], outcome="good")
    with pytest.raises(ConfigError, match="task is ' ', expected an instruction in words"):
        dataset.relabel([0], task=" ")


def test_latency_of_all_and_of_single_episodes(dataset):
    dataset.set_latency({"cameras/front": 30_000_000})
    dataset.set_latency({"cameras/front": 50_000_000, "cameras/wrist": -1}, [1])
    episodes = dataset.episodes
    assert [e.edits.latency_ns.get("cameras/front") for e in episodes] == [30_000_000, 50_000_000, 30_000_000]
    shifted = episodes[1].time_ns("cameras/front") - episodes[1].capture_ns("cameras/front")
    assert set(shifted.tolist()) == {50_000_000}
    assert (episodes[1].capture_ns("motors") == episodes[1].time_ns("motors")).all()
    assert dataset.latency_ns == {"cameras/front": 30_000_000}
    with pytest.raises(ConfigError, match="latency of cameras/front is '30000 ms', expected at most 5 s"):
        dataset.set_latency({"cameras/front": 30_000_000_000})


def test_pruned_episodes_are_removed_and_their_indices_are_not_reused(dataset, record, script):
    dataset.delete([1, 2])
    with dataset.lock():
        assert dataset.prune() > 10_000
        assert dataset.prune() == 0
        assert dataset.next_index == 3
    assert not (dataset.path / "episode_000002.zarr").exists()
    assert numbers(dataset.deleted) == []
    with pytest.raises(ConfigError):
        dataset.restore([2])
    record(script(seconds=0.2))
    assert numbers(dataset.catalog) == [0, 3]


def test_interrupted_pruning_is_finished_by_the_next_one(dataset):
    dataset.delete([1])
    dataset.edits.append("collect", [1])
    shutil.rmtree(dataset.path / "episode_000001.zarr" / "cameras")
    assert numbers(dataset.catalog) == [0, 2]
    assert numbers(dataset.deleted) == []
    with dataset.lock():
        dataset.prune()
    assert not (dataset.path / "episode_000001.zarr").exists()


def test_pruning_stores_its_edit_on_disk_before_it_removes_files(dataset):
    dataset.delete([1])
    with dataset.lock(), recorded() as calls:
        assert dataset.prune() > 0
    edits, episode = f"{dataset.path}/edits.jsonl", f"{dataset.path}/episode_000001.zarr"
    flushed = [call.path for call in calls].index(edits)
    assert calls[flushed].name == "fsync"
    removed = [number for number, call in enumerate(calls) if call.name == "unlink" and call.path.startswith(episode)]
    assert len(removed) > 10
    assert flushed < removed[0]


def test_pruning_that_crashes_at_any_step_is_finished_by_the_next(dataset, tmp_path):
    dataset.delete([1])
    steps = (0, 1, 2, 3, 10, 1000)
    for step in steps:
        copy = Dataset.open(shutil.copytree(dataset.path, tmp_path / str(step)))

        def prune(copy=copy):
            with copy.lock():
                copy.prune()

        assert crash_before(step, prune) == (step < 1000)
        again = Dataset.open(copy.path)
        assert numbers(again.catalog) == [0, 2]
        # Either nothing was removed and the episode can be restored, or it cannot be restored.
        complete = len(tree(copy.path / "episode_000001.zarr")) == len(tree(dataset.path / "episode_000001.zarr"))
        assert complete or numbers(again.deleted) == []
        with again.lock():
            again.prune()
        assert not (again.path / "episode_000001.zarr").exists()


def test_damaged_edit_is_refused(dataset):
    dataset.delete([1])
    dataset.restore([1])
    path = dataset.path / "edits.jsonl"
    data = bytearray(path.read_bytes())
    data[45] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError) as error:
        Dataset.open(dataset.path).episodes  # noqa: B018 (reading is what fails)
    assert str(error.value) == (
        f"{path}: line 1 is damaged, so the deleted episodes are unknown; "
        "restore the file from a copy, or move it away and repeat the edits"
    )
    path.unlink()
    jsonlines.append(path, [{"edit": "paint", "episodes": "1"}], sync=True)
    with pytest.raises(
        FileError, match=r"line 1 is not a known edit \(KeyError\('paint'\)\); it may come from a newer"
    ):
        Dataset.open(dataset.path).indices  # noqa: B018


def test_edits_of_another_process_are_read(dataset):
    other = Dataset.open(dataset.path)
    assert list(other.indices) == [0, 1, 2]
    dataset.delete([1])
    assert list(other.indices) == [0, 2]
    other.relabel([0], task="a")
    dataset.relabel([2], task="b")
    assert [e.task for e in dataset.catalog] == [e.task for e in other.catalog] == ["a", "b"]


def test_reserved_indices_are_not_allocated_again(locked, streams):
    assert locked.reserve(3) == range(3)
    writer = locked.begin(streams, {})
    assert writer.destination.name == "episode_000003.zarr"
    writer.discard()
    assert locked.next_index == 3


def test_entries_are_json(dataset):
    line = (dataset.path / FILE).read_text().splitlines()[0]
    assert json.loads(line)["value"][:4] == [0, "lift the red cube", "success", "operator"]
