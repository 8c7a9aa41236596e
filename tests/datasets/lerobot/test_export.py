import importlib.metadata
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Subtask
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.jobs import Jobs
from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.lerobot.layout import LEROBOT_VERSION
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.video import mp4
from waldo.errors import UnknownNameError


@pytest.fixture(scope="module")
def lerobot_dataset():
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset


def nearest(image, images):
    """Return the index of the most similar image in uint8 (n, H, W, 3)."""
    return int(np.abs(images.astype(int) - image).mean(axis=(1, 2, 3)).argmin())


def image(item, camera="front"):
    return item[f"observation.images.{camera}"].permute(1, 2, 0).numpy().astype(int)


def test_the_installed_lerobot_is_the_supported_version():
    # waldo writes LeRobot's layout itself. For another version, compare its dataset_metadata.py before changing this.
    assert importlib.metadata.version("lerobot") == LEROBOT_VERSION


def test_lerobot_reads_the_exported_dataset(record, script, tmp_path, lerobot_dataset):
    dataset = record(
        script(task="lift the red cube"),
        script(task="lift the blue cube", seed=1, without_frames={"cameras/wrist": [11]}),
        script(outcome="failure"),
        script(task="lift the red cube", seed=2, seconds=0.7),
    )
    result = export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    assert (result.episodes, result.rows, result.unselected, result.skipped) == (3, 81, 1, {})
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
        # A copied packet decodes to the store's own image; the conversion to RGB rounds differently.
        assert np.abs(image(item) - front[row]).max() <= 3
    assert read[30 + 12]["telemetry.winding"].tolist() == [40.0] * 3
    wrist = chosen[1].frames("cameras/wrist")
    assert nearest(image(read[30 + 11], "wrist"), wrist) in (10, 11)
    assert nearest(image(read[30 + 12], "wrist"), wrist) == 11


def test_neighbouring_frames_and_actions_are_found(record, script, tmp_path, lerobot_dataset):
    dataset = record(script(), script(seed=1))
    export_dataset(dataset, tmp_path / "out", LeRobotConfig(rows=RowConfig(cameras=("front",))))
    deltas = {"observation.images.front": [-1 / 30, 0.0], "action": [k / 30 for k in range(4)]}
    read = lerobot_dataset("local/out", root=tmp_path / "out", delta_timestamps=deltas, return_uint8=True)
    assert "observation.images.wrist" not in read.features
    item = read[30 + 9]
    front = dataset.episodes[1].frames("cameras/front")
    pair = item["observation.images.front"].permute(0, 2, 3, 1).numpy()
    assert [nearest(one, front) for one in pair] == [8, 9]
    wanted = dataset.episodes[1].values("joints/command", "position")[18:26:2]
    assert np.array_equal(item["action"].numpy(), wanted)


def test_statistics_match_the_data(record, script, tmp_path, lerobot_dataset):
    dataset = record(script(), script(seed=1))
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    stats = lerobot_dataset("local/out", root=tmp_path / "out").meta.stats
    states = np.concatenate([e.values("joints/state", "position")[::2] for e in dataset.episodes])
    assert stats["observation.state"]["mean"] == pytest.approx(states.mean(axis=0), abs=1e-5)
    assert stats["observation.state"]["std"] == pytest.approx(states.std(axis=0), abs=1e-5)
    counts = sum(e.histogram("cameras/front") for e in dataset.episodes)
    mean = counts @ np.arange(256) / counts.sum(axis=1) / 255
    assert stats["observation.images.front"]["mean"] == pytest.approx(mean.reshape(3, 1, 1))
    assert stats["observation.images.front"]["count"].tolist() == [12]
    # The fixture's duty cycle is never known, so it is left out.
    assert "telemetry.duty" not in stats
    for index, q in enumerate((0.01, 0.1, 0.5, 0.9, 0.99)):
        name = ("q01", "q10", "q50", "q90", "q99")[index]
        assert stats["observation.state"][name] == pytest.approx(np.quantile(states, q, axis=0), abs=1e-6)
    below = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    assert stats["observation.images.front"]["q50"].reshape(3) == pytest.approx((below >= 0.5).argmax(axis=1) / 255)


