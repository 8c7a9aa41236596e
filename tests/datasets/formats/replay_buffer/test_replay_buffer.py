import json
import shutil
import zipfile

import numpy as np
import pytest
import zarr

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.replay_buffer import export, umi_export
from waldo.datasets.formats.replay_buffer.export import chunks_of
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.lerobot.export import ExportConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.selection import Selection
from waldo.datasets.streams import Field, ScalarStream, VideoStream
from waldo.errors import FileError

pytestmark = pytest.mark.usefixtures("no_sync")

ALL = ExportConfig(selection=Selection())


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


def pictures(rows, size=(24, 32)):
    return np.random.default_rng(0).integers(0, 256, (rows, *size, 3), np.uint8)


# out


def test_the_layout_is_diffusion_policys(record, script, tmp_path):
    dataset = record(script(), script(outcome="failure"), script(seed=1, task="put it down", seconds=0.5))
    result = export.export(dataset, tmp_path / "out", ExportConfig())
    assert (result.episodes, result.rows, result.frames_encoded, result.skipped) == (2, 45, 90, 1)
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
    # Reckoned with its get_optimal_chunks.
    assert chunks_of(shape, np.dtype(dtype)) == chunks


def test_there_and_back(record, script, tmp_path):
    dataset = record(script(without_frames={"cameras/wrist": [7]}), script(seed=1, task="put it down"))
    export.export(dataset, tmp_path / "one", ExportConfig())
    result = take(tmp_path / "one", tmp_path / "back")
    assert (result.episodes, result.left_out, result.notes) == (2, {}, [])
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
    export.export(back, tmp_path / "two", ExportConfig())
    one, two = opened(tmp_path / "one")["data"], opened(tmp_path / "two")["data"]
    assert sorted(one.array_keys()) == sorted(two.array_keys())
    for key in one.array_keys():
        if key != "telemetry_staleness":
            assert np.array_equal(one[key][:], two[key][:], equal_nan=key.startswith("telemetry")), key


def test_what_a_replay_buffer_does_not_hold_is_said(record, script, tmp_path):
    result = export.export(record(script()), tmp_path / "out", ExportConfig(environment=False))
    assert result.notes == [
        "Streams are brought to one rate; native rates, receipt and publication times stay in the recording.",
        "Numbers are float32; labels, units, tasks and outcomes stand in attributes that only waldo reads.",
        "The environment's state is not exported.",
    ]


def test_an_export_that_fails_leaves_no_target(record, script, tmp_path):
    dataset = record(script())

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.export(dataset, tmp_path / "out", ExportConfig(), fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset"]
    with pytest.raises(FileError) as error:
        export.export(dataset, tmp_path, ExportConfig())
    assert str(error.value) == f"{tmp_path}: is not empty; choose another folder or remove it"


# in


def test_a_buffer_of_somebody_else(tmp_path):
    shown = pictures(9)
    source = write_buffer(
        tmp_path / "pusht.zarr",
        img=shown.astype(np.float32),
        agent_pos=np.arange(18, dtype=np.float32).reshape(9, 2),
        action=np.arange(18, dtype=np.float64).reshape(9, 2) / 3,
        keypoint=np.zeros((9, 4, 2), np.float32),
        n_contacts=np.full((9,), 2, np.int64),
    )
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.encoded, result.left_out) == (2, 9, {})
    assert sorted(result.notes) == [
        "A replay buffer keeps no times: rows are counted at 10 Hz from 2000-01-01; see --fps.",
        "The source names no robot; name it with --robot.",
        "cameras/img: pictures of floats are kept as bytes, which is exact where they are whole numbers.",
        "keypoint: rows of shape (4, 2) are kept as lists.",
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


def test_pictures_of_other_kinds(tmp_path):
    depth = np.random.default_rng(0).integers(0, 2**16, (4, 20, 30), np.uint16)
    metres = np.array([[0.5, np.nan], [-1.0, 70.0]], np.float32).repeat(16, 0).repeat(16, 1)[None].repeat(4, 0)
    shown = pictures(4)
    source = write_buffer(
        tmp_path / "b",
        ends=(4,),
        front_depth=depth,
        head_depth=metres,
        grey=shown[..., 0],
        first=np.moveaxis(shown, 3, 1),
        unit=shown / np.float32(255),
        small=pictures(4, (8, 8)),
        points=np.random.default_rng(0).normal(size=(4, 20, 20, 3)),
    )
    result = take(source, tmp_path / "d", robot="r")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.array_equal(episode.frames("depth/front_depth"), depth)
    corners = episode.frames("depth/head_depth")[0]
    assert [corners[0, 0], corners[0, 31], corners[31, 0], corners[31, 31]] == [500, 0, 0, 0]
    assert np.array_equal(episode.frames("cameras/grey")[..., 1], shown[..., 0])
    assert np.array_equal(episode.frames("cameras/first"), shown)
    assert np.array_equal(episode.frames("cameras/unit"), shown)
    assert episode.values("small", "value").shape == (4, 8 * 8 * 3)
    assert episode.values("points", "value").shape == (4, 20 * 20 * 3)
    assert "depth/head_depth: depth in metres is rounded to millimetres, and 0 where it is not known." in result.notes
    assert "cameras/unit: pictures of floats from 0 to 1 are rounded to bytes." in result.notes


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
            "array data/action is of '|O', expected numbers",
        ),
        ({"filters": [{"id": "pickle", "protocol": 5}]}, "array data/action is packed with 'pickle', expected one of"),
        ({"compressor": {"id": "msgpack2"}}, "array data/action is packed with 'msgpack2', expected one of blosc,"),
        ({"dtype": [["a", "<f4"]]}, "array data/action is of [['a', '<f4']], expected numbers"),
    ],
)
def test_what_could_run_code_is_refused_before_it_is_read(tmp_path, monkeypatch, changed, says):
    import pickle

    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("a pickle was loaded"))
    source = write_buffer(tmp_path / "b", action=np.zeros((9, 2)))
    change(source / "data" / "action" / ".zarray", **changed)
    left_out = take(source, tmp_path / "d").left_out
    assert list(left_out) == ["0", "1"]
    assert all(why.startswith(f"{source}: {says}") for why in left_out.values())


