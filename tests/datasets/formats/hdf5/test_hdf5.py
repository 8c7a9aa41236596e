import json

import cv2
import h5py
import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.quality.check import check_dataset
from waldo.errors import FileError

ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
ENVIRONMENT = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}


def take(source, target, robot="", **settings):
    return import_dataset(source, target, ImportConfig(**settings), robot=robot)


def images(rows, seed=0, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (rows, *size, 3), np.uint8)


# robomimic


def write_robomimic(path, *, demos=3, environment=None, sparse=True):
    """Write a file as robomimic lays it out."""
    metadata = environment if environment is not None else ENVIRONMENT
    if sparse and "env_kwargs" in metadata:
        metadata = metadata | {"env_kwargs": metadata["env_kwargs"] | {"reward_shaping": False}}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"], data.attrs["total"] = json.dumps(metadata), 6 * demos
        for k in [*range(demos)][::-1]:
            rows = 5 + k
            rng = np.random.default_rng(k)
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"], demo.attrs["model_file"] = rows, "<mujoco/>" * 100
            demo["actions"] = rng.normal(size=(rows, 7))
            demo["states"] = rng.normal(size=(rows, 32))
            demo["rewards"] = np.array([0.0] * (rows - 1) + [float(k != 1)])
            demo["dones"] = np.arange(rows) == rows - 1
            demo["obs/agentview_image"] = images(rows, k)
            demo["obs/agentview_depth"] = np.full((rows, 24, 32, 1), 0.25, np.float32)
            demo["obs/robot0_joint_pos"] = rng.normal(size=(rows, 7))
            demo["obs/robot0_joint_vel"] = rng.normal(size=(rows, 7))
            demo["obs/robot0_eef_pos"] = rng.normal(size=(rows, 3))
            demo["next_obs/robot0_eef_pos"] = rng.normal(size=(rows, 3))
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])
    return path


def test_robomimic(tmp_path):
    source = write_robomimic(tmp_path / "demo.hdf5")
    result = take(source, tmp_path / "d")
    assert (result.format, result.episodes, result.skipped) == ("robomimic", 3, {})
    assert result.notes == [
        "robomimic files have no timestamps: steps are numbered from 2000-01-01 (clock: nominal).",
        "Actions are those of the environment and are stored in joints/command without a unit.",
        "next_obs repeats obs one step later and is not imported.",
        "depth/agentview_depth: depth is rounded from meters to millimeters; unknown depth becomes 0.",
    ]
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.robot == "Panda"
    assert [episode.outcome for episode in dataset.episodes] == ["success", "failure", "success"]
    assert [episode.attributes.get("masks") for episode in dataset.episodes] == [["train"], None, ["train"]]
    with h5py.File(source) as file:
        for k, episode in enumerate(dataset.episodes):
            demo = file[f"data/demo_{k}"]
            assert (episode.task, episode.streams["states"].rate_hz) == ("Lift", 20)
            assert np.array_equal(episode.frames("cameras/agentview"), demo["obs/agentview_image"])
            assert np.array_equal(episode.values("joints/command", "position"), demo["actions"])
            assert np.array_equal(episode.values("joints/state", "velocity"), demo["obs/robot0_joint_vel"])
            assert np.array_equal(episode.values("obs/robot0_eef_pos", "value"), demo["obs/robot0_eef_pos"])
            assert np.array_equal(episode.values("dones", "value")[:, 0], demo["dones"])
            assert (episode.frames("depth/agentview_depth") == 250).all()
    assert episode.field("obs/robot0_eef_pos", "value").labels == tuple(f"robot0_eef_pos.{n}" for n in range(3))
    assert sum(report.problems for report in check_dataset(dataset)) == 0


def test_what_a_robomimic_file_does_not_state_is_noted(tmp_path):
    source = write_robomimic(tmp_path / "demo.hdf5", environment={"env_name": "Own"}, demos=1)
    result = take(source, tmp_path / "d", outcome="success")
    assert "The file does not state its rate; 20 Hz is assumed. Pass --fps for another one." in result.notes
    assert Dataset.open(tmp_path / "d").episodes[0].outcome == "success"
    shaped = write_robomimic(tmp_path / "shaped.hdf5", sparse=False, demos=1)
    take(shaped, tmp_path / "shaped", fps=10)
    episode = Dataset.open(tmp_path / "shaped").episodes[0]
    assert (episode.outcome, episode.streams["states"].rate_hz) == ("unknown", 10)


