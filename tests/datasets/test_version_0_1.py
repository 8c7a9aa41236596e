"""Datasets recorded by waldo 0.1 can be opened, listed, checked, edited and exported.

`tests/data/dataset_0_1` was written by that version: two episodes of 0.5 s, the second one relabeled, with a camera
latency. Its attribute for the maximum winding temperature has another name.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.durability import tree
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.info import dataset_info
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.quality.verify import verify
from waldo.datasets.selection import Selection
from waldo.datasets.storage.episode_attributes import MAX_WINDING, MAX_WINDING_0_1
from waldo.datasets.streams import Field, ScalarStream

DATA = Path(__file__).parents[1] / "data" / "dataset_0_1"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.open(shutil.copytree(DATA, tmp_path / "dataset"))


def test_episodes_are_read(dataset: Dataset) -> None:
    first, second = dataset.episodes
    assert MAX_WINDING_0_1 in json.loads((first.path / "zarr.json").read_text())["attributes"]
    assert (first.max_winding_c, second.max_winding_c) == (40.0, 61.5)
    assert (first.outcome, second.outcome) == ("success", "failure")
    assert (first.task, second.task) == ("lift the red cube", "stack the cubes")
    assert [first.count(name) for name in ("joints/state", "joints/sent", "motors", "cameras/front")] == [30, 30, 5, 15]
    assert first.frames("cameras/front").shape == (15, 48, 64, 3)
    expected = np.sin(np.arange(30)[:, None] / 30 + np.arange(3)) * 0.9
    assert np.array_equal(first.values("joints/state", "position"), expected.astype(np.float32))
    assert set((first.time_ns("cameras/front") - first.capture_ns("cameras/front")).tolist()) == {20_000_000}


def test_catalog_is_read_from_the_file_and_can_be_derived_again(dataset: Dataset) -> None:
    stored = list(dataset.catalog)
    assert [(entry.task, entry.max_winding_c) for entry in stored] == [
        ("lift the red cube", 40.0),
        ("stack the cubes", 61.5),
    ]
    assert dataset.select(Selection(max_winding_c=50)) == [0]
    assert dataset_info(dataset)["max_winding_c"] == 61.5
    content = (dataset.path / "catalog.jsonl").read_bytes()
    (dataset.path / "catalog.jsonl").unlink()
    assert list(Dataset.open(dataset.path).catalog) == stored
    assert (dataset.path / "catalog.jsonl").read_bytes() == content


def test_checksums_are_valid_and_checks_find_no_problem(dataset: Dataset) -> None:
    assert [verify(episode) for episode in dataset.episodes] == [[], []]
    assert [report.problems for report in check_dataset(dataset)] == [0, 0]


def test_dataset_is_exported_to_lerobot(dataset: Dataset, tmp_path: Path) -> None:
    before = tree(dataset.path)
    result = export_dataset(dataset, tmp_path / "out", LeRobotConfig(selection=Selection()))
    info = json.loads((tmp_path / "out" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == 2
    assert result.frames_copied > 0
    assert result.frames_copied + result.frames_encoded == info["total_frames"] >= 26
    assert tree(dataset.path) == before


def test_recording_continues_with_the_new_attribute(dataset: Dataset) -> None:
    motors = ScalarStream(name="motors", rate_hz=10.0, fields=(Field("winding", "°C", ("hip", "knee", "claw")),))
    with dataset.lock():
        writer = dataset.begin([motors], {"task": "t"})
        writer.row("motors", values={"winding": [1.0, 2.0, 3.0]}, header_ns=1, receipt_ns=1, sequence=1)
        path = writer.save("success")
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    assert attributes[MAX_WINDING] == 3.0
    assert MAX_WINDING_0_1 not in attributes
    assert [entry.max_winding_c for entry in dataset.catalog] == [40.0, 61.5, 3.0]


def test_half_built_episode_is_removed(dataset: Dataset) -> None:
    (dataset.path / "episode_000002.zarr.tmp" / "joints").mkdir(parents=True)
    with dataset.lock():
        assert dataset.recover() == []
        assert dataset.next_index == 2
    assert not (dataset.path / "episode_000002.zarr.tmp").exists()