def test_outcomes_operators_and_units_survive_export_and_import(record, script, tmp_path):
    dataset = record(
        script(seconds=0.3), script(seconds=0.3, outcome="failure", seed=4), script(seconds=0.3, outcome="unknown")
    )
    dataset.set_subtasks(1, [Subtask(start_s=0.0, text="reach"), Subtask(start_s=0.2, text="lift")])
    everything = LeRobotConfig(selection=Selection())
    export_dataset(dataset, tmp_path / "out", everything)
    origin = json.loads((tmp_path / "out/meta/waldo.json").read_text())
    assert [(one["stored_index"], one["outcome"], one["seed"]) for one in origin["episodes"]] == [
        (0, "success", 0),
        (1, "failure", 4),
        (2, "unknown", 0),
    ]
    assert {"observation.state": "rad", "telemetry.winding": "°C"}.items() <= origin["units"].items()
    flags = pq.read_table(tmp_path / "out/data")["next.success"].to_pylist()
    assert [k for k, flag in enumerate(flags) if flag] == [len(flags) // 3 - 1]
    import_dataset(tmp_path / "out", tmp_path / "back", ImportConfig())
    back = Dataset.open(tmp_path / "back")
    assert [episode.outcome for episode in back.episodes] == ["success", "failure", "unknown"]
    assert [episode.attributes["seed"] for episode in back.episodes] == [0, 4, 0]
    assert [[one.text for one in episode.subtasks] for episode in back.episodes] == [[], ["reach", "lift"], []]
    assert back.episodes[1].subtasks[1].start_s == pytest.approx(0.2, abs=0.05)
    # Without waldo's own record the column still distinguishes success from failure.
    (tmp_path / "out/meta/waldo.json").unlink()
    import_dataset(tmp_path / "out", tmp_path / "again", ImportConfig())
    assert [episode.outcome for episode in Dataset.open(tmp_path / "again").episodes] == [
        "success",
        "failure",
        "failure",
    ]


def test_no_column_and_no_statistic_of_an_export_is_nan(record, script, tmp_path):
    export_dataset(record(script(), script(seed=1, hands_off=range(20, 40))), tmp_path / "out", LeRobotConfig())
    rows = pq.read_table(tmp_path / "out/data")
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        values = column.flatten() if hasattr(column, "flatten") else column
        assert np.isfinite(values.to_numpy(zero_copy_only=False).astype(float)).all(), name
    text = (tmp_path / "out/meta/stats.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_dataset_without_images(record, script, tmp_path, lerobot_dataset):
    export_dataset(record(script()), tmp_path / "out", LeRobotConfig(rows=RowConfig(cameras=None, environment=False)))
    read = lerobot_dataset("local/out", root=tmp_path / "out")
    assert read.meta.camera_keys == []
    assert "observation.environment_state" not in read.features
    assert len(read) == 30
    assert not (tmp_path / "out" / "videos").exists()


def test_another_rate_is_encoded_again(record, script, tmp_path, lerobot_dataset):
    dataset = record(script())
    result = export_dataset(dataset, tmp_path / "out", LeRobotConfig(rows=RowConfig(fps=10, cameras=("front",))))
    assert (result.rows, result.frames_copied, result.frames_encoded) == (10, 0, 10)
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    front = dataset.episodes[0].frames("cameras/front")
    assert [nearest(image(read[k]), front) for k in range(10)] == list(range(0, 30, 3))


def test_a_large_dataset_is_split_into_files(record, script, tmp_path, lerobot_dataset, monkeypatch):
    dataset = record(*[script(seed=k, seconds=0.5) for k in range(3)])
    monkeypatch.setattr(layout, "VIDEO_MB", 1e-9)
    monkeypatch.setattr(layout, "DATA_MB", 1e-9)
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    assert len(list((tmp_path / "out").glob("videos/*front/chunk-000/file-*.mp4"))) == 3
    assert len(list((tmp_path / "out").glob("data/chunk-000/file-*.parquet"))) == 3
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    for index in (0, 15, 44):
        episode = dataset.episodes[index // 15]
        assert nearest(image(read[index]), episode.frames("cameras/front")) == index % 15


def test_packed_files_contain_the_frames_of_one_file_per_episode(record, script, tmp_path, lerobot_dataset):
    """LeRobot reads the same rows and images from packed files, and its seeking finds every frame in them."""
    lengths = (0.5, 0.7, 0.4, 0.6)
    dataset = record(
        *[script(seed=k, seconds=s, without_frames={"cameras/wrist": [3 + k]}) for k, s in enumerate(lengths)]
    )
    export_dataset(dataset, tmp_path / "packed", LeRobotConfig())
    export_dataset(dataset, tmp_path / "apart", LeRobotConfig(one_file_per_episode=True))
    for name, number in (("packed", 1), ("apart", len(lengths))):
        for pattern in ("videos/*front/chunk-000/*.mp4", "videos/*wrist/chunk-000/*.mp4", "data/chunk-000/*.parquet"):
            assert len(list((tmp_path / name).glob(pattern))) == number
    packed, apart = (
        lerobot_dataset(f"local/{name}", root=tmp_path / name, return_uint8=True) for name in ("packed", "apart")
    )
    assert len(packed) == len(apart) == sum(round(30 * s) for s in lengths)
    # Backwards, so that nothing is read in the order of the file.
    for index in reversed(range(len(packed))):
        one, other = packed[index], apart[index]
        assert one.keys() == other.keys()
        for key in one.keys() - {"task"}:
            assert np.array_equal(one[key], other[key]), (index, key)
        source = dataset.episodes[int(one["episode_index"])]
        assert nearest(image(one), source.frames("cameras/front")) == int(one["frame_index"])
    stats = [json.loads((tmp_path / name / "meta/stats.json").read_text()) for name in ("packed", "apart")]
    assert stats[0] == stats[1]


def test_full_video_files_are_written_while_the_export_runs(record, script, tmp_path, monkeypatch):
    """So the memory and the work that an interruption repeats do not grow with the number of episodes."""
    dataset = record(*[script(seed=k, seconds=0.3) for k in range(3)])
    files = []

    def look(done, total):
        files.append(len(list((tmp_path / ".out.partial/out/videos").glob("*front/*/*.mp4"))))

    export_dataset(dataset, tmp_path / "out", LeRobotConfig(one_file_per_episode=True), progress=look)
    assert files == [0, 0, 1, 2]


def test_the_video_files_contain_one_frame_per_row(record, script, tmp_path):
    dropped = {"cameras/front": [3, 4, 20], "cameras/wrist": [0, 1, 29]}
    result = export_dataset(record(script(without_frames=dropped), script()), tmp_path / "out", LeRobotConfig())
    for camera in ("front", "wrist"):
        files = (tmp_path / "out" / "videos" / f"observation.images.{camera}").rglob("*.mp4")
        assert sum(len(mp4.read_track(file).sizes) for file in files) == result.rows


def test_an_unfit_episode_is_skipped_with_the_reason(record, script, tmp_path):
    dataset = record(script(), script(seconds=2.0, without_rows=range(60, 90)), script(seed=1))
    result = export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    assert (result.episodes, result.rows) == (2, 60)
    assert result.skipped == {1: "joints/state has 1 gap, the longest 517 ms at 0.98 s (the limit is 0.25 s)"}


def test_an_unknown_camera_suggests_the_closest_name(record, script, tmp_path):
    with pytest.raises(UnknownNameError) as error:
        export_dataset(record(script()), tmp_path / "out", LeRobotConfig(rows=RowConfig(cameras=("frnt",))))
    assert str(error.value) == "unknown camera 'frnt'; did you mean 'front'? (known: front, wrist)"
    assert isinstance(Dataset.open(tmp_path / "dataset"), Dataset)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_workers_write_the_same_bytes(record, script, tmp_path):
    scripts = [script(seed=k, seconds=0.5, without_frames={"cameras/front": [4]}) for k in range(3)]
    dataset = record(*scripts, script(seconds=2.0, without_rows=range(60, 90)))
    here = export_dataset(dataset, tmp_path / "one" / "out", LeRobotConfig())
    workers = export_dataset(dataset, tmp_path / "two" / "out", LeRobotConfig(), jobs=Jobs(workers=2))
    assert list(here.skipped) == [3]
    assert here.skipped == workers.skipped
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_killed_export_resumes(record, script, tmp_path):
    """Frames that were encoded before the kill are not encoded again."""
    dataset = record(*[script(seed=k, seconds=0.5, without_frames={"cameras/front": [4]}) for k in range(3)])
    export_dataset(dataset, tmp_path / "whole" / "out", LeRobotConfig())
    code = (
        "import os, signal, sys; from waldo.datasets.dataset import Dataset; "
        "from waldo.datasets.formats.target import export_dataset; "
        "from waldo.datasets.lerobot.format import LeRobotConfig\n"
        "def die(done, total):\n"
        "    if done == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_dataset(Dataset.open(sys.argv[1]), sys.argv[2], LeRobotConfig(), progress=die)"
    )
    command = [sys.executable, "-c", code, dataset.path, tmp_path / "cut" / "out"]
    killed = subprocess.run(command, check=False, capture_output=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "out").exists()
    spools = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut" / ".out.partial" / "scratch").iterdir()}
    assert len(spools) == 2
    seen = {}

    def look(done, total):
        if done == 2:
            seen.update({p: p.stat().st_mtime_ns for p in spools})

    export_dataset(dataset, tmp_path / "cut" / "out", LeRobotConfig(), progress=look)
    assert seen == spools
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_files_of_another_export_are_not_reused(record, script, tmp_path):
    dataset = record(script(seconds=0.5, without_frames={"cameras/front": [4]}))

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", LeRobotConfig(), progress=interrupt)
    left = tmp_path / ".out.partial"
    (left / "mark").touch()
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", LeRobotConfig(rows=RowConfig(fps=15)), progress=interrupt)
    assert not (left / "mark").exists()


def test_calibrated_latency_shifts_the_frames(record, script, tmp_path, lerobot_dataset):
    dataset = record(script())
    dataset.set_latency({"cameras/wrist": round(2e9 / 30)})
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    wrist = dataset.episodes[0].frames("cameras/wrist")
    # The frame exposed at row 10 was stamped two frames later.
    assert nearest(image(read[10], "wrist"), wrist) == 12
    assert "| cameras/wrist | video | 30 | 64x48 h264 | 66.7 ms |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("codec", ["lossless", "jpeg"])
def test_other_codecs(record, script, tmp_path, lerobot_dataset, streams, play, codec):
    from dataclasses import replace

    dataset = Dataset.create(tmp_path / "d", robot="tiny")
    with dataset.lock():
        chosen = [replace(s, codec=codec) if s.kind == "video" else s for s in streams]
        writer = dataset.begin(chosen, {"task": "t"}, back_pressure="wait")
        play(writer, script(seconds=0.5))
        writer.save("success")
    result = export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    assert (result.frames_copied > 0) == (codec == "lossless")
    read = lerobot_dataset("local/out", root=tmp_path / "out", return_uint8=True)
    front = dataset.episodes[0].frames("cameras/front")
    shown = np.stack([image(read[k]) for k in range(15)])
    error = np.abs(shown - front).mean()
    assert error == 0 if codec == "lossless" else error < 6


def test_the_dataset_card_describes_the_recording(record, script, tmp_path):
    hostile = "lift | the <script>\n# cube: \"'"
    dataset = record(script(task=hostile, winding_c=61.25, without_rows=[7]), script(task=hostile))
    export_dataset(dataset, tmp_path / "out", LeRobotConfig(license="apache-2.0"))
    text = (tmp_path / "out" / "README.md").read_text()
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    import yaml

    assert yaml.safe_load(head) == {
        "license": "apache-2.0",
        "task_categories": ["robotics"],
        "tags": ["LeRobot", "waldo", "tiny"],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    assert "| lift \\| the &lt;script> # cube: \"' | 2 |" in body
    assert "2 episodes (0.0 min) of the robot tiny" in body
    assert "1 message was lost, in 1 of 2 episodes." in body
    assert "Maximum winding temperature: 61.2 °C (episode 0 of the recording)" in body
    assert "* Streams are resampled to one rate" in body


def test_the_files_match_those_of_lerobot(record, script, tmp_path, lerobot_dataset):
    """LeRobot's own writer produces the same files, schemas, numbers and metadata from the same rows."""
    dataset = record(script(seconds=1.0), script(seconds=0.7, seed=1, task="put it down"))
    export_dataset(dataset, tmp_path / "ours", LeRobotConfig(rows=RowConfig(cameras=None)))
    read = lerobot_dataset("local/ours", root=tmp_path / "ours")
    own = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    features = {key: feature for key, feature in read.features.items() if key not in own}
    peer = lerobot_dataset.create(
        "local/theirs", 30, features, root=tmp_path / "theirs", robot_type="tiny", use_videos=False
    )
    for number, length in enumerate(read.meta.episodes["length"]):
        first = sum(read.meta.episodes["length"][:number])
        for at in range(first, first + length):
            item = read[at]
            peer.add_frame(
                {key: item[key].numpy().reshape(features[key]["shape"]) for key in features} | {"task": item["task"]}
            )
        peer.save_episode()
    peer.finalize()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name in ("data/chunk-000/file-000.parquet", "meta/tasks.parquet"):
        mine, other = pq.read_table(ours / name), pq.read_table(theirs / name)
        assert mine.schema.equals(other.schema)
        assert mine.equals(other) or "duty" in str(mine.schema)
        key = b"huggingface" if name.startswith("data") else b"pandas"
        mine, other = (json.loads(table.schema.metadata[key]) for table in (mine, other))
        assert mine == other or mine.keys() <= other.keys()
    mine, other = (pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet") for root in (ours, theirs))
    assert {f.name: f.type for f in mine.schema} == {f.name: f.type for f in other.schema}
    info = [json.loads((root / "meta" / "info.json").read_text()) for root in (ours, theirs)]
    assert info[0] == info[1]
    stats = [lerobot_dataset("local/x", root=root).meta.stats for root in (ours, theirs)]
    assert stats[0].keys() == stats[1].keys()
    for key in ("observation.state", "action", "index"):
        assert stats[0][key].keys() == stats[1][key].keys()
        for name in ("min", "max", "mean", "std", "count"):
            assert np.allclose(stats[0][key][name], stats[1][key][name], rtol=1e-4, atol=1e-5), (key, name)
        # LeRobot averages the quantiles of the episodes; ours are those of all rows.
        rows = pq.read_table(theirs / "data")[key].to_pylist()
        for name, q in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
            assert np.allclose(stats[0][key][name], np.quantile(rows, q, axis=0), atol=1e-6)
