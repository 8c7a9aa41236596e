import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.durability import tree
from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.journal import JournalReader
from waldo.datasets.storage.lock import DatasetLockedError
from waldo.errors import ConfigError, FileError, WaldoError


def names(dataset):
    return sorted(path.name for path in dataset.path.iterdir())


def test_new_dataset_can_be_opened(tmp_path):
    Dataset.create(tmp_path / "d", robot="so101")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.robot == "so101"
    assert len(dataset.episodes) == 0
    assert dataset.next_index == 0


def test_dataset_is_not_created_over_other_files(tmp_path):
    Dataset.create(tmp_path / "d", robot="so101")
    with pytest.raises(FileError) as error:
        Dataset.create(tmp_path / "d", robot="so101")
    assert str(error.value) == f"{tmp_path / 'd'}: already contains a dataset; open it, or choose another folder"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileError, match="already exists; choose a new folder for the dataset"):
        Dataset.create(tmp_path / "full", robot="so101")


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(FileError) as error:
        Dataset.open(tmp_path)
    assert str(error.value) == f"{tmp_path}: is not a dataset (no dataset.json); check the path"
    (tmp_path / "dataset.json").write_text("[")
    with pytest.raises(FileError, match=r"dataset\.json: cannot be read"):
        Dataset.open(tmp_path)
    newer = {"format": "waldo-dataset", "schema_version": 2, "robot": "so101"}
    (tmp_path / "dataset.json").write_text(json.dumps(newer))
    with pytest.raises(
        FileError, match="is 'waldo-dataset' version 2, expected 'waldo-dataset' version 1; update waldo"
    ):
        Dataset.open(tmp_path)


def test_second_recorder_is_refused_and_the_first_one_is_named(tmp_path):
    dataset = Dataset.create(tmp_path / "d", robot="so101")
    with dataset.lock("the recorder"), pytest.raises(DatasetLockedError) as error, Dataset.open(dataset.path).lock():
        pass
    assert str(error.value).startswith(f"{dataset.path} is locked by the recorder, process {os.getpid()} on ")
    assert str(error.value).endswith("; wait until it finishes, or stop it")
    with Dataset.open(dataset.path).lock():  # free again
        pass


def test_lock_excludes_other_processes(tmp_path):
    dataset = Dataset.create(tmp_path / "d", robot="so101")
    command = [sys.executable, "-m", "waldo", "recover", str(dataset.path)]
    with dataset.lock("me"):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    expected = f"waldo: error: {dataset.path} is locked by me, process {os.getpid()} on "
    assert refused.stderr.startswith(expected)


def test_recording_needs_the_lock(tmp_path, streams):
    dataset = Dataset.create(tmp_path / "d", robot="so101")
    for action, call in (
        ("record an episode", lambda: dataset.begin(streams, {})),
        ("delete the last episode", dataset.undo),
        ("recover episodes", dataset.recover),
    ):
        with pytest.raises(WaldoError) as error:
            call()
        expected = f"to {action}, hold the lock of {dataset.path}: use `with dataset.lock():`"
        assert str(error.value) == expected


def test_reserved_attributes_are_refused(locked, streams):
    with pytest.raises(
        ConfigError, match="attribute outcome is 'success', expected no such attribute: it is written by waldo"
    ):
        locked.begin(streams, {"outcome": "success"})
    with pytest.raises(ConfigError, match="attribute robot is 'g1', expected the dataset's robot 'tiny'"):
        locked.begin(streams, {"robot": "g1"})


def test_undo_deletes_the_last_episode_and_does_not_reuse_its_index(record, script, streams):
    dataset = record(script(seconds=0.2), script(seconds=0.2))
    with dataset.lock():
        assert dataset.undo() == 1
    assert dataset.deleted[0].episode == 1
    assert (dataset.path / "episode_000001.zarr").is_dir()
    assert [episode.index for episode in dataset.episodes] == [0]
    record(script(seconds=0.2))
    assert [episode.index for episode in dataset.episodes] == [0, 2]
    assert dataset.episodes.with_index(2).index == 2
    with pytest.raises(ConfigError, match=r"episode index is 1, expected one of the dataset's \(0 to 2\)"):
        dataset.episodes.with_index(1)


def test_undo_without_an_episode_is_refused(locked):
    with pytest.raises(FileError) as error:
        locked.undo()
    assert str(error.value) == f"{locked.path}: contains no episode to delete"