# ALOHA


def write_aloha(folder, *, episodes=2, rows=6, compress=True, joints=14):
    """Write episodes as ALOHA's record_episodes does."""
    folder.mkdir()
    for k in range(episodes):
        rng = np.random.default_rng(k)
        with h5py.File(folder / f"episode_{k}.hdf5", "w") as file:
            file.attrs["sim"], file.attrs["compress"] = False, compress
            for name in ("observations/qpos", "observations/qvel", "observations/effort", "action"):
                # Within the limits of the robot's joints.
                file[name] = rng.uniform(-0.5, 0.5, size=(rows, joints)).astype(np.float32)
            lengths = []
            for camera in ("cam_high", "cam_left_wrist"):
                shown = images(rows, k)
                if compress:
                    jpegs = [cv2.imencode(".jpg", image)[1].reshape(-1) for image in shown]
                    lengths.append([len(jpeg) for jpeg in jpegs])
                    width = max(map(len, jpegs)) + 100
                    shown = np.stack([np.pad(jpeg, (0, width - len(jpeg))) for jpeg in jpegs])
                file[f"observations/images/{camera}"] = shown
            if compress:
                file["compress_len"] = np.array(lengths)
    return folder


def test_aloha_with_jpegs(tmp_path):
    source = write_aloha(tmp_path / "aloha")
    result = take(source, tmp_path / "d", robot="aloha")
    assert (result.format, result.episodes, result.copied, result.encoded) == ("aloha", 2, 24, 0)
    assert result.notes == ["ALOHA files have no timestamps: rows are numbered at 50 Hz from 2000-01-01; see --fps."]
    dataset = Dataset.open(tmp_path / "d")
    episode = dataset.episodes[1]
    assert episode.attributes["aloha_compress"] is True
    assert episode.attributes["source"]["episode"] == "episode_1.hdf5"
    labels = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ARM)
    assert episode.field("joints/state", "position").labels == labels
    with h5py.File(source / "episode_1.hdf5") as file:
        for stream, field, name in (
            ("joints/state", "position", "observations/qpos"),
            ("joints/state", "velocity", "observations/qvel"),
            ("joints/state", "effort", "observations/effort"),
            ("joints/command", "position", "action"),
        ):
            assert np.array_equal(episode.values(stream, field), file[name])
        shard = episode.shard("cameras/cam_high")
        for row, length in enumerate(file["compress_len"][0]):
            assert shard.chunk(row) == file["observations/images/cam_high"][row, :length].tobytes()
    assert sum(report.problems for report in check_dataset(dataset)) == 0


def test_aloha_without_jpegs(tmp_path):
    source = write_aloha(tmp_path / "aloha", compress=False, joints=7)
    result = take(source, tmp_path / "d", robot="aloha")
    assert (result.copied, result.encoded) == (0, 24)
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.array_equal(episode.frames("cameras/cam_left_wrist"), images(6, 0))
    assert episode.field("joints/state", "position").labels == tuple(f"qpos.{n}" for n in range(7))
    one = take(source / "episode_1.hdf5", tmp_path / "one", robot="aloha", codec="h264")
    assert (one.episodes, one.encoded) == (1, 12)
    assert any("converted from raw pixels" in note for note in one.notes)


def test_a_damaged_jpeg_is_counted_as_lost(tmp_path):
    source = write_aloha(tmp_path / "aloha", episodes=1)
    with h5py.File(source / "episode_0.hdf5", "r+") as file:
        file["observations/images/cam_high"][3] = 0
    result = take(source, tmp_path / "d", robot="aloha")
    assert "cameras/cam_high: images that could not be decoded are missing; see: waldo check." in result.notes
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert (episode.count("cameras/cam_high"), episode.lost("cameras/cam_high")) == (5, 1)


# broken and malicious files


