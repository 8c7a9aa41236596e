import subprocess
import sys

import numpy as np
import pytest
import zarr

from waldo.datasets.episode import Episode
from waldo.errors import FileError, UnknownNameError


def test_recorded_data_is_read_back(episode, make_image):
    assert (episode.index, episode.outcome, episode.reason) == (0, "success", "operator")
    assert (episode.task, episode.robot, episode.attributes["seed"]) == ("lift the red cube", "tiny", 0)
    assert episode.count("joints/state") == 60
    assert episode.duration_s == pytest.approx(59 / 60)
    header, receipt = episode.time_ns("joints/state"), episode.time_ns("joints/state", "receipt")
    assert np.array_equal(receipt - header, np.full(60, 1_000_000))
    assert episode.sequence("joints/state").tolist() == list(range(1, 61))
    expected = np.sin(np.arange(60)[:, None] / 30 + np.arange(3)) * 0.9
    assert np.array_equal(episode.values("joints/state", "position"), expected.astype(np.float32))
    assert episode.values("environment", "value").dtype == np.float64
    assert np.isinf(episode.values("motors", "time_to_limit")).all()
    assert episode.field("joints/state", "effort").unit == "N·m"
    assert episode.frames("cameras/front").shape == (30, 48, 64, 3)
    assert np.abs(episode.frames("cameras/front", [29, 3])[1].astype(int) - make_image(3)).mean() < 8
    assert [episode.lost(name) for name in episode.streams] == [0] * 7


def test_no_frames_are_an_empty_array(episode):
    assert episode.frames("cameras/front", []).shape == (0, 48, 64, 3)


def test_image_statistics_equal_those_of_the_recorded_frames(episode, make_image):
    # Key frames are sampled: every fifth frame.
    pixels = np.stack([make_image(k) for k in range(0, 30, 5)]).reshape(-1, 3) / 255
    statistics = episode.image_statistics("cameras/front")
    assert statistics["mean"] == pytest.approx(pixels.mean(axis=0))
    assert statistics["std"] == pytest.approx(pixels.std(axis=0))


def test_unknown_names_are_answered_with_the_closest_match(episode):
    with pytest.raises(UnknownNameError, match="unknown stream 'joints/stat'; did you mean 'joints/state'"):
        episode.count("joints/stat")
    with pytest.raises(UnknownNameError, match="unknown field of joints/state 'speed'"):
        episode.values("joints/state", "speed")
    with pytest.raises(UnknownNameError, match="unknown camera 'cameras/fronts'; did you mean 'cameras/front'"):
        episode.frames("cameras/fronts")


def test_other_groups_are_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be opened"):
        Episode(tmp_path / "nothing")
    zarr.create_group(tmp_path / "other", zarr_format=3)
    with pytest.raises(FileError, match=r"is None version None, expected 'waldo-episode' version 2; update waldo"):
        Episode(tmp_path / "other")


def test_plain_zarr_reads_frames_and_rows(episode):
    group = zarr.open_group(episode.path, mode="r")
    rows = group["joints/state/values"]
    columns = [name.startswith("position.") for name in rows.attrs["columns"]]
    assert np.array_equal(rows[:][:, columns], episode.values("joints/state", "position"))
    info = group["cameras/front/message_info"]
    assert info.attrs["columns"] == ["receipt_time", "publish_time", "sequence", "repeated"]
    assert np.array_equal(info[:, 0], episode.time_ns("cameras/front", "receipt"))
    assert np.array_equal(info[:, 2], episode.sequence("cameras/front"))
    assert np.array_equal(group["video/cameras/front"][4:7], episode.frames("cameras/front", [4, 5, 6]))
    assert group["video/cameras/front"].metadata.dimension_names == ("time", "y", "x", "rgb")
    assert dict(group["joints/state/time"].attrs)["units"] == "nanoseconds since 1970-01-01"
    assert group["joints/state"].attrs["rate_hz"] == 60.0


PLAIN = """
import sys
sys.modules["waldo"] = None  # as if it were not installed
import importlib.metadata
import zarr
from zarr import registry

for codec in registry._collect_entrypoints():
    codec.lazy_load_list[:] = [e for e in codec.lazy_load_list if e.name != "waldo.video"]
group = zarr.open_group(sys.argv[1], mode="r")
print(group["joints/state/values"][:].shape, group["cameras/front/time"][:].shape, group.attrs["outcome"])
try:
    group["video/cameras/front"]
except Exception as error:
    print(type(error).__name__)
"""


def test_rows_are_read_without_waldo(episode):
    command = [sys.executable, "-c", PLAIN, str(episode.path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=episode.path)
    assert answer.stdout.split("\n")[:2] == ["(60, 9) (30,) success", "UnknownCodecError"]