def test_broken_buffers_are_said(tmp_path):
    source = write_buffer(tmp_path / "b", action=np.zeros((9, 2)), ends=(5, 4))
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert str(error.value) == f"{source}: its meta/episode_ends is [5, 4] ..., expected rising whole numbers"
    shutil.rmtree(source)
    write_buffer(source, action=np.zeros((9, 2)), ends=(4, 4, 12))
    left_out = take(source, tmp_path / "d").left_out
    assert left_out == {
        "1": "episode 1: has no row",
        "2": "episode 2: action ends at row 9, expected 12",
    }
    (source / "data" / "action" / "0.0").unlink()
    assert "action: chunks are missing in the source and are read as zeros." in take(source, tmp_path / "e").notes


def test_a_damaged_chunk_is_named(tmp_path):
    source = write_buffer(tmp_path / "b", ends=(9,), action=np.random.default_rng(0).normal(size=(9, 2)))
    chunk = source / "data" / "action" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    (why,) = take(source, tmp_path / "d").left_out.values()
    expected = f"{source}: data/action/0.0 is 20 bytes long, expected 160; the file is cut or damaged: fetch it again"
    assert why == expected


def test_a_second_run_takes_only_what_is_new(tmp_path):
    action = np.arange(18.0).reshape(9, 2)
    source = write_buffer(tmp_path / "b", action=action)
    assert take(source, tmp_path / "d").episodes == 2
    shutil.rmtree(source)
    write_buffer(source, ends=(4, 9, 12), action=np.concatenate([action, np.ones((3, 2))]))
    again = take(source, tmp_path / "d")
    assert (again.episodes, again.there) == (1, 2)


# UMI


@pytest.fixture
def umi(tmp_path):
    """Return a dataset with the pose of a gripper and a camera of UMI's size, and its rows."""
    rng = np.random.default_rng(0)
    labels = {"eef_pos": "xyz", "eef_rot_axis_angle": "xyz", "gripper_width": "w"}
    streams = [
        ScalarStream(name=f"robot0_{name}", rate_hz=30.0, fields=(Field("value", "m", tuple(letters)),))
        for name, letters in labels.items()
    ]
    camera = VideoStream(name="cameras/camera0", width=224, height=224, rate_hz=30.0, codec="lossless")
    dataset = Dataset.create(tmp_path / "umi", robot="umi")
    values = {s.name: rng.normal(size=(6, len(s.fields[0].labels))).astype(np.float32) for s in streams}
    shown = rng.integers(0, 256, (6, 224, 224, 3), np.uint8)
    with dataset.lock():
        writer = dataset.begin([*streams, camera], {"task": "cup"}, back_pressure="wait")
        for row in range(6):
            stamps = {"header_ns": row * 33_333_333, "receipt_ns": row * 33_333_333, "sequence": row + 1}
            for stream in streams:
                writer.row(stream.name, values={"value": values[stream.name][row]}, **stamps)
            writer.frame(camera.name, image=shown[row], **stamps)
        writer.save("success")
    return dataset, values, shown


