"""diffusion_policy's recordings of real robots: a buffer at 10 Hz and videos at 30 Hz beside it."""

from fractions import Fraction

import numpy as np
import pytest
import zarr

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.stream_map import MapError
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.video.encoder import encode_frames
from waldo.datasets.video.mp4shard import write_mp4

ROWS, START_S = 15, 1_700_000_000.25


def shown(episode, number):
    image = np.full((48, 64, 3), 3 * number, np.uint8)
    image[:, :20] = (200, 40 * episode, 20)
    return image


def write_recording(root, *, episodes=2, frames=50, cameras=("0", "1")):
    """Write a recording whose videos have some frames after the last row, as its recorder leaves them."""
    buffer = zarr.open_group(root / "replay_buffer.zarr", mode="w", zarr_format=2)
    total = ROWS * episodes
    data = buffer.create_group("data")
    ticks = np.tile(np.arange(ROWS) / 10, episodes) + 100 * np.repeat(np.arange(episodes), ROWS)
    data.create_array("timestamp", data=START_S + ticks)
    for key in ("robot_joint", "robot_joint_vel", "action"):
        data.create_array(key, data=np.arange(6.0 * total).reshape(total, 6))
    buffer.create_group("meta").create_array("episode_ends", data=ROWS * np.arange(1, episodes + 1))
    for episode in range(episodes):
        folder = root / "videos" / str(episode)
        folder.mkdir(parents=True)
        for camera in cameras:
            images = [shown(episode, number) for number in range(frames)]
            write_mp4(folder / f"{camera}.mp4", encode_frames(images, gop=5, crf=20), Fraction(30))
    return root


@pytest.mark.parametrize("inside", ["", "replay_buffer.zarr"])
def test_videos_keep_their_rate_and_start_with_the_rows(tmp_path, inside):
    result = import_dataset(write_recording(tmp_path / "cup") / inside, tmp_path / "d", ImportConfig(), robot="ur5")
    assert (result.format, result.episodes, result.skipped) == ("replay-buffer", 2, {})
    assert (result.copied, result.encoded) == (2 * 2 * 45, 0)
    assert "cameras/0: frames after the last row are not imported." in result.notes
    episode = Dataset.open(tmp_path / "d").episodes[1]
    state, frames = episode.time_ns("joints/state"), episode.time_ns("cameras/0")
    assert (episode.streams["joints/state"].rate_hz, episode.streams["cameras/0"].rate_hz) == (10, 30)
    assert len(frames) == 45
    assert frames[0] == state[0] == round((START_S + 100) * 1e9)
    assert np.abs(frames[3 * np.arange(ROWS)] - state).max() < 1e6
    assert np.abs(episode.frames("cameras/1", [6])[0].astype(int) - shown(1, 6)).mean() < 4
    config = LeRobotConfig(selection=Selection(), rows=RowConfig(fps=10))
    assert export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", config).skipped == {}
    again = import_dataset(tmp_path / "cup", tmp_path / "d", ImportConfig(), robot="ur5")
    assert (again.episodes, again.existing) == (0, 2)


def test_a_short_a_damaged_and_a_mapped_video(tmp_path):
    source = write_recording(tmp_path / "cup", episodes=1, frames=20)
    (source / "videos" / "0" / "1.mp4").write_bytes(b"no video")
    config = ImportConfig(map=("videos/0=cameras/wrist",))
    result = import_dataset(source, tmp_path / "d", config, robot="ur5")
    assert result.episodes == 1
    assert "cameras/wrist: the video ends 0.8 s before the rows." in result.notes
    assert any(note.startswith("cameras/1 is not imported: ") for note in result.notes)
    assert {row.key: (row.stream, row.why) for row in result.mapped if row.key.startswith("videos")} == {
        "videos/0": ("cameras/wrist", ""),
        "videos/1": ("", "the video cannot be read"),
    }
    with pytest.raises(MapError, match="keys of the source: action, robot_joint, robot_joint_vel, videos/0, videos/1"):
        import_dataset(source, tmp_path / "e", ImportConfig(map=("videos/2=cameras/wrist",)), robot="ur5")
