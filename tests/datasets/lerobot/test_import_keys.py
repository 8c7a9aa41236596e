import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.lerobot.sources import ALL, OPENPI, change_info, rows, shown, table, take, write_openpi, write_v21
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.source_keys import original_keys
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.columns import labels_of
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import Column, Rows
from waldo.datasets.selection import Selection
from waldo.errors import FileError, UnknownNameError


def test_column_names_stay_in_the_episode(tmp_path):
    names = ["../../escape", "a/b", "a", "x" * 300, "grüße", "zarr.json", "time"]
    source = write_v21(tmp_path / "v21", episodes=1)
    info = json.loads((source / "meta" / "info.json").read_text())
    extra = {name: {"dtype": "float64", "shape": [1], "names": None} for name in names}
    change_info(source, features=info["features"] | extra)
    path = source / "data" / "chunk-000" / "episode_000000.parquet"
    rows = pq.read_table(path)
    for place, name in enumerate(names):
        rows = rows.append_column(name, pa.array([float(place)] * 7))
    pq.write_table(rows, path)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert take(source, tmp_path / "d").skipped == {}
    episode = Dataset.open(tmp_path / "d").episodes[0]
    values = {float(episode.values(s, "value")[0, 0]) for s in episode.streams if not s.startswith(("j", "cam"))}
    assert values == set(range(len(names)))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "d"])
    assert sum(report.problems for report in check_dataset(Dataset.open(tmp_path / "d"))) == 0


@pytest.mark.parametrize(
    ("names", "shape", "labels"),
    [
        (["a", "b"], (2,), ("a", "b")),
        ({"motors": ["a", "a"]}, (2,), ("a", "a.1")),
        ({"left": ["a"], "right": ["b"]}, (2,), ("a", "b")),
        (None, (2,), ("state.0", "state.1")),
        (["a"], (2,), ("state.0", "state.1")),
        ({"a": 0, "b": 1}, (2,), ("state.0", "state.1")),
        (None, (), ("state",)),
    ],
)
def test_labels(names, shape, labels):
    assert labels_of(names, shape, "observation.state") == labels


def test_openpis_keys_are_mapped_and_export(tmp_path):
    source = write_openpi(tmp_path / "libero")
    result = take(source, tmp_path / "d", map=OPENPI)
    assert (result.episodes, result.skipped) == (2, {})
    assert [(row.key, row.contents, row.stream) for row in result.mapped] == [
        ("state", "numbers[8]", "joints/state/position"),
        ("actions", "numbers[7]", "joints/command/position"),
        ("image", "single images 64x48", "cameras/base"),
        ("wrist_image", "single images 64x48", "cameras/wrist"),
    ]
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert rows(episode, "joints/state", "position")[3].tolist() == [1003.0 + d for d in range(8)]
    assert episode.field("joints/command", "position").labels == ("x", "y", "z", "a", "b", "c", "g")
    assert np.array_equal(episode.frames("cameras/wrist")[5], shown(2, 5))
    config = LeRobotConfig(selection=Selection(), rows=RowConfig(fps=10))
    exported = export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", config)
    assert (exported.episodes, exported.skipped) == (2, {})
    out = table(tmp_path / "out")
    assert np.array_equal(np.stack(out["action"].to_numpy()), np.stack(table(source)["actions"].to_numpy()))
    assert (tmp_path / "out" / "videos" / "observation.images.wrist").is_dir()


def test_without_a_mapping_the_import_names_what_an_export_lacks(tmp_path):
    result = take(write_openpi(tmp_path / "libero"), tmp_path / "d")
    assert result.notes[-1] == (
        "Without joints/state and joints/command the episodes cannot be exported to rows or used for training; pass "
        "--map KEY=joint_states KEY=joint_commands, with keys such as: state, actions."
    )


def test_a_mapped_column_replaces_the_one_that_has_the_stream_by_its_name(tmp_path):
    """The other column keeps its numbers, as a stream of its own name."""
    take(write_v21(tmp_path / "v21"), tmp_path / "d", map=("action=joint_states",))
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert rows(episode, "joints/state", "position").tolist() == [[n + 1, 0] for n in range(7)]
    assert rows(episode, "observation.state").tolist() == [[n, 0] for n in range(7)]
    assert "joints/command" not in episode.streams