def test_umis_layout(umi, tmp_path):
    dataset, values, shown = umi
    out = tmp_path / "out.zarr.zip"
    result = umi_export.export(dataset, out, ALL)
    assert (result.rows, result.frames_encoded) == (6, 6)
    assert result.notes == [
        "UMI keeps no times, tasks or outcomes; streams are brought to one rate by their nearest samples.",
        "The start and end pose of each demonstration are its first and last row's.",
    ]
    with zipfile.ZipFile(out) as file:
        meta = json.loads(file.read("data/camera0_rgb/.zarray"))
    known = ("level", "effort", "distance", "lossless", "decodingspeed", "photometric", "planar", "usecontainer")
    assert meta["compressor"].keys() <= {"id", *known, "index", "keeporientation", "numthreads"}
    assert (meta["compressor"]["id"], meta["chunks"]) == ("imagecodecs_jpegxl", [1, 224, 224, 3])
    store = zarr.storage.ZipStore(out, mode="r")
    root = opened(store)
    assert np.array_equal(root["data/camera0_rgb"][:], shown)
    for name, expected in values.items():
        assert np.array_equal(root[f"data/{name}"][:], expected)
    assert root["data/robot0_demo_end_pose"].shape == (6, 6)
    assert np.allclose(root["data/robot0_demo_end_pose"][2, :3], values["robot0_eef_pos"][-1])
    store.close()


def test_umi_there_and_back(umi, tmp_path):
    dataset, values, shown = umi
    umi_export.export(dataset, tmp_path / "one.zarr.zip", ALL)
    result = take(tmp_path / "one.zarr.zip", tmp_path / "back", fps=30)
    assert result.left_out == {}
    episode = Dataset.open(tmp_path / "back").episodes[0]
    assert np.array_equal(episode.frames("cameras/camera0"), shown)
    assert np.array_equal(episode.values("robot0_eef_pos", "value"), values["robot0_eef_pos"])
    umi_export.export(Dataset.open(tmp_path / "back"), tmp_path / "two.zarr.zip", ALL)
    stores = [zarr.storage.ZipStore(tmp_path / f"{name}.zarr.zip", mode="r") for name in ("one", "two")]
    one, two = (opened(store)["data"] for store in stores)
    assert sorted(one.array_keys()) == sorted(two.array_keys())
    assert all(np.array_equal(one[key][:], two[key][:]) for key in one.array_keys())
    for store in stores:
        store.close()


def test_umi_without_a_pose_says_what_is_missing(record, script, tmp_path):
    dataset = record(script())
    with pytest.raises(umi_export.NoPoseError) as error:
        umi_export.export(dataset, tmp_path / "out.zarr.zip", ExportConfig())
    assert str(error.value) == (
        f"{dataset.path}: UMI needs the pose of the end effector: the streams robot0_eef_pos, "
        "robot0_eef_rot_axis_angle, robot0_gripper_width are missing (there are joints/state, joints/command, "
        "joints/sent, motors, environment, cameras/front, cameras/wrist); record them, or export to lerobot or "
        "replay-buffer"
    )
    assert not (tmp_path / "out.zarr.zip").exists()


def test_other_sizes_are_cut_and_scaled(make_image):
    square = umi_export.to_square(np.repeat(np.repeat(make_image(3), 8, 0), 8, 1))
    assert square.shape == (224, 224, 3)
    assert np.array_equal(umi_export.to_square(square), square)


def test_a_cut_zip_is_said(umi, tmp_path):
    out = tmp_path / "out.zarr.zip"
    umi_export.export(umi[0], out, ALL)
    out.write_bytes(out.read_bytes()[:-500])
    with pytest.raises(FileError) as error:
        take(out, tmp_path / "d")
    expected = f"{out}: cannot be opened as a zip (File is not a zip file); fetch the file again"
    assert str(error.value) == expected


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
    assert str(error.value) == f"{path}: names an array '../../evil', which lies outside; do not trust this file"
