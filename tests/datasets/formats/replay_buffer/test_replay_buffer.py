import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.replay_buffer.arrays import chunks_of
from waldo.datasets.formats.replay_buffer.format import ReplayBufferConfig
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.reading.row_config import RowConfig
from waldo.errors import FileError


def take(source, target, robot="", **settings):
    return import_dataset(source, target, ImportConfig(**settings), robot=robot)


def opened(path):
    return zarr.open_group(path, mode="r", zarr_format=2)


def write_buffer(path, ends=(4, 9), **arrays):
    """Write a replay buffer as diffusion_policy lays it out."""
    from numcodecs import Blosc

    root = zarr.open_group(path, mode="w", zarr_format=2)
    data, meta = root.create_group("data"), root.create_group("meta")
    for key, values in arrays.items():
        data.create_array(key, data=values, compressors=Blosc("lz4", 5, 0), config={"write_empty_chunks": True})
    meta.create_array("episode_ends", data=np.array(ends, np.int64), compressors=None)
    return path


def images(rows, size=(24, 32)):
    return np.random.default_rng(0).integers(0, 256, (rows, *size, 3), np.uint8)


# out


def test_the_layout_is_diffusion_policys(record, script, tmp_path):
    dataset = record(script(), script(outcome="failure"), script(seed=1, task="put it down", seconds=0.5))
    result = export_dataset(dataset, tmp_path / "out", ReplayBufferConfig())
    assert (result.episodes, result.rows, result.frames_encoded, result.unselected) == (2, 45, 90, 1)
    out = tmp_path / "out"
    assert not list(out.rglob("zarr.json"))
    meta = json.loads((out / "meta" / "episode_ends" / ".zarray").read_text())
    assert (meta["dtype"], meta["compressor"], meta["shape"]) == ("<i8", None, [2])
    meta = json.loads((out / "data" / "cameras_front" / ".zarray").read_text())
    assert meta["compressor"] == {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 0, "blocksize": 0}
    assert (meta["dtype"], meta["order"], meta["filters"]) == ("|u1", "C", None)
    root = opened(out)
    assert root["meta/episode_ends"][:].tolist() == [30, 45]
    chosen = [dataset.episode(0), dataset.episode(2)]
    assert np.array_equal(root["data/cameras_front"][:30], chosen[0].frames("cameras/front"))
    assert np.array_equal(root["data/cameras_wrist"][30:], chosen[1].frames("cameras/wrist"))
    state = np.concatenate([episode.values("joints/state", "position")[::2] for episode in chosen])
    assert np.array_equal(root["data/state"][:], state)
    assert all(array.shape[0] == 45 for _, array in root["data"].arrays())


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks"),
    [
        ((1000, 7), "f4", (1000, 7)),
        ((1_000_000, 7), "f4", (71429, 7)),
        ((500, 480, 640, 3), "u1", (3, 480, 640, 3)),
        ((500, 1080, 1920, 3), "u1", (1, 348, 1920, 3)),
        ((10, 96, 96, 3), "f4", (10, 96, 96, 3)),
        ((5,), "i8", (5,)),
    ],
)
def test_chunks_are_those_of_diffusion_policy(shape, dtype, chunks):
    # Computed with its get_optimal_chunks.
    assert chunks_of(shape, np.dtype(dtype)) == chunks


def test_an_export_can_be_imported_and_exported_again(record, script, tmp_path):
    dataset = record(script(without_frames={"cameras/wrist": [7]}), script(seed=1, task="put it down"))
    export_dataset(dataset, tmp_path / "one", ReplayBufferConfig())
    result = take(tmp_path / "one", tmp_path / "back")
    assert (result.episodes, result.skipped, result.notes) == (2, {}, [])
    back = Dataset.open(tmp_path / "back")
    assert back.robot == "tiny"
    for before, after in zip(dataset.episodes, back.episodes, strict=True):
        assert (after.task, after.outcome) == (before.task, "success")
        assert np.array_equal(after.time_ns("joints/state"), before.time_ns("cameras/front"))
        assert np.array_equal(after.frames("cameras/front"), before.frames("cameras/front"))
        assert after.camera("cameras/front").codec == "lossless"
        assert after.field("joints/state", "velocity") == before.field("joints/state", "velocity")
        assert after.field("motors", "winding").unit == "°C"
        assert after.streams["joints/state"].rate_hz == 30
    export_dataset(back, tmp_path / "two", ReplayBufferConfig())
    one, two = opened(tmp_path / "one")["data"], opened(tmp_path / "two")["data"]
    assert sorted(one.array_keys()) == sorted(two.array_keys())
    for key in one.array_keys():
        if key != "telemetry_staleness":
            assert np.array_equal(one[key][:], two[key][:], equal_nan=key.startswith("telemetry")), key