def test_two_columns_become_one_state(tmp_path):
    pairs = ("action=joint_states:b_", "observation.state=joint_states:a_")
    take(write_v21(tmp_path / "v21"), tmp_path / "d", map=pairs)
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert episode.field("joints/state", "position").labels == ("b_x", "b_x.1", "a_state.0", "a_state.1")
    assert rows(episode, "joints/state", "position")[2].tolist() == [3, 1, 2, 1]


def test_keys_and_names_survive_import_and_export(tmp_path):
    source = write_v21(tmp_path / "v21")
    take(source, tmp_path / "d")
    export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", ALL)
    info = json.loads((tmp_path / "out" / "meta" / "info.json").read_text())["features"]
    assert {"observation.state", "action", "observation.images.top"} <= info.keys()
    assert info["action"]["names"] == ["x", "x.1"]
    before, after = table(source), table(tmp_path / "out")
    for key in ("observation.state", "action"):
        assert np.array_equal(np.stack(before[key].to_numpy()), np.stack(after[key].to_numpy()))


def test_a_column_of_words_is_left_out_by_name(tmp_path):
    source = write_v21(tmp_path / "v21")
    info = json.loads((source / "meta/info.json").read_text())
    info["features"]["hint"] = {"dtype": "string", "shape": [1], "names": None}
    info["features"]["words"] = {"dtype": "float32", "shape": [1], "names": None}
    (source / "meta/info.json").write_text(json.dumps(info))
    for k in range(2):
        path = source / f"data/chunk-000/episode_{k:06d}.parquet"
        words = pa.array(["fold"] * 7)
        pq.write_table(pq.read_table(path).append_column("hint", words).append_column("words", words), path)
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.skipped) == (2, {})
    assert "Not imported: text columns (hint)." in result.notes
    assert "words does not contain numbers and is not imported." in result.notes
    assert {row.key: row.why for row in result.mapped if not row.stream} == {"hint": "text", "words": "see the notes"}


def with_columns(source, **features):
    """Add columns of numbers to a dataset of `write_v21`: key -> values of the row numbers."""
    info = json.loads((source / "meta" / "info.json").read_text())
    for path in source.glob("data/*/*.parquet"):
        found = pq.read_table(path)
        numbers = range(found.num_rows)
        for key, values in features.items():
            found = found.append_column(key, pa.array([values(n) for n in numbers]))
        pq.write_table(found, path)
    added = {
        key: {"dtype": "float32", "shape": [np.size(values(0))], "names": None} for key, values in features.items()
    }
    change_info(source, features=info["features"] | added)
    return source


def exported_features(dataset, out, **options):
    result = export_dataset(Dataset.open(dataset), out, LeRobotConfig(selection=Selection(), **options))
    assert result.skipped == {}
    return json.loads((out / "meta" / "info.json").read_text())["features"]


EXTRA = {
    "next.reward": lambda n: n / 8,
    "observation.effort": lambda n: [n / 4, -n / 2],
    "größe [m]": float,
    "observation.environment_state.x": float,
}


@pytest.mark.parametrize("camera", ["observation.images.top", "observation.image", "image", "wrist image"])
def test_every_key_is_the_same_after_a_round_trip(tmp_path, camera):
    source = with_columns(write_v21(tmp_path / "v21", camera=camera), **EXTRA)
    for name in ("one", "two"):
        take(source, tmp_path / name)
        features = exported_features(tmp_path / name, tmp_path / f"out_{name}")
        source = tmp_path / f"out_{name}"
        assert features.keys() - schema.RESERVED_KEYS == {"observation.state", "action", camera, *EXTRA}
        assert features[camera]["dtype"] == "video"
        assert (source / "videos" / camera / "chunk-000").is_dir()
        found = table(source)
        for key, values in EXTRA.items():
            assert found[key].to_pylist() == [values(n) for n in range(7)] * 2
        statistics = json.loads((source / "meta" / "stats.json").read_text())
        assert statistics["next.reward"]["max"] == [0.75]
        assert np.shape(statistics[camera]["mean"]) == (3, 1, 1)