def test_discarded_episode_leaves_no_files(locked, streams, play, script):
    writer = locked.begin(streams, {})
    play(writer, script(seconds=0.2))
    writer.discard()
    assert names(locked) == ["dataset.json", "lock"]
    assert locked.next_index == 0


def test_same_input_gives_the_same_bytes(record, script, tmp_path):
    one = record(script(seconds=0.7), path=tmp_path / "one")
    two = record(script(seconds=0.7), path=tmp_path / "two")
    first, second = tree(one.episodes[0].path), tree(two.episodes[0].path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def cut_off(dataset, streams, play, script, keep):
    """Leave the journal of a recording that crashed after a fraction `keep` of its bytes."""
    writer = dataset.begin(streams, {"task": "t"}, back_pressure="wait")
    play(writer, script)
    copy = dataset.path.parent / "copy"
    writer._finish_cameras()
    shutil.copyfile(writer._journal.path, copy)
    writer._journal.close()
    data = copy.read_bytes()
    writer._journal.path.write_bytes(data[: round(len(data) * keep)])
    return writer._journal.path


def test_recover_finishes_a_cut_off_episode_and_reports_it(locked, streams, play, script):
    cut_off(locked, streams, play, script(), 0.6)
    (result,) = locked.recover()
    assert result.index == 0
    assert result.note == "saved as unknown (interrupted)"
    episode = locked.episodes[0]
    assert (episode.outcome, episode.reason) == ("unknown", "interrupted")
    assert result.counts == {name: episode.count(name) for name in episode.streams}
    assert episode.attributes["journal_lost_bytes"] == result.lost_bytes
    assert 0 < episode.count("joints/state") < 60
    assert len(episode.frames("cameras/front")) == episode.count("cameras/front") > 0
    assert locked.recover() == []


def test_recover_after_a_kill_between_rename_and_removal(locked, streams, play, script):
    path = cut_off(locked, streams, play, script(seconds=0.2), 1.0)
    data = path.read_bytes()
    locked.recover()
    path.write_bytes(data)
    before = tree(locked.episodes[0].path)
    (result,) = locked.recover()
    assert result.note == "was already saved"
    assert tree(locked.episodes[0].path) == before
    assert locked.unfinished == []


@pytest.mark.parametrize("half_built", [".episode_000000.zarr.123.partial", "episode_000000.zarr.tmp"])
def test_recover_removes_a_half_built_episode(locked, streams, play, script, half_built):
    cut_off(locked, streams, play, script(seconds=0.2), 1.0)
    (locked.path / half_built / "cameras").mkdir(parents=True)
    locked.recover()
    assert names(locked) == ["catalog.jsonl", "dataset.json", "episode_000000.zarr", "lock"]


def test_empty_recording_is_removed(locked, streams):
    writer = locked.begin(streams, {})
    writer._finish_cameras()
    writer._journal.close()
    (result,) = locked.recover()
    assert (result.path, result.note) == (None, "nothing had been recorded")
    assert names(locked) == ["dataset.json", "lock"]


def test_damage_in_the_middle_keeps_the_journal(locked, streams, play, script):
    path = cut_off(locked, streams, play, script(), 1.0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    (result,) = locked.recover()
    expected = "saved as unknown (interrupted); damaged in the middle, the journal is kept as .damaged"
    assert result.note == expected
    assert (locked.path / "episode_000000.journal.damaged").read_bytes() == data
    assert locked.next_index == 1


def test_journal_with_an_unreadable_first_record_is_kept(locked):
    (locked.path / "episode_000000.journal").write_bytes(b"garbage" * 9)
    (result,) = locked.recover()
    assert result.note == "the journal's first record is unreadable; the journal is kept as .damaged"
    assert names(locked) == ["dataset.json", "episode_000000.journal.damaged", "lock"]
    assert locked.next_index == 1


def test_failed_save_is_finished_by_recover(locked, streams, play, script, monkeypatch):
    writer = locked.begin(streams, {})
    play(writer, script(seconds=0.3))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda source, target: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            writer.save("success")
    with JournalReader(locked.unfinished[0]) as reader:
        assert reader.scan.closing == {"outcome": "success", "reason": "operator"}
    (result,) = locked.recover()
    assert result.note == "saved as success (operator)"
    assert locked.episodes[0].outcome == "success"