def test_what_a_replay_buffer_cannot_store_is_noted(record, script, tmp_path):
    result = export_dataset(record(script()), tmp_path / "out", ReplayBufferConfig(rows=RowConfig(environment=False)))
    assert result.notes == [
        "Streams are resampled to one rate; native rates, receipt and publication times stay in the recording.",
        "The robot's numbers are float32; labels, units, tasks and outcomes are in attributes that only waldo reads.",
        "The environment state is not exported.",
    ]


def test_an_export_that_fails_leaves_no_target(record, script, tmp_path):
    dataset = record(script())

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", ReplayBufferConfig(), progress=fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset"]
    with pytest.raises(FileError) as error:
        export_dataset(dataset, tmp_path, ReplayBufferConfig())
    assert str(error.value) == f"{tmp_path}: already exists; choose another folder, or delete this one first"


# in


def test_a_buffer_of_another_project(tmp_path):
    shown = images(9)
    source = write_buffer(
        tmp_path / "pusht.zarr",
        img=shown.astype(np.float32),
        agent_pos=np.arange(18, dtype=np.float32).reshape(9, 2),
        action=np.arange(18, dtype=np.float64).reshape(9, 2) / 3,
        keypoint=np.zeros((9, 4, 2), np.float32),
        n_contacts=np.full((9,), 2, np.int64),
    )
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.encoded, result.skipped) == (2, 9, {})
    assert sorted(result.notes) == [
        "The replay buffer has no timestamps: rows are numbered at 10 Hz from 2000-01-01; see --fps.",
        "The source does not name a robot; pass --robot.",
        "cameras/img: float images are converted to uint8, which is exact for whole numbers.",
        "keypoint: rows of shape (4, 2) are flattened.",
    ]
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.robot == "unknown"
    second = dataset.episodes[1]
    assert np.array_equal(second.frames("cameras/img"), shown[4:])
    assert np.array_equal(second.values("joints/state", "position"), np.arange(8, 18).reshape(5, 2))
    assert np.array_equal(second.values("joints/command", "position"), np.arange(8, 18).reshape(5, 2) / 3)
    assert second.values("n_contacts", "value").tolist() == [[2]] * 5
    assert second.streams["joints/state"].rate_hz == 10
    assert second.attributes["clock"] == "nominal"
    assert sum(report.problems for report in check_dataset(dataset)) == 0
    assert take(source, tmp_path / "slow", fps=4).episodes == 2
    assert np.diff(Dataset.open(tmp_path / "slow").episodes[0].time_ns("joints/state"))[0] == 250_000_000


def test_keys_are_the_same_after_a_round_trip(tmp_path):
    numbers = np.arange(18, dtype=np.float32).reshape(9, 2)
    arrays = {"img": images(9), "robot_joint": numbers, "action": numbers + 1, "keypoint": numbers / 2}
    arrays |= {"stage": np.arange(9)[:, None] + 2**40, "contact": numbers > 6, "wrench": numbers / np.float64(3)}
    source = write_buffer(tmp_path / "source", **arrays)
    take(source, tmp_path / "d", outcome="success")
    config = ReplayBufferConfig(rows=RowConfig(fps=10))
    export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", config)
    found = opened(tmp_path / "out")["data"]
    assert {*found.array_keys()} == {*arrays, "timestamp_ns", "telemetry_staleness"}
    for key, values in arrays.items():
        assert np.array_equal(found[key][:], values)
        assert found[key].dtype == values.dtype


def test_true_timestamps_are_kept(tmp_path):
    stamps = 1.7e9 + np.array([0, 0.1, 0.2, 0.31, 0.0, 0.1, 0.2, 0.3, 0.4])
    action = np.zeros((9, 2), np.float32)
    source = write_buffer(
        tmp_path / "real", action=action, timestamp=stamps, robot_joint=action, robot_joint_vel=action
    )
    result = take(source, tmp_path / "d", robot="ur5")
    assert result.notes == []
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.array_equal(episode.time_ns("joints/state"), np.round(stamps[:4] * 1e9).astype(np.int64))
    assert [field.name for field in episode.streams["joints/state"].fields] == ["position", "velocity"]
    assert (episode.robot, episode.streams["joints/state"].rate_hz) == ("ur5", 10)