def test_the_exported_keys_are_read_by_lerobot(tmp_path):
    from lerobot.datasets import LeRobotDataset

    take(with_columns(write_v21(tmp_path / "v21", camera="image"), **EXTRA), tmp_path / "d")
    exported_features(tmp_path / "d", tmp_path / "out")
    item = LeRobotDataset("local/out", root=tmp_path / "out", return_uint8=True)[9]
    assert item["next.reward"] == 2 / 8
    assert item["observation.effort"].tolist() == [0.5, -1.0]
    frame = item["image"].permute(1, 2, 0).numpy()
    assert np.abs(frame.astype(int) - shown(1, 2)).mean() < 8


TYPED = {
    "next.done": lambda n: n == 6,
    "contact": lambda n: [n % 2 == 0, n > 3],
    "frame": lambda n: 2**53 - 1 - n,
    "counts": lambda n: np.array([n, 255 - n], np.uint8),
    "time.device": lambda n: 1 / 3 + n,
    "small": lambda n: np.float32(n / 3),
}


def test_every_type_is_the_same_after_a_round_trip(tmp_path):
    source = with_columns(write_v21(tmp_path / "v21"), **TYPED)
    dtypes = {"next.done": "bool", "contact": "bool", "frame": "int64", "counts": "uint8", "time.device": "float64"}
    for name in ("one", "two"):
        take(source, tmp_path / name)
        features = exported_features(tmp_path / name, tmp_path / f"out_{name}")
        source = tmp_path / f"out_{name}"
        assert {key: features[key]["dtype"] for key in TYPED} == {**dtypes, "small": "float32"}
        assert features["action"]["dtype"] == "float32"
        found = table(source)
        for key, values in TYPED.items():
            assert found[key].to_pylist() == [np.asarray(values(n)).tolist() for n in range(7)] * 2
        statistics = json.loads((source / "meta" / "stats.json").read_text())
        assert statistics["frame"]["max"] == [2**53 - 1]


def test_lerobot_reads_the_types_of_a_round_trip(tmp_path):
    import torch
    from lerobot.datasets import LeRobotDataset

    take(with_columns(write_v21(tmp_path / "v21"), **TYPED), tmp_path / "d")
    exported_features(tmp_path / "d", tmp_path / "out")
    item = LeRobotDataset("local/out", root=tmp_path / "out", return_uint8=True)[13]
    assert (item["next.done"].dtype, item["next.done"].item()) == (torch.bool, True)
    assert (item["contact"].dtype, item["contact"].tolist()) == (torch.bool, [True, True])
    assert (item["frame"].dtype, item["frame"].item()) == (torch.int64, 2**53 - 7)


def test_an_episode_whose_values_do_not_fit_the_type_of_the_first_one_is_left_out(tmp_path):
    take(with_columns(write_v21(tmp_path / "v21"), count=lambda n: n + 250), tmp_path / "d")
    path = tmp_path / "d" / "episode_000000.zarr" / "zarr.json"
    path.write_text(path.read_text().replace('"count/value": "int64"', '"count/value": "uint8"'))
    with pytest.raises(FileError, match="count is uint8, which cannot represent all its values; leave"):
        exported_features(tmp_path / "d", tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "dtype", "fits"),
    [
        ([0.0, 1.0], "bool", True),
        ([0.0, 2.0], "bool", False),
        ([-128.0, 127.0], "int8", True),
        ([128.0], "int8", False),
        ([-1.0], "uint64", False),
        ([2.0**63], "int64", False),
        ([-(2.0**63)], "int64", True),
        ([0.5], "int32", False),
        ([], "uint8", True),
    ],
)
def test_values_that_a_type_represents(values, dtype, fits):
    column = Column(names=("a",), values=np.array(values).reshape(-1, 1))
    times = np.zeros(len(values), int)
    rows = Rows(instants_ns=times, columns={"a": column}, frames={}, frame_sizes={}, frame_error_s={})
    if not fits:
        with pytest.raises(UnfitEpisodeError, match=f"a is {dtype}, which cannot represent all its values"):
            rows.with_types(3, {"a": np.dtype(dtype)})
        return
    found = rows.with_types(3, {"a": np.dtype(dtype), "b": np.dtype("bool")}).columns["a"].values
    assert (found.dtype, found[:, 0].tolist()) == (dtype, values)


