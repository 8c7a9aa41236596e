import importlib.metadata
import json

import numpy as np
import pytest

pytest.importorskip("lerobot")

from waldo.datasets.dataset import Dataset
from waldo.datasets.lerobot_export import LEROBOT_VERSION, ExportConfig, export
from waldo.datasets.mp4shard import count_frames
from waldo.errors import FileError, UnknownNameError


@pytest.fixture(scope="module")
def lerobot_dataset():
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset


def nearest(picture, pictures):
    """Return which of the pictures, uint8 (n, H, W, 3), a picture is most like."""
    return int(np.abs(pictures.astype(int) - picture).mean(axis=(1, 2, 3)).argmin())


def image(item, camera="front"):
    return item[f"observation.images.{camera}"].permute(1, 2, 0).numpy().astype(int)


def test_the_lerobot_that_this_was_written_for():
    # Its classes write our metadata. With another version: read its dataset_metadata.py, then change the constant.
    assert importlib.metadata.version("lerobot") == LEROBOT_VERSION


def test_lerobot_reads_what_was_exported(record, script, tmp_path, lerobot_dataset):
    dataset = record(
        script(task="lift the red cube"),
        script(task="lift the blue cube", seed=1, without_frames={"cameras/wrist": [11]}),
        script(outcome="failure"),
        script(task="lift the red cube", seed=2, seconds=0.7),
    )
    result = export(dataset, tmp_path / "out")
    assert (result.episodes, result.rows, result.skipped, result.left_out) == (3, 81, 1, {})
    assert result.frames_copied + result.frames_encoded == 2 * 81
    assert 0 < result.frames_encoded < 5
    assert result.frame_error_ms["front"] == 0.0
    assert result.frame_error_ms["wrist"] == pytest.approx(1000 / 30, abs=1e-3)

    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    assert (read.num_episodes, read.num_frames, read.fps, read.meta.robot_type) == (3, 81, 30, "tiny")
    chosen = [dataset.episodes[i] for i in (0, 1, 3)]
    for index in range(0, 81, 4):
        item = read[index]
        source = chosen[int(item["episode_index"])]
        row = int(item["frame_index"])
        assert item["task"] == source.task
        assert float(item["timestamp"]) == pytest.approx(row / 30)
        state = source.values("joints/state", "position")[2 * row]
        assert np.array_equal(item["observation.state"].numpy(), state)
        assert np.array_equal(item["action"].numpy(), source.values("joints/command", "position")[2 * row])
        front = source.frames("cameras/front")
        assert nearest(image(item), front) == row
        # A copied packet decodes to the store's own picture; the conversion to RGB rounds in another way.
        assert np.abs(image(item) - front[row]).max() <= 3
    assert read[30 + 12]["telemetry.winding"].tolist() == [40.0] * 3
    wrist = chosen[1].frames("cameras/wrist")
    assert nearest(image(read[30 + 11], "wrist"), wrist) in (10, 11)
    assert nearest(image(read[30 + 12], "wrist"), wrist) == 11


def test_neighbouring_frames_and_actions_are_found(record, script, tmp_path, lerobot_dataset):
    dataset = record(script(), script(seed=1))
    export(dataset, tmp_path / "out", ExportConfig(cameras=("front",)))
    deltas = {"observation.images.front": [-1 / 30, 0.0], "action": [k / 30 for k in range(4)]}
    read = lerobot_dataset("local/out", root=tmp_path / "out", delta_timestamps=deltas, return_uint8=True)
    assert "observation.images.wrist" not in read.features
    item = read[30 + 9]
    front = dataset.episodes[1].frames("cameras/front")
    pair = item["observation.images.front"].permute(0, 2, 3, 1).numpy()
    assert [nearest(picture, front) for picture in pair] == [8, 9]
    wanted = dataset.episodes[1].values("joints/command", "position")[18:26:2]
    assert np.array_equal(item["action"].numpy(), wanted)


def test_statistics_are_those_of_the_data(record, script, tmp_path, lerobot_dataset):
    dataset = record(script(), script(seed=1))
    export(dataset, tmp_path / "out")
    stats = lerobot_dataset("local/out", root=tmp_path / "out").meta.stats
    states = np.concatenate([e.values("joints/state", "position")[::2] for e in dataset.episodes])
    assert stats["observation.state"]["mean"] == pytest.approx(states.mean(axis=0), abs=1e-5)
    assert stats["observation.state"]["std"] == pytest.approx(states.std(axis=0), abs=1e-5)
    counts = sum(e.histogram("cameras/front") for e in dataset.episodes)
    mean = counts @ np.arange(256) / counts.sum(axis=1) / 255
    assert stats["observation.images.front"]["mean"] == pytest.approx(mean.reshape(3, 1, 1))
    assert stats["observation.images.front"]["count"].tolist() == [12]
    assert np.isfinite(stats["telemetry.duty"]["mean"]).all()