def test_images_of_other_kinds(tmp_path):
    depth = np.random.default_rng(0).integers(0, 2**16, (4, 20, 30), np.uint16)
    meters = np.array([[0.5, np.nan], [-1.0, 70.0]], np.float32).repeat(16, 0).repeat(16, 1)[None].repeat(4, 0)
    shown = images(4)
    source = write_buffer(
        tmp_path / "b",
        ends=(4,),
        front_depth=depth,
        head_depth=meters,
        gray=shown[..., 0],
        first=np.moveaxis(shown, 3, 1),
        unit=shown / np.float32(255),
        small=images(4, (8, 8)),
        points=np.random.default_rng(0).normal(size=(4, 20, 20, 3)),
    )
    result = take(source, tmp_path / "d", robot="r")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.array_equal(episode.frames("depth/front_depth"), depth)
    corners = episode.frames("depth/head_depth")[0]
    assert [corners[0, 0], corners[0, 31], corners[31, 0], corners[31, 31]] == [500, 0, 0, 0]
    assert np.array_equal(episode.frames("cameras/gray")[..., 1], shown[..., 0])
    assert np.array_equal(episode.frames("cameras/first"), shown)
    assert np.array_equal(episode.frames("cameras/unit"), shown)
    assert episode.values("small", "value").shape == (4, 8 * 8 * 3)
    assert episode.values("points", "value").shape == (4, 20 * 20 * 3)
    assert "depth/head_depth: depth is rounded from meters to millimeters; unknown depth becomes 0." in result.notes
    assert "cameras/unit: float images from 0 to 1 are rounded to uint8." in result.notes


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
            "array data/action has dtype '|O', expected numbers",
        ),
        (
            {"filters": [{"id": "pickle", "protocol": 5}]},
            "array data/action uses the codec 'pickle'; only these codecs are supported: blosc,",
        ),
        (
            {"compressor": {"id": "msgpack2"}},
            "array data/action uses the codec 'msgpack2'; only these codecs are supported: blosc,",
        ),
        ({"dtype": [["a", "<f4"]]}, "array data/action has dtype [['a', '<f4']], expected numbers"),
    ],
)
def test_what_could_run_code_is_refused_before_it_is_read(tmp_path, monkeypatch, changed, message):
    import pickle

    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("a pickle was loaded"))
    source = write_buffer(tmp_path / "b", action=np.zeros((9, 2)))
    change(source / "data" / "action" / ".zarray", **changed)
    skipped = take(source, tmp_path / "d").skipped
    assert list(skipped) == ["0", "1"]
    assert all(why.startswith(f"{source}: {message}") for why in skipped.values())


def test_broken_buffers_are_reported(tmp_path):
    source = write_buffer(tmp_path / "b", action=np.zeros((9, 2)), ends=(5, 4))
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert (
        str(error.value)
        == f"{source}: meta/episode_ends is [5, 4] ..., expected non-decreasing integers; fetch the file again"
    )
    shutil.rmtree(source)
    write_buffer(source, action=np.zeros((9, 2)), ends=(4, 4, 12))
    skipped = take(source, tmp_path / "d").skipped
    assert skipped == {
        "1": "episode 1: the episode has no rows",
        "2": "episode 2: action has 9 rows, expected at least 12",
    }
    (source / "data" / "action" / "0.0").unlink()
    assert "action: chunks are missing in the source and are read as zeros." in take(source, tmp_path / "e").notes


@pytest.mark.parametrize("nbytes", [-1, -(2**31), 2**31 - 1])
def test_a_chunk_that_states_an_impossible_size_is_named(tmp_path, nbytes):
    source = write_buffer(tmp_path / "b", action=np.zeros((9, 2), np.float32), state=np.zeros((9, 2), np.float32))
    path = source / "data" / "action" / "0.0"
    data = bytearray(path.read_bytes())
    data[4:8] = nbytes.to_bytes(4, "little", signed=True)
    path.write_bytes(data)
    result = take(source, tmp_path / "d", robot="r")
    assert list(result.skipped) == ["0", "1"]
    assert "array data/action cannot be read" in result.skipped["0"]


def test_a_damaged_chunk_is_named(tmp_path):
    source = write_buffer(tmp_path / "b", ends=(9,), action=np.random.default_rng(0).normal(size=(9, 2)))
    chunk = source / "data" / "action" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    (why,) = take(source, tmp_path / "d").skipped.values()
    expected = (
        f"{source}: chunk data/action/0.0 has 20 bytes, expected 160; the file is truncated or damaged: fetch it again"
    )
    assert why == expected


