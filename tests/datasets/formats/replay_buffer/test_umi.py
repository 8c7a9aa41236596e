import json
import zipfile

import numpy as np
import pytest
import zarr

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.replay_buffer.end_effector import EndEffectorKinematics
from waldo.datasets.formats.replay_buffer.format import UmiConfig
from waldo.datasets.formats.replay_buffer.umi import to_square
from waldo.datasets.formats.replay_buffer.umi_poses import NoPoseError
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.selection import Selection
from waldo.datasets.streams import Field, ScalarStream, VideoStream
from waldo.errors import FileError, InvalidValueError
from waldo.robots.presets.so101 import SO101

ROWS = 6
CAMERA = VideoStream(name="cameras/camera0", width=224, height=224, rate_hz=30.0, codec="lossless")


def take(source, target, robot="", **settings):
    return import_dataset(source, target, ImportConfig(**settings), robot=robot)


def arrays(path):
    """Return the arrays of a zarr.zip in memory."""
    store = zarr.storage.ZipStore(path, mode="r")
    try:
        data = zarr.open_group(store, mode="r", zarr_format=2)["data"]
        return {key: data[key][:] for key in data.array_keys()}
    finally:
        store.close()


def record_rows(folder, robot, values, images, *, skip=(), shift_ns=0):
    """Record an episode from stream -> (field, unit, labels, values).

    `skip` are rows without joint samples, `shift_ns` is the offset of the clock of the joints.
    """
    streams = [
        ScalarStream(name=name, rate_hz=30.0, fields=(Field(field, unit, labels),))
        for name, (field, unit, labels, _) in values.items()
    ]
    dataset = Dataset.create(folder, robot=robot)
    with dataset.lock():
        writer = dataset.begin([*streams, CAMERA], {"task": "cup"}, back_pressure="wait")
        for row in range(ROWS):
            stamps = {"header_ns": row * 33_333_333, "receipt_ns": row * 33_333_333, "sequence": row + 1}
            for name, (field, _, _, column) in values.items():
                if row not in skip:
                    own = stamps | {"header_ns": stamps["header_ns"] + shift_ns}
                    writer.row(name, values={field: column[row]}, **own)
            writer.frame(CAMERA.name, image=images[row], **stamps)
        writer.save("success")
    return dataset


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (ROWS, 224, 224, 3), np.uint8)


@pytest.fixture
def gripper(tmp_path, images):
    """Return a dataset of a handheld gripper with recorded poses, and their values."""
    rng = np.random.default_rng(0)
    labels = {"eef_pos": tuple("xyz"), "eef_rot_axis_angle": tuple("xyz"), "gripper_width": ("w",)}
    values = {
        f"robot0_{name}": ("value", "m", axes, rng.normal(size=(ROWS, len(axes))).astype(np.float32))
        for name, axes in labels.items()
    }
    dataset = record_rows(tmp_path / "gripper", "umi", values, images)
    return dataset, {name: entry[3] for name, entry in values.items()}


@pytest.fixture
def arm(tmp_path, images):
    """Return a dataset of an SO-101 that moves, and its joint positions."""
    rng = np.random.default_rng(2)
    positions = rng.uniform(SO101.lower, SO101.upper, (ROWS, 6)).astype(np.float32)
    values = {"joints/state": ("position", "rad", SO101.joint_names, positions)}
    return record_rows(tmp_path / "arm", "so101", values, images), positions


def test_the_layout_is_that_of_umi(gripper, images, tmp_path):
    dataset, values = gripper
    out = tmp_path / "out.zarr.zip"
    result = export_dataset(dataset, out, UmiConfig())
    assert (result.rows, result.frames_encoded) == (ROWS, ROWS)
    assert result.notes == [
        "UMI stores no times, tasks or outcomes; rows are the nearest samples at one rate.",
        "The start and end pose of each demonstration are those of its first and last row.",
    ]
    with zipfile.ZipFile(out) as file:
        meta = json.loads(file.read("data/camera0_rgb/.zarray"))
    known = ("level", "effort", "distance", "lossless", "decodingspeed", "photometric", "planar", "usecontainer")
    assert meta["compressor"].keys() <= {"id", *known, "index", "keeporientation", "numthreads"}
    assert (meta["compressor"]["id"], meta["chunks"]) == ("imagecodecs_jpegxl", [1, 224, 224, 3])
    found = arrays(out)
    assert np.array_equal(found["camera0_rgb"], images)
    for name, expected in values.items():
        assert np.array_equal(found[name], expected)
    assert found["robot0_demo_end_pose"].shape == (ROWS, 6)
    assert np.allclose(found["robot0_demo_end_pose"][2, :3], values["robot0_eef_pos"][-1])