def test_a_dataset_without_images(record, script, tmp_path, lerobot_dataset):
    export(record(script()), tmp_path / "out", ExportConfig(cameras=None, environment=False))
    read = lerobot_dataset("local/out", root=tmp_path / "out")
    assert read.meta.camera_keys == []
    assert "observation.environment_state" not in read.features
    assert len(read) == 30
    assert not (tmp_path / "out" / "videos").exists()


def test_another_rate_is_encoded_anew(record, script, tmp_path, lerobot_dataset):
    dataset = record(script())
    result = export(dataset, tmp_path / "out", ExportConfig(fps=10, cameras=("front",)))
    assert (result.rows, result.frames_copied, result.frames_encoded) == (10, 0, 10)
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    front = dataset.episodes[0].frames("cameras/front")
    assert [nearest(image(read[k]), front) for k in range(10)] == list(range(0, 30, 3))


def test_large_datasets_are_several_files(record, script, tmp_path, lerobot_dataset, monkeypatch):
    from lerobot.datasets import LeRobotDatasetMetadata

    dataset = record(*[script(seed=k, seconds=0.5) for k in range(3)])
    monkeypatch.setattr(LeRobotDatasetMetadata, "video_files_size_in_mb", property(lambda self: 1e-9))
    monkeypatch.setattr(LeRobotDatasetMetadata, "data_files_size_in_mb", property(lambda self: 1e-9))
    export(dataset, tmp_path / "out")
    monkeypatch.undo()
    assert len(list((tmp_path / "out").glob("videos/*front/chunk-000/file-*.mp4"))) == 3
    assert len(list((tmp_path / "out").glob("data/chunk-000/file-*.parquet"))) == 3
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    for index in (0, 15, 44):
        episode = dataset.episodes[index // 15]
        assert nearest(image(read[index]), episode.frames("cameras/front")) == index % 15


def test_frames_are_rows_in_every_file(record, script, tmp_path):
    dropped = {"cameras/front": [3, 4, 20], "cameras/wrist": [0, 1, 29]}
    result = export(record(script(without_frames=dropped), script()), tmp_path / "out")
    for camera in ("front", "wrist"):
        files = (tmp_path / "out" / "videos" / f"observation.images.{camera}").rglob("*.mp4")
        assert sum(count_frames(file) for file in files) == result.rows


def test_an_unfit_episode_is_left_out_and_said(record, script, tmp_path):
    dataset = record(script(), script(seconds=2.0, without_rows=range(60, 90)), script(seed=1))
    result = export(dataset, tmp_path / "out")
    assert (result.episodes, result.rows) == (2, 60)
    assert result.left_out == {1: "joints/state has a gap at 1.27 s that is longer than is allowed"}


def test_a_target_that_is_not_empty_is_refused(record, script, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(FileError) as error:
        export(record(script()), tmp_path / "out")
    assert str(error.value) == f"{tmp_path / 'out'}: is not empty; choose another folder or remove it"


def test_an_interrupted_export_leaves_no_target_and_is_made_again(record, script, tmp_path, monkeypatch):
    dataset = record(script(), script(seed=1))

    def interrupt(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(dataset, tmp_path / "out", advance=interrupt)
    assert not (tmp_path / "out").exists()
    steps = []
    result = export(dataset, tmp_path / "out", advance=lambda done, total: steps.append((done, total)))
    assert (result.rows, steps) == (60, [(0, 2), (1, 2), (2, 2)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "out"]
    assert json.loads((tmp_path / "out" / "meta" / "info.json").read_text())["total_frames"] == 60


def test_nothing_to_export_is_said(record, script, tmp_path):
    dataset = record(script(outcome="failure"))
    with pytest.raises(FileError) as error:
        export(dataset, tmp_path / "out")
    expected = f"{dataset.path}: has no episode to export (1 not successful); pass --include all"
    assert str(error.value) == expected
    assert export(dataset, tmp_path / "out", ExportConfig(include="all")).rows == 30


def test_an_unknown_camera_is_answered_with_the_nearest(record, script, tmp_path):
    with pytest.raises(UnknownNameError) as error:
        export(record(script()), tmp_path / "out", ExportConfig(cameras=("frnt",)))
    assert str(error.value) == "unknown camera 'frnt'; did you mean 'front'? (known: front, wrist)"
    assert isinstance(Dataset.open(tmp_path / "dataset"), Dataset)