def test_a_key_that_the_user_renames_keeps_its_new_name(tmp_path):
    take(write_v21(tmp_path / "v21", camera="image"), tmp_path / "d", map=("image=cameras/top",))
    assert "observation.images.top" in exported_features(tmp_path / "d", tmp_path / "out")


def test_a_column_whose_key_has_another_meaning_is_prefixed(tmp_path):
    source = with_columns(write_v21(tmp_path / "v21"), state=lambda n: [n / 2, n / 4])
    take(source, tmp_path / "d", map=("state=joint_states",))
    features = exported_features(tmp_path / "d", tmp_path / "out")
    assert "telemetry.observation.state" in features
    found = table(tmp_path / "out")
    assert found["observation.state"].to_pylist()[3] == [1.5, 0.75]
    assert found["telemetry.observation.state"].to_pylist()[3] == [3.0, 0.0]


def test_no_column_replaces_another_one_of_the_same_key(tmp_path):
    columns = {"speed": lambda n: [n / 2, 0.0], "telemetry.velocity": lambda n: [n / 4, 1.0]}
    source = with_columns(write_v21(tmp_path / "v21"), **columns)
    take(source, tmp_path / "d", map=("speed=joint_states/velocity:a,b",))
    exported_features(tmp_path / "d", tmp_path / "out")
    found = table(tmp_path / "out")
    assert found["telemetry.velocity"].to_pylist()[3] == [1.5, 0.0]
    assert found["telemetry.telemetry.velocity"].to_pylist()[3] == [0.75, 1.0]


def test_a_stream_can_be_left_out(tmp_path):
    take(with_columns(write_v21(tmp_path / "v21"), **EXTRA), tmp_path / "d")
    rows_config = RowConfig(without=("next.reward",))
    assert "next.reward" not in exported_features(tmp_path / "d", tmp_path / "out", rows=rows_config)
    with pytest.raises(UnknownNameError, match="nextreward"):
        exported_features(tmp_path / "d", tmp_path / "none", rows=RowConfig(without=("nextreward",)))


@pytest.mark.parametrize(
    "key", ["../../escape", "a/b", ".hidden", "", "x" * 300, "a\nb", "next.success", "taken", 3, None]
)
def test_a_key_of_a_stored_episode_that_is_no_plain_name_is_not_used(tmp_path, key):
    take(write_v21(tmp_path / "v21"), tmp_path / "d")
    path = tmp_path / "d" / "episode_000000.zarr" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["source"]["keys"]["cameras/top"] = key
    path.write_text(json.dumps(metadata))
    episode = Dataset.open(tmp_path / "d").episodes[0]
    derived = {"cameras/top": "observation.images.top", "taken/value": "taken"}
    assert original_keys(episode, "lerobot", derived, {"next.success"}) == derived
    assert original_keys(episode, "replay-buffer", derived) == derived


def test_keys_of_a_damaged_origin_are_ignored(tmp_path):
    take(write_v21(tmp_path / "v21"), tmp_path / "d")
    path = tmp_path / "d" / "episode_000000.zarr" / "zarr.json"
    text = path.read_text()
    for origin in ("lerobot", {"format": "lerobot", "keys": ["a"]}, None):
        metadata = json.loads(text)
        metadata["attributes"]["source"] = origin
        path.write_text(json.dumps(metadata))
        episode = Dataset.open(tmp_path / "d").episodes[0]
        assert original_keys(episode, "lerobot", {"cameras/top": "a"}) == {"cameras/top": "a"}
