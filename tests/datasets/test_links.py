import errno
import json
import os

import pytest

from waldo.datasets.compatibility import IncompatibleError
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Subtask
from waldo.datasets.links import Part, link
from waldo.datasets.quality.verify import verify
from waldo.errors import ConfigError, FileError


@pytest.fixture
def two(record, script, tmp_path):
    """Two datasets of two episodes each."""
    first = record(script(seconds=0.2, seed=1), script(seconds=0.2, seed=2), path=tmp_path / "first")
    second = record(script(seconds=0.2, seed=3), script(seconds=0.2, seed=4), path=tmp_path / "second")
    return first, second


def files(folder):
    return [path for path in folder.glob("*.zarr/**/*") if path.is_file()]


def test_merge_consists_of_links(two, tmp_path):
    merged = link(tmp_path / "out", [Part(dataset, dataset.indices) for dataset in two])
    assert [e.attributes["seed"] for e in merged.episodes] == [1, 2, 3, 4]
    assert [e.episode for e in merged.catalog] == [0, 1, 2, 3]
    assert [verify(episode) for episode in merged.episodes] == [[]] * 4
    assert {path.stat().st_nlink for path in files(merged.path)} == {2}
    assert len(files(merged.path)) == sum(len(files(dataset.path)) for dataset in two)


def test_edits_and_provenance_are_carried_over(two, tmp_path):
    first, second = two
    first.relabel([0, 1], task="stack them")
    first.relabel([1], outcome="failure")
    first.set_subtasks(1, [Subtask(start_s=0.5, text="lift")])
    first.delete([0])
    second.set_latency({"cameras/front": 7_000_000})
    merged = link(tmp_path / "out", [Part(dataset, dataset.indices) for dataset in two])
    assert [(e.attributes["seed"], e.task, e.outcome) for e in merged.episodes] == [
        (2, "stack them", "failure"),
        (3, "lift the red cube", "success"),
        (4, "lift the red cube", "success"),
    ]
    assert [[one.text for one in e.subtasks] for e in merged.episodes] == [["lift"], [], []]
    assert [dict(e.edits.latency_ns) for e in merged.episodes] == [{}, *[{"cameras/front": 7_000_000}] * 2]
    lines = [json.loads(line)["value"] for line in (merged.path / "edits.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["edit"] == "link"]
    assert lines[0] == {"edit": "link", "episodes": "0", "source": str(first.path), "of": "1"}
    assert lines[1] == {"edit": "link", "episodes": "1-2", "source": str(second.path), "of": "0-1"}


def test_pruning_the_source_leaves_the_links(two, tmp_path):
    first, _ = two
    merged = link(tmp_path / "out", [Part(first, [0, 1])])
    first.delete([0, 1])
    with first.lock():
        assert first.prune() == 0  # the links still refer to the data
    assert [verify(episode) for episode in merged.episodes] == [[], []]
    merged.delete([0])
    with merged.lock():
        assert merged.prune() > 10_000


def test_files_are_copied_if_they_cannot_be_linked(two, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "other device")

    monkeypatch.setattr(os, "link", refuse)
    merged = link(tmp_path / "out", [Part(two[0], [0, 1])])
    assert [verify(episode) for episode in merged.episodes] == [[], []]
    assert {path.stat().st_nlink for path in files(merged.path)} == {1}


def test_incompatible_datasets_are_refused_with_their_differences(two, record, script, streams, tmp_path):
    other = record(script(seconds=0.2, robot="huge"), path=tmp_path / "other")
    with pytest.raises(IncompatibleError) as error:
        link(tmp_path / "out", [Part(two[0], [0]), Part(other, [0])])
    assert str(error.value) == (
        f"the datasets are not compatible:\n  robot: tiny in {two[0].path}, huge in {other.path}\n"
        "merge datasets of one robot"
    )
    half = Dataset.create(tmp_path / "half", robot="tiny")
    with half.lock():
        writer = half.begin(streams[:-1], {})
        writer.row("joints/sent", header_ns=1, receipt_ns=1, sequence=1, values={"position": [0.0, 0.0, 0.0]})
        writer.save("success")
    with pytest.raises(IncompatibleError) as error:
        link(tmp_path / "out", [Part(two[0], [0]), Part(half, [0])])
    assert "\n  cameras/wrist: in the dataset, not here\n" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_target_must_be_empty_and_the_selection_must_not(two, tmp_path):
    with pytest.raises(FileError, match="already exists; choose a new folder for the dataset"):
        link(two[1].path, [Part(two[0], [0])])
    with pytest.raises(ConfigError, match="episodes is 'none', expected at least one"):
        link(tmp_path / "out", [Part(two[0], [])])


def test_interrupted_merge_leaves_no_dataset_and_can_be_repeated(two, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        assert total == 2
        raise StoppedError

    with pytest.raises(StoppedError):
        link(tmp_path / "out", [Part(two[0], [0, 1])], stop)
    assert not (tmp_path / "out").exists()
    assert len(link(tmp_path / "out", [Part(two[0], [0, 1])]).indices) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out", "second"]


def test_symbolic_link_in_an_episode_is_refused(two, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (two[0].path / "episode_000000.zarr" / "evil").symlink_to(secret)
    with pytest.raises(FileError, match="is neither a file nor a folder"):
        link(tmp_path / "out", [Part(two[0], [0])])