@pytest.mark.parametrize("keep", [0.5, 0.02])
def test_a_truncated_file_is_reported(tmp_path, keep):
    source = write_robomimic(tmp_path / "demo.hdf5")
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert str(error.value).startswith(f"{source}: cannot be read (Unable to synchronously open file (truncated file")
    assert str(error.value).endswith("); fetch or record the file again")
    assert not (tmp_path / "d").exists()


def test_a_truncated_episode_is_skipped(tmp_path):
    source = write_aloha(tmp_path / "aloha", episodes=3)
    cut = source / "episode_0.hdf5"
    cut.write_bytes(cut.read_bytes()[:3000])
    result = take(source, tmp_path / "d", robot="aloha")
    assert (result.episodes, list(result.skipped)) == (2, ["episode_0.hdf5"])
    assert "truncated file" in result.skipped["episode_0.hdf5"]


def test_objects_and_other_files_are_refused(tmp_path):
    source = write_robomimic(tmp_path / "demo.hdf5", demos=5)
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 80)
    with h5py.File(source, "r+") as file:
        file["data/demo_0/obs/words"] = ["a"] * 5  # texts are left out, not refused
        file["data/demo_1/obs/elsewhere"] = h5py.ExternalLink(str(secret), "/data")
        outside = [(str(secret), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("data/demo_2/obs/outside", (10,), "f8", external=outside)
        file["data/demo_3/obs/round"] = file["data/demo_3"]
        layout = h5py.VirtualLayout((9,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "data", (9,))
        file.create_virtual_dataset("data/demo_4/obs/virtual", layout)
    skipped = take(source, tmp_path / "d").skipped
    elsewhere = "copy the data into the file itself"
    assert skipped == {
        "demo_1": f"{source}: elsewhere is a link to another file; {elsewhere}",
        "demo_2": f"{source}: /data/demo_2/obs/outside is stored in another file; {elsewhere}",
        "demo_3": f"{source}: groups are nested deeper than 8 levels; do not trust this file",
        "demo_4": f"{source}: /data/demo_4/obs/virtual is stored in another file; {elsewhere}",
    }


def test_different_numbers_of_rows_are_reported(tmp_path):
    source = write_robomimic(tmp_path / "demo.hdf5", demos=3)
    with h5py.File(source, "r+") as file:
        file["data/demo_0/obs/short"] = np.zeros((3, 2))
        file["data/demo_2/obs/other"] = np.zeros((7, 2))
    skipped = take(source, tmp_path / "d").skipped
    assert skipped["demo_0"] == "demo_0: obs/short has 3 rows, but the timestamps have 5"
    expected = "streams differ from those of the other episodes (obs/other: here, not in the dataset)"
    assert skipped["demo_2"] == expected


def test_files_without_rows_and_with_one_row(tmp_path):
    with h5py.File(tmp_path / "none.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(FileError) as error:
        take(tmp_path / "none.hdf5", tmp_path / "d")
    assert str(error.value) == "none.hdf5: the source has no episodes; check that the folder is complete"
    source = write_aloha(tmp_path / "aloha", rows=1, episodes=1)
    assert take(source, tmp_path / "one", robot="a").skipped == {}
    assert Dataset.open(tmp_path / "one").episodes[0].count("cameras/cam_high") == 1
    (tmp_path / "empty").mkdir()
    with h5py.File(tmp_path / "empty" / "episode_0.hdf5", "w") as file:
        for name in ("observations/qpos", "action"):
            file[name] = np.zeros((0, 14))
    skipped = take(tmp_path / "empty", tmp_path / "nothing", robot="a").skipped
    assert skipped == {"episode_0.hdf5": "episode_0.hdf5: the episode has no rows"}


def test_nan_and_unusual_names_are_kept(tmp_path):
    source = write_robomimic(tmp_path / "demo.hdf5", demos=1)
    with h5py.File(source, "r+") as file:
        file["data/demo_0/obs/nan"] = np.full((5, 2), np.nan)
        file["data/demo_0/obs"].create_dataset("..", data=np.zeros((5, 1)))
        file["data/demo_0/obs/" + "ö" * 150] = np.ones((5, 1))
    assert take(source, tmp_path / "d").skipped == {}
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.isnan(episode.values("obs/nan", "value")).all()
    assert all(".." not in name.split("/") for name in episode.streams)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "demo.hdf5"]


def write_libero(path, *, reward="u1", words=False):
    """Write a demonstration as LIBERO's create_dataset.py lays it out."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(ENVIRONMENT)
        data.attrs["problem_info"] = json.dumps({"language_instruction": "put the bowl on the plate"})
        demo = data.create_group("demo_0")
        last = np.arange(10) == 9
        demo["actions"], demo["rewards"], demo["dones"] = np.ones((10, 7)), last.astype(reward), last.astype(reward)
        demo["obs/joint_states"] = np.arange(70.0).reshape(10, 7)
        demo["obs/agentview_rgb"] = images(10)
        if words:
            demo["obs/language"] = np.array([b"put the bowl"] * 10, dtype="S20")
    return path


@pytest.mark.parametrize(("reward", "words"), [("u1", False), ("f8", True)])
def test_libero(tmp_path, reward, words):
    result = take(write_libero(tmp_path / "demo.hdf5", reward=reward, words=words), tmp_path / "d")
    assert ("Not imported: text columns (obs/language)." in " ".join(result.notes)) == words
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert (episode.task, episode.outcome) == ("put the bowl on the plate", "success")
    assert np.array_equal(episode.values("joints/state", "position"), np.arange(70.0).reshape(10, 7))
    assert "cameras/agentview" in episode.streams
    assert episode.values("rewards", "value").reshape(-1).tolist() == [0.0] * 9 + [1.0]


@pytest.mark.parametrize("kind", ["fixed", "variable", "padded"])
def test_images_as_strings_and_byte_rows(tmp_path, kind):
    red_left = np.zeros((48, 64, 3), np.uint8)
    red_left[:, :32], red_left[:, 32:] = (220, 30, 20), (10, 40, 200)
    jpegs = [cv2.imencode(".jpg", np.roll(red_left, k, 0)[..., ::-1])[1].tobytes() for k in range(8)]
    longest = max(map(len, jpegs))
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["action"] = file["observations/qpos"] = np.zeros((8, 14))
        file["language_raw"] = np.array([b"fold the towel"], dtype="S20")
        name = "observations/images/cam_high"
        if kind == "fixed":
            file.create_dataset(name, data=[jpeg.ljust(longest, b"\0") for jpeg in jpegs], dtype=f"S{longest}")
        elif kind == "variable":
            rows = file.create_dataset(name, (8,), dtype=h5py.vlen_dtype(np.uint8))
            for k, jpeg in enumerate(jpegs):
                rows[k] = np.frombuffer(jpeg, np.uint8)
        else:
            file[name] = np.stack([np.frombuffer(jpeg.ljust(longest, b"\0"), np.uint8) for jpeg in jpegs])
    take(tmp_path / "episode_0.hdf5", tmp_path / "d")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.task == "fold the towel"
    frames = episode.frames("cameras/cam_high").astype(int)
    assert frames.shape == (8, 48, 64, 3)
    assert np.abs(frames[:, 24, 8] - (220, 30, 20)).max() < 12
    assert np.abs(frames[:, 24, 56] - (10, 40, 200)).max() < 12


def write_robotwin(root, *, rows=8, episodes=2, depth=True):
    """Write episodes as RoboTwin does: its encoder takes RGB for BGR, and depth is in millimeters."""
    (root / "data").mkdir(parents=True)
    (root / "instructions").mkdir()
    for k in range(episodes):
        rng = np.random.default_rng(k)
        parts = {
            "left_arm": rng.normal(size=(rows, 6)),
            "left_gripper": rng.uniform(size=rows),
            "right_arm": rng.normal(size=(rows, 6)),
            "right_gripper": rng.uniform(size=rows),
        }
        with h5py.File(root / "data" / f"episode{k}.hdf5", "w") as file:
            for name, values in parts.items():
                file[f"joint_action/{name}"] = values
            file["joint_action/vector"] = np.column_stack(list(parts.values()))
            jpegs = [cv2.imencode(".jpg", red_left(row))[1].tobytes() for row in range(rows)]
            longest = max(map(len, jpegs))
            padded = [jpeg.ljust(longest, b"\0") for jpeg in jpegs]
            file.create_dataset("observation/head_camera/rgb", data=padded, dtype=f"S{longest}")
            if depth:
                file["observation/head_camera/depth"] = np.full((rows, 24, 32), 1234.0)
            file["observation/head_camera/intrinsic_cv"] = np.tile(np.eye(3), (rows, 1, 1))
        words = {"seen": [f"stack the bowls {k}", "other words"], "unseen": ["never seen"]}
        (root / "instructions" / f"episode{k}.json").write_text(json.dumps(words))
    return root


def red_left(row):
    """Return an RGB image whose left half is red."""
    image = np.zeros((24, 32, 3), np.uint8)
    image[:, :16] = (220, 20 + row, 10)
    image[:, 16:] = (10, 40, 200)
    return image


@pytest.mark.parametrize("inside", ["", "data"])
def test_robotwin(tmp_path, inside):
    source = write_robotwin(tmp_path / "bowls")
    result = take(source / inside, tmp_path / "d", robot="aloha")
    assert (result.format, result.episodes, result.skipped) == ("robotwin", 2, {})
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert episode.task == "stack the bowls 1"
    labels = episode.field("joints/state", "position").labels
    assert labels[5:8] == ("left_arm.5", "left_gripper", "right_arm.0")
    with h5py.File(source / "data" / "episode1.hdf5") as file:
        vector = file["joint_action/vector"][:]
    assert np.array_equal(episode.values("joints/state", "position"), vector)
    assert np.array_equal(episode.values("joints/command", "position"), np.concatenate([vector[1:], vector[-1:]]))
    frame = episode.frames("cameras/head_camera")[0].astype(int)
    assert np.abs(frame[4:20, 2:12] - (220, 20, 10)).max() < 12
    assert (episode.frames("depth/head_camera/depth") == 1234).all()
    assert "cameras/head_camera: red and blue are swapped in the source and are swapped back." in result.notes
    assert any(
        note.startswith("RoboTwin stores no commands: the command of a row is the position") for note in result.notes
    )
    keys = {row.key: row.stream for row in result.mapped}
    assert keys["joint_action/vector[1:]"] == "joints/command/position"
    take(source, tmp_path / "raw", robot="aloha", color_order="rgb")
    raw = Dataset.open(tmp_path / "raw").episodes[1].frames("cameras/head_camera")[0].astype(int)
    assert np.abs(raw[4:20, 2:12] - (10, 20, 220)).max() < 12


def test_rdt_in_folders_of_tasks(tmp_path):
    (tmp_path / "rdt").mkdir()
    for name, words in (("pour", "pour the water"), ("wipe", "wipe the table")):
        write_aloha(tmp_path / "rdt" / name, episodes=1)
        instruction = {"instruction": words, "expanded_instruction": ["longer"]}
        (tmp_path / "rdt" / name / "expanded_instruction_gpt-4-turbo.json").write_text(json.dumps(instruction))
    result = take(tmp_path / "rdt", tmp_path / "d", robot="agilex")
    assert (result.episodes, result.skipped) == (2, {})
    assert [one.task for one in Dataset.open(tmp_path / "d").episodes] == ["pour the water", "wipe the table"]


def test_a_folder_of_robomimic_files(tmp_path):
    (tmp_path / "suite").mkdir()
    write_robomimic(tmp_path / "suite" / "bowl_demo.hdf5", demos=2)
    write_robomimic(tmp_path / "suite" / "cup_demo.hdf5", demos=3)
    (tmp_path / "suite" / "zz_damaged.hdf5").write_bytes(b"no HDF5")
    result = take(tmp_path / "suite", tmp_path / "d")
    assert (result.format, result.episodes, result.skipped) == ("robomimic", 5, {})
    assert any(note.startswith("Not imported: ") and "zz_damaged.hdf5" in note for note in result.notes)
    names = [episode.attributes["source"]["episode"] for episode in Dataset.open(tmp_path / "d").episodes]
    assert names[1:3] == ["bowl_demo.hdf5/demo_1", "cup_demo.hdf5/demo_0"]
