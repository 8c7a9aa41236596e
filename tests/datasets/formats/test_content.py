"""Content decides what is new: names, compression and the cut of a file do not."""

import json
import shutil

import cv2
import h5py
import numpy as np
import pytest
import zarr
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.source import ImportConfig

START = 1_700_000_000_000_000_000


def take(source, target, **settings):
    return import_dataset(source, target, ImportConfig(**settings))


def aloha(path, *, rows=20, compression=None, still=False, color=200):
    """Write one episode; `still` has zeros instead of motion."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((rows, 14)) if still else np.arange(rows)[:, None] + np.zeros((1, 14))
    image = np.full((24, 32, 3), color, np.uint8)
    with h5py.File(path, "w") as file:
        for name in ("observations/qpos", "action"):
            file.create_dataset(name, data=values, compression=compression)
        frames = np.stack([np.roll(image * (row % 2), row, 1) for row in range(rows)])
        file.create_dataset("observations/images/top", data=frames, compression=compression)
    return path


def bag(path, *, messages=30, plugin=StoragePlugin.MCAP, compressed=False):
    """Write a bag of joint states and images."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compressed:
        writer.set_compression(
            CompressionMode.STORAGE if plugin == StoragePlugin.MCAP else CompressionMode.MESSAGE, CompressionFormat.ZSTD
        )
    store = types.typestore()
    with writer:
        kind = "sensor_msgs/msg/JointState"
        joints = writer.add_connection("/joint_states", kind, typestore=store)
        camera = writer.add_connection("/cam/image_raw", "sensor_msgs/msg/Image", typestore=store)
        for tick in range(messages):
            at = START + tick * 20_000_000
            none = np.zeros(0)
            state = types.new(
                kind, header=types.header(at), name=["a"], position=np.array([float(tick)]), velocity=none, effort=none
            )
            writer.write(joints, at, store.serialize_cdr(state, kind))
            image = types.new(
                "sensor_msgs/msg/Image",
                header=types.header(at),
                height=18,
                width=20,
                encoding="rgb8",
                is_bigendian=0,
                step=60,
                data=np.full(18 * 60, tick, np.uint8),
            )
            writer.write(camera, at, store.serialize_cdr(image, "sensor_msgs/msg/Image"))
    return path


def test_a_renamed_or_recompressed_hdf5_file_adds_nothing(tmp_path):
    take(aloha(tmp_path / "a" / "episode_0.hdf5"), tmp_path / "d")
    again = take(aloha(tmp_path / "b" / "other_name.hdf5", compression="gzip"), tmp_path / "d")
    assert (again.episodes, again.existing) == (0, 1)
    other = take(aloha(tmp_path / "c" / "episode_0.hdf5", color=100), tmp_path / "d")
    assert (other.episodes, other.existing) == (1, 0), "other images are other content"


@pytest.mark.parametrize(
    ("plugin", "compressed"),
    [
        (StoragePlugin.MCAP, False),
        (StoragePlugin.MCAP, True),
        (StoragePlugin.SQLITE3, False),
        (StoragePlugin.SQLITE3, True),
    ],
)
def test_a_renamed_recompressed_or_converted_bag_adds_nothing(tmp_path, plugin, compressed):
    take(bag(tmp_path / "first"), tmp_path / "d")
    again = take(bag(tmp_path / "second", plugin=plugin, compressed=compressed), tmp_path / "d")
    assert (again.episodes, again.existing, again.skipped) == (0, 1, {})


def test_a_single_mcap_file_of_a_bag_adds_nothing(tmp_path):
    take(bag(tmp_path / "first"), tmp_path / "d")
    (file,) = (tmp_path / "first").glob("*.mcap")
    shutil.copy(file, tmp_path / "alone.mcap")
    assert take(tmp_path / "alone.mcap", tmp_path / "d").existing == 1


def test_a_recompressed_replay_buffer_with_other_chunks_adds_nothing(tmp_path):
    for name, chunk in (("one", 4), ("two", 7)):
        root = zarr.open_group(tmp_path / name, mode="w", zarr_format=2)
        data = root.create_group("data")
        data.create_array("action", data=np.arange(40.0).reshape(20, 2), chunks=(chunk, 2))
        image = np.arange(20 * 24 * 32 * 3).reshape(20, 24, 32, 3).astype(np.uint8)
        data.create_array("img", data=image, chunks=(1, 24, 32, 3), compressors=None if chunk == 7 else "auto")
        root.create_group("meta").create_array("episode_ends", data=np.array([8, 20]))
    assert take(tmp_path / "one", tmp_path / "d").episodes == 2
    assert take(tmp_path / "two", tmp_path / "d").existing == 2


def test_a_part_of_an_imported_episode_adds_nothing(tmp_path):
    take(bag(tmp_path / "whole"), tmp_path / "d")
    part = take(bag(tmp_path / "part", messages=11), tmp_path / "d")
    assert (part.episodes, part.existing, part.skipped) == (0, 1, {})
    assert "part is not imported: episode 0 contains all of it." in part.notes
    assert len(Dataset.open(tmp_path / "d").indices) == 1
    longer = take(bag(tmp_path / "longer", messages=40), tmp_path / "d")
    assert longer.episodes == 1, "a longer recording has new content"


def test_equal_numbers_with_other_images_are_no_part(tmp_path):
    take(aloha(tmp_path / "a" / "0.hdf5", still=True), tmp_path / "d")
    other = take(aloha(tmp_path / "b" / "0.hdf5", still=True, rows=12, color=90), tmp_path / "d")
    assert (other.episodes, other.existing) == (1, 0)
    same = take(aloha(tmp_path / "c" / "0.hdf5", still=True, rows=12), tmp_path / "d")
    assert (same.episodes, same.existing) == (0, 1)


def test_equal_episodes_of_one_source_are_both_imported(tmp_path):
    for number in range(2):
        aloha(tmp_path / "a" / f"episode_{number}.hdf5")
    assert take(tmp_path / "a", tmp_path / "d").episodes == 2
    assert take(tmp_path / "a", tmp_path / "d").existing == 2


def test_a_png_that_is_compressed_more_has_the_same_content(tmp_path):
    pngs = set()
    image = np.arange(24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)
    for name, level in (("fast", 1), ("small", 9)):
        png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()
        pngs.add(png)
        (tmp_path / name).mkdir()
        with h5py.File(tmp_path / name / "0.hdf5", "w") as file:
            for key in ("observations/qpos", "action"):
                file[key] = np.arange(5.0)[:, None] + np.zeros((1, 14))
            rows = file.create_dataset("observations/images/top", (5,), dtype=h5py.vlen_dtype(np.uint8))
            for row in range(5):
                rows[row] = np.frombuffer(png, np.uint8)
    assert len(pngs) == 2
    take(tmp_path / "fast", tmp_path / "d")
    assert take(tmp_path / "small", tmp_path / "d").existing == 1
    assert np.array_equal(Dataset.open(tmp_path / "d").episodes[0].frames("cameras/top")[3], image[..., ::-1])


def test_episodes_of_an_earlier_version_are_known_by_name(tmp_path):
    source = aloha(tmp_path / "a" / "episode_0.hdf5")
    take(source, tmp_path / "d")
    path = tmp_path / "d" / "episode_000000.zarr" / "zarr.json"
    metadata = json.loads(path.read_text())
    origin = metadata["attributes"]["source"]
    del origin["digest_version"], origin["checkpoints"]
    origin["digest"] = "0" * 64
    path.write_text(json.dumps(metadata))
    assert "digest_version" not in Episode(path.parent).attributes["source"]
    assert take(source, tmp_path / "d").existing == 1
