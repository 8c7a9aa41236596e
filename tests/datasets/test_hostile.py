"""Truncated, missing, foreign and maliciously named data: each gives a clear error and affects nothing else."""

import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.quality.verify import verify
from waldo.datasets.streams import Field, ScalarStream, VideoStream
from waldo.errors import ConfigError, FileError, WaldoError

LONG = "x" * 300


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two valid episodes, recorded once; tests use copies."""
    folder = tmp_path_factory.mktemp("sound") / "dataset"
    stream = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),))
    camera = VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0)
    dataset = Dataset.create(folder, robot="tiny")
    with dataset.lock():
        for seed in range(2):
            writer = dataset.begin([stream, camera], {"task": f"task {seed}"}, back_pressure="wait")
            for tick in range(24):
                kw = {"header_ns": 10**18 + tick * 16_666_667, "receipt_ns": 10**18 + tick * 16_666_667}
                writer.row("joints/state", sequence=tick + 1, values={"position": [tick, seed]}, **kw)
                if tick % 2 == 0:
                    image = np.full((48, 64, 3), 5 * tick + seed, np.uint8)
                    image[:24] += 100
                    writer.frame("cameras/front", sequence=tick // 2 + 1, image=image, **kw)
            writer.save("success")
    return folder


@pytest.fixture
def dataset(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "dataset")
    return Dataset.open(tmp_path / "dataset")


def files_of(episode: Path) -> list[str]:
    return sorted(path.relative_to(episode).as_posix() for path in episode.rglob("*") if path.is_file())


def read_all(dataset: Dataset, index: int) -> None:
    """Read all data of an episode."""
    episode = dataset.episode(index)
    for name in episode.streams:
        episode.time_ns(name)
        for clock in ("receipt", "publish"):
            episode.time_ns(name, clock)
    episode.values("joints/state", "position")
    episode.frames("cameras/front")


def reports_of(dataset: Dataset):
    return {report.index: report for report in check_dataset(dataset)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_truncated_or_missing_file_is_found_and_raises_only_waldo_errors(sound, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut") / "dataset"
    shutil.copytree(sound, folder)
    victim = folder / "episode_000000.zarr" / data.draw(st.sampled_from(files_of(folder / "episode_000000.zarr")))
    size = victim.stat().st_size
    keep = data.draw(st.integers(-1, size - 1))
    if keep < 0:
        victim.unlink()
    else:
        os.truncate(victim, keep)
    dataset = Dataset.open(folder)
    assert reports_of(dataset)[0].problems
    assert reports_of(dataset)[1].problems == 0
    with suppress(WaldoError):
        read_all(dataset, 0)
    read_all(dataset, 1)
    shutil.rmtree(folder)


def foreign(kind: str, path: Path) -> None:
    """Create something with the name of an episode that is not an episode."""
    if kind == "a file":
        path.write_text("not a folder")
    elif kind == "an empty folder":
        path.mkdir()
    elif kind == "a zarr v3 group":
        zarr.create_group(path, zarr_format=3, attributes={"format": "other-format"})
    elif kind == "a zarr v2 group":
        zarr.create_group(path, zarr_format=2)
    elif kind == "an array":
        zarr.create_array(path, shape=(3,), dtype="i4")
    elif kind == "a newer episode":
        zarr.create_group(path, zarr_format=3, attributes={"format": "waldo-episode", "schema_version": 99})
    elif kind == "metadata that is not an object":
        path.mkdir()
        (path / "zarr.json").write_text("[1, 2]")
    elif kind == "no attributes":
        zarr.create_group(path, zarr_format=3, attributes={"format": "waldo-episode", "schema_version": 1})
    elif kind == "a link to itself":
        path.symlink_to(path)


@pytest.mark.parametrize(
    "kind",
    [
        "a file",
        "an empty folder",
        "a zarr v3 group",
        "a zarr v2 group",
        "an array",
        "a newer episode",
        "metadata that is not an object",
        "no attributes",
        "a link to itself",
    ],
)
def test_foreign_entry_is_named_and_the_episodes_are_listed(dataset, kind):
    foreign(kind, dataset.path / "episode_000002.zarr")
    dataset = Dataset.open(dataset.path)
    assert [entry.episode for entry in dataset.catalog] == [0, 1]
    assert list(dataset.catalog.unreadable) == [2]
    found = reports_of(dataset)
    assert (found[0].problems, found[1].problems, found[2].problems > 0) == (0, 0, True)
    with pytest.raises(WaldoError, match="episode"):
        dataset.episode(2).values("joints/state", "position")
    # The next episode gets another index, and recovery does not touch the entry.
    with dataset.lock():
        assert dataset.next_index == 3
        assert dataset.recover() == []
    read_all(dataset, 1)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "ünïcode", "a b", "", ".", LONG, "a\0b", "zarr.json", "__x"]
)
def test_names_of_streams_cannot_point_outside_their_episode(name):
    with pytest.raises(ConfigError, match="stream name"):
        ScalarStream(name=name, rate_hz=1.0, fields=(Field("x", "1", ("a",)),))
    with pytest.raises(ConfigError, match=r"Field\.name"):
        Field(name, "1", ("a",))


@pytest.mark.parametrize(
    "text", ["../../etc", "手を伸ばす 🦾", LONG, "<script>alert(1)</script>", "[red]x[/red]", "a\nb"]
)
def test_tasks_operators_and_labels_may_be_any_text(dataset, text, capsys):
    from waldo.cli.main import main

    stream = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", (text, "b")),))
    with dataset.lock():
        writer = dataset.begin([stream], {"task": text, "operator": text})
        writer.row("joints/state", header_ns=1, receipt_ns=1, sequence=1, values={"position": [1, 2]})
        path = writer.save("success")
    episode = dataset.episode(2)
    assert (episode.task, episode.attributes["operator"]) == (text, text)
    assert episode.field("joints/state", "position").labels[0] == text
    assert verify(episode) == []
    assert path.parent == dataset.path
    assert {p.name for p in dataset.path.parent.iterdir()} == {"dataset"}
    for words in (["list"], ["info"], ["list", "--json"]):
        assert main([words[0], str(dataset.path), *words[1:]]) == 0
    assert "task 0" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ünï çode 🤖", "x" * 250, "a b;c", "-dash"])
def test_folders_may_have_any_name(sound, tmp_path, name):
    shutil.copytree(sound, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "waldo", "check", f"./{name}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "0 problems" in done.stdout, done.stderr
    assert done.returncode in (0, 1)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "waldo-dataset"}',
        '{"format": 3, "schema_version": "x", "robot": 1}',
        "\0" * 64,
    ],
)
def test_damaged_description_is_one_clear_error(dataset, content):
    (dataset.path / "dataset.json").write_text(content)
    with pytest.raises(FileError, match=r"dataset\.json"):
        Dataset.open(dataset.path)


def test_newer_dataset_is_refused(dataset):
    description = json.loads((dataset.path / "dataset.json").read_text()) | {"schema_version": 99}
    (dataset.path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(FileError, match=r"version 99, expected .*; update waldo"):
        Dataset.open(dataset.path)


FILL = """
import resource, sys
import numpy as np
from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import WaldoError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
stream = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),))
with Dataset.open(sys.argv[1]).lock() as dataset:
    writer = dataset.begin([stream], {})
    for tick in range(100_000):
        try:
            stamps = {"header_ns": tick, "receipt_ns": tick, "sequence": tick + 1}
            writer.row("joints/state", values={"position": [tick, 0]}, **stamps)
        except WaldoError as error:
            print(tick, error, flush=True)
            break
    import os
    os._exit(0)
"""


def test_full_disk_ends_the_recording_and_keeps_the_written_rows(dataset):
    # A limit on the file size makes the kernel refuse the write, as a full disk does.
    done = subprocess.run([sys.executable, "-c", FILL, str(dataset.path)], capture_output=True, text=True)
    count, _, message = done.stdout.partition(" ")
    assert "cannot be written" in message, done.stderr
    assert "waldo recover" in message
    with dataset.lock():
        (recovered,) = dataset.recover()
    assert recovered.counts["joints/state"] == int(count) > 1000
    assert dataset.episode(2).values("joints/state", "position")[-1].tolist() == [int(count) - 1, 0]
    assert [report.problems for report in (reports_of(dataset)[i] for i in (0, 1))] == [0, 0]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
