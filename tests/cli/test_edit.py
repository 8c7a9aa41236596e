import io
import json

import pytest
from rich.console import Console

from waldo import console
from waldo.cli import main
from waldo.datasets.dataset import Dataset


@pytest.fixture
def run(monkeypatch, capsys):
    """Return what runs a command line and gives its exit code and what it printed, errors too."""

    def call(*args):
        out = io.StringIO()
        monkeypatch.setattr(console, "out", lambda: Console(file=out, highlight=False, soft_wrap=True))
        monkeypatch.setattr("waldo.cli.support.tables.out", console.out)
        monkeypatch.setattr(console, "err", lambda: Console(file=io.StringIO()))
        code = main.main([str(arg) for arg in args])
        return code, out.getvalue() + capsys.readouterr().err

    return call


@pytest.fixture
def dataset(record, script):
    return record(
        script(seconds=0.2),
        script(seconds=0.2, outcome="failure", task="put [x] down"),
        script(seconds=0.4, winding_c=66.0),
    )


def test_list(run, dataset):
    code, text = run("list", dataset.path, "--outcome", "failure", "success", "--min-duration-s", "0.1")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[2:5]] == ["0", "1", "2"]
    assert "put [x] down" in text
    _, text = run("list", dataset.path, "--task", "put*", "--json")
    assert [entry["episode"] for entry in json.loads(text)] == [1]


def test_delete_list_restore_and_gc(run, dataset):
    assert run("delete", dataset.path, "--outcome", "failure", "--dry-run") == (0, "would delete 1 episode (1)\n")
    assert run("delete", dataset.path, "--outcome", "failure")[0] == 0
    assert list(dataset.indices) == [0, 2]
    assert "put [x] down" in run("list", dataset.path, "--deleted")[1]
    assert "2 episodes (2 success), 1 deleted" in run("info", dataset.path)[1]
    assert run("restore", dataset.path) == (0, "restored 1 episode (1)\n")
    code, text = run("restore", dataset.path)
    assert (code, "no deleted episode matches the filters (0 deleted episodes in total)" in text) == (2, True)
    run("delete", dataset.path, "--episodes", "1-2")
    _, text = run("gc", dataset.path)
    assert text == f"would remove 2 deleted episodes (1-2) permanently; to do so: waldo gc {dataset.path} --yes\n"
    assert (dataset.path / "episode_000001.zarr").exists()
    _, text = run("gc", dataset.path, "--yes")
    assert text.startswith("removed 2 deleted episodes (1-2), ")
    assert not (dataset.path / "episode_000001.zarr").exists()


def test_a_change_of_everything_requires_all(run, dataset):
    for command in (["delete", dataset.path], ["relabel", dataset.path, "--new-task", "x"]):
        code, text = run(*command)
        assert (code, "no filter given: this would " in text) == (2, True)
    code, text = run("delete", dataset.path, "--episodes", "70")
    assert (code, "no episode matches the filters (3 episodes in total)" in text) == (2, True)
    code, text = run("delete", dataset.path, "--all", "--episodes", "1")
    assert (code, "--all and a filter cannot be combined" in text) == (2, True)
    assert len(dataset.indices) == 3
    assert run("delete", dataset.path, "--all", "--dry-run") == (0, "would delete 3 episodes (0-2)\n")


def test_relabel(run, dataset):
    code, _ = run("relabel", dataset.path, "--task", "put*", "--new-task", "put it down", "--new-outcome", "success")
    assert code == 0
    assert [(e.task, e.outcome) for e in dataset.catalog][1] == ("put it down", "success")
    code, text = run("relabel", dataset.path, "--episodes", "0")
    assert (code, "waldo relabel requires --new-task or --new-outcome" in text) == (2, True)


def test_filter_merge_and_split(run, dataset, tmp_path):
    assert run("filter", dataset.path, tmp_path / "cool", "--max-winding-c", "60") == (
        0,
        f"{tmp_path / 'cool'}: 2 episodes\n",
    )
    code, text = run("merge", tmp_path / "all", dataset.path, tmp_path / "cool")
    assert (code, text) == (0, f"{tmp_path / 'all'}: 5 episodes\n")
    code, _ = run("split", tmp_path / "all", f"{tmp_path / 'a'}=0-1", f"{tmp_path / 'b'}=2,4")
    assert code == 0
    assert [len(Dataset.open(tmp_path / name).indices) for name in "ab"] == [2, 2]
    code, _ = run("split", tmp_path / "all", f"{tmp_path / 'train'}=0.6", f"{tmp_path / 'val'}=0.4")
    assert code == 0
    assert [len(Dataset.open(tmp_path / name).indices) for name in ("train", "val")] == [3, 2]
    code, text = run("split", dataset.path, "train")
    assert (code, "expected FOLDER=FRACTION such as train=0.9" in text) == (2, True)
    code, text = run("merge", tmp_path / "new", tmp_path / "nothing")
    assert (code, "is not a dataset" in text) == (2, True)