def test_a_second_run_takes_only_what_is_new(tmp_path):
    action = np.arange(18.0).reshape(9, 2)
    source = write_buffer(tmp_path / "b", action=action)
    assert take(source, tmp_path / "d").episodes == 2
    shutil.rmtree(source)
    write_buffer(source, ends=(4, 9, 12), action=np.concatenate([action, np.ones((3, 2))]))
    again = take(source, tmp_path / "d")
    assert (again.episodes, again.existing) == (1, 2)


def test_names_in_a_zip_cannot_leave_it(tmp_path):
    write_buffer(tmp_path / "b", action=np.zeros((9, 2)))
    path = tmp_path / "b.zarr.zip"
    with zipfile.ZipFile(path, "w") as file:
        for found in (tmp_path / "b").rglob("*"):
            if found.is_file():
                file.write(found, found.relative_to(tmp_path / "b"))
        file.writestr("data/../../evil/.zarray", (tmp_path / "b" / "data" / "action" / ".zarray").read_text())
    with pytest.raises(FileError) as error:
        take(path, tmp_path / "d")
    assert str(error.value) == f"{path}: array name '../../evil' is outside the group; do not trust this file"


@pytest.mark.parametrize("kind", ["chunks", "shards", "blosc", "v2 keys", "zip"])
def test_zarr_v3(tmp_path, kind):
    path = tmp_path / "buffer"
    root = zarr.open_group(path, mode="w", zarr_format=3)
    data = root.create_group("data")
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 32, 3), np.uint8)
    options = {
        "shards": {"shards": (10, 24, 32, 3)},
        "blosc": {"compressors": zarr.codecs.BloscCodec()},
        "v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    }.get(kind, {})
    data.create_array("img", data=image, chunks=(5, 24, 32, 3), **options)
    data.create_array("action", data=np.arange(40.0).reshape(20, 2))
    data.create_array("state", data=np.arange(40.0).reshape(20, 2))
    data.create_array("words", shape=(20,), dtype=str)[:] = np.array(["fold"] * 20)
    root.create_group("meta").create_array("episode_ends", data=np.array([8, 20]))
    if kind == "zip":
        path = Path(shutil.make_archive(str(tmp_path / "buffer.zarr"), "zip", path))
    result = import_dataset(path, tmp_path / "d", ImportConfig(), robot="r")
    assert (result.format, result.episodes, result.skipped) == ("replay-buffer", 2, {})
    assert "Not imported: text columns (words)." in result.notes
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert np.array_equal(episode.frames("cameras/img"), image[8:])
    assert episode.values("joints/command", "position").tolist() == np.arange(40.0).reshape(20, 2)[8:].tolist()
    if kind == "blosc":
        chunk = path / "data" / "img" / "c" / "0" / "0" / "0" / "0"
        chunk.write_bytes(chunk.read_bytes()[:-5])
        skipped = import_dataset(path, tmp_path / "e", ImportConfig(), robot="r").skipped
        assert "chunk data/img/c/0/0/0/0 has" in skipped["0"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data_type", {"name": "numpy.object"}, "has the data type"),
        ("codecs", [{"name": "bytes"}, {"name": "my.codec"}], "uses the codec 'my.codec'"),
        ("codecs", [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "evil"}]}}], "the codec 'evil'"),
        ("codecs", "bytes", "uses the codec 'None'"),
    ],
)
def test_zarr_v3_arrays_that_could_run_code_are_refused(tmp_path, key, value, message):
    root = zarr.open_group(tmp_path / "buffer", mode="w", zarr_format=3)
    root.create_group("data").create_array("action", data=np.arange(40.0).reshape(20, 2))
    root.create_group("meta").create_array("episode_ends", data=np.array([20]))
    path = tmp_path / "buffer" / "data" / "action" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    (why,) = import_dataset(tmp_path / "buffer", tmp_path / "d", ImportConfig(), robot="r").skipped.values()
    assert message in why


def test_texts_of_zarr_v2_are_left_out_by_name(tmp_path):
    root = zarr.open_group(tmp_path / "buffer", mode="w", zarr_format=2)
    data = root.create_group("data")
    data.create_array("action", data=np.arange(40.0).reshape(20, 2))
    data.create_array("hint", data=np.array([b"fold"] * 20))
    data.create_array("words", shape=(20,), dtype=str)[:] = np.array(["fold"] * 20)
    root.create_group("meta").create_array("episode_ends", data=np.array([20]))
    result = import_dataset(tmp_path / "buffer", tmp_path / "d", ImportConfig(), robot="r")
    assert result.skipped == {}
    assert "Not imported: text columns (hint, words)." in result.notes
    assert {row.key: row.why for row in result.mapped if not row.stream} == {"hint": "text", "words": "text"}