def test_recorded_poses_survive_an_import(gripper, images, tmp_path):
    dataset, values = gripper
    export_dataset(dataset, tmp_path / "one.zarr.zip", UmiConfig())
    result = take(tmp_path / "one.zarr.zip", tmp_path / "back", fps=30)
    assert result.skipped == {}
    episode = Dataset.open(tmp_path / "back").episodes[0]
    assert np.array_equal(episode.frames("cameras/camera0"), images)
    assert np.array_equal(episode.values("robot0_eef_pos", "value"), values["robot0_eef_pos"])
    export_dataset(Dataset.open(tmp_path / "back"), tmp_path / "two.zarr.zip", UmiConfig(selection=Selection()))
    one, two = (arrays(tmp_path / f"{name}.zarr.zip") for name in ("one", "two"))
    assert sorted(one) == sorted(two)
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_poses_of_an_arm_are_computed_from_its_joints(arm, tmp_path):
    dataset, positions = arm
    out = tmp_path / "out.zarr.zip"
    result = export_dataset(dataset, out, UmiConfig())
    assert "End effector poses are computed from joints/state and the MJCF of so101, in its base frame." in result.notes
    found = arrays(out)
    expected = EndEffectorKinematics(SO101, SO101.end_effectors[0], SO101.joint_names).poses(positions)
    assert np.array_equal(found["robot0_eef_pos"], expected.position.astype(np.float32))
    assert np.array_equal(found["robot0_eef_rot_axis_angle"], expected.rotation.astype(np.float32))
    assert np.array_equal(found["robot0_gripper_width"][:, 0], expected.width.astype(np.float32))
    take(out, tmp_path / "back", robot="so101", fps=30)
    episode = Dataset.open(tmp_path / "back").episodes[0]
    assert np.array_equal(episode.values("robot0_eef_pos", "value"), found["robot0_eef_pos"])
    assert np.array_equal(episode.values("robot0_gripper_width", "value"), found["robot0_gripper_width"])


def test_an_episode_with_a_gap_or_nan_is_skipped(images, tmp_path):
    positions = np.zeros((ROWS, 6), np.float32)
    values = {"joints/state": ("position", "rad", SO101.joint_names, positions)}
    gap = record_rows(tmp_path / "gap", "so101", values, images, skip=(2, 3, 4))
    with pytest.raises(FileError, match=r"joints/state has 2 gaps, the longest 133 ms at 0\.03 s \(the limit"):
        export_dataset(gap, tmp_path / "gap.zarr.zip", UmiConfig(max_staleness_s=0.01))
    positions[3, 1] = np.nan
    broken = record_rows(tmp_path / "nan", "so101", values, images)
    with pytest.raises(FileError, match="joints/state has positions that are not finite"):
        export_dataset(broken, tmp_path / "nan.zarr.zip", UmiConfig())
    assert not list(tmp_path.glob("*.zip"))


def test_a_robot_without_end_effector_is_refused(record, script, tmp_path):
    dataset = record(script(seconds=0.2))
    with pytest.raises(NoPoseError) as error:
        export_dataset(dataset, tmp_path / "out.zarr.zip", UmiConfig())
    assert "UMI requires end effector poses, but robot0_eef_pos" in str(error.value)
    assert "cannot be computed for robot 'tiny' (unknown robot 'tiny'" in str(error.value)
    assert str(error.value).endswith("; export to lerobot or replay-buffer instead")
    assert not (tmp_path / "out.zarr.zip").exists()


def test_a_joint_state_of_another_robot_is_refused(images, tmp_path):
    values = {"joints/state": ("position", "rad", ("shoulder_pan", "wrist"), np.zeros((ROWS, 2), np.float32))}
    dataset = record_rows(tmp_path / "d", "so101", values, images)
    missing = "shoulder_lift, elbow_flex, wrist_flex, wrist_roll, gripper"
    with pytest.raises(FileError, match=f"joints/state lacks joints: {missing}"):
        export_dataset(dataset, tmp_path / "out.zarr.zip", UmiConfig())


def test_impossible_options_are_refused():
    with pytest.raises(InvalidValueError):
        UmiConfig(fps=0)
    with pytest.raises(InvalidValueError):
        UmiConfig(max_staleness_s=-1)
    assert UmiConfig(cameras=("none",)).cameras is None


def test_other_sizes_are_cropped_and_scaled():
    image = np.random.default_rng(0).integers(0, 256, (384, 512, 3), np.uint8)
    square = to_square(image)
    assert square.shape == (224, 224, 3)
    assert np.array_equal(to_square(square), square)


def test_a_truncated_zip_is_reported(gripper, tmp_path):
    out = tmp_path / "out.zarr.zip"
    export_dataset(gripper[0], out, UmiConfig())
    out.write_bytes(out.read_bytes()[:-500])
    with pytest.raises(FileError) as error:
        take(out, tmp_path / "d")
    expected = f"{out}: the zip file cannot be opened (File is not a zip file); fetch the file again"
    assert str(error.value) == expected


def test_a_stream_of_another_clock_needs_a_choice(images, tmp_path):
    values = {"joints/state": ("position", "rad", SO101.joint_names, np.zeros((ROWS, 6), np.float32))}
    dataset = record_rows(tmp_path / "device", "so101", values, images, shift_ns=10**12)
    with pytest.raises(FileError, match="--stamps joints/state=receipt"):
        export_dataset(dataset, tmp_path / "out.zarr.zip", UmiConfig())
    chosen = UmiConfig(stamps=("joints/state=receipt",))
    assert export_dataset(dataset, tmp_path / "out.zarr.zip", chosen).rows == ROWS
