"""Episodes read by programs without waldo, in environments of their own: zarr, xarray, and zarr with waldo-zarr."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.machine import install_apart, needs_ffmpeg
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.video import pixels
from waldo.datasets.video.codec import JpegCodec

ROOT = Path(__file__).parents[2]
ZARR = "zarr>=3.4,<3.5"


def python(executable: Path, code: str, *arguments: object) -> str:
    """Run code in an environment and return its output."""
    command = [str(executable), "-I", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def episode(store: Path) -> Episode:
    return Dataset.open(store).episode(0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with zarr and xarray."""
    return install_apart(tmp_path_factory.mktemp("plain") / "env", ZARR, "xarray>=2025.1")


@pytest.fixture(scope="module")
def consolidated(episode: Episode, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the episode with consolidated metadata."""
    path = tmp_path_factory.mktemp("consolidated") / "episode.zarr"
    shutil.copytree(episode.path, path)
    python(plain, "import sys, zarr; zarr.consolidate_metadata(sys.argv[1])", path)
    return path


@pytest.fixture(scope="module")
def with_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with zarr and waldo-zarr."""
    folder = tmp_path_factory.mktemp("codec")
    shutil.copytree(ROOT / "plugins" / "waldo_zarr", folder / "source")
    return install_apart(folder / "env", ZARR, str(folder / "source"))


WALK = """
import importlib.util, json, sys, zlib
import zarr
assert not any(importlib.util.find_spec(name) for name in ("waldo", "waldo_zarr", "av"))

def walk(group, prefix=""):
    for name, array in group.arrays():
        found[prefix + name] = zlib.crc32(array[...].tobytes())
    for name, child in group.groups():
        groups.append(prefix + name)
        walk(child, prefix + name + "/")

results = []
for path in sys.argv[1:]:
    found, groups = {}, []
    group = zarr.open_group(path, mode="r")
    walk(group)
    members = {name for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}
    assert members == set(found), members ^ set(found)
    results.append([found, groups])
print(json.dumps(results))
"""


def test_plain_zarr_walks_the_tree_and_reads_every_number(episode: Episode, plain: Path, consolidated: Path) -> None:
    results = json.loads(python(plain, WALK, episode.path, consolidated))
    assert len(results) == 2
    for found, groups in results:
        streams = {"joints", "joints/state", "joints/command", "environment", "motors", "cameras"}
        assert set(groups) == streams | {"cameras/front", "cameras/wrist"}
        arrays = [file.parent for file in Path(str(episode.path)).rglob("zarr.json")]
        names = {str(file.relative_to(episode.path)) for file in arrays if any(file.glob("c.*"))}
        assert set(found) == {name for name in names if not name.startswith("video/")}
        assert len(found) == 18
        for name, checksum in found.items():
            values = np.asarray(episode.group[name][...])
            assert checksum == zlib.crc32(values.tobytes()), name


XARRAY = """
import json, sys
import xarray
path, consolidated, *groups = sys.argv[1:]
options = {"consolidated": json.loads(consolidated)}
tree = xarray.open_datatree(path, engine="zarr", **options)
assert set(groups) <= {name.strip("/") for name in tree.groups}
results = []
for group in groups:
    data = xarray.open_zarr(path, group=group, **options).load()
    sizes = {name: int(size) for name, size in data.sizes.items()}
    results.append([sizes, str(data["time"].dtype), sorted(data.data_vars)])
print(json.dumps(results))
"""


@pytest.mark.parametrize("is_consolidated", [True, False])
def test_xarray_opens_every_group(
    episode: Episode, plain: Path, consolidated: Path, tmp_path: Path, is_consolidated: bool
) -> None:
    path = consolidated if is_consolidated else shutil.copytree(episode.path, tmp_path / "episode.zarr")
    names = ("joints/state", "motors", "environment")
    *scalars, camera = json.loads(python(plain, XARRAY, path, json.dumps(is_consolidated), *names, "cameras/front"))
    for name, (sizes, time, variables) in zip(names, scalars, strict=True):
        assert (sizes["time"], time) == (episode.count(name), "datetime64[ns]")
        assert sizes["column"] == sum(len(field.labels) for field in episode.streams[name].fields)
        assert {"values", "message_info"} <= set(variables)
    sizes, _, variables = camera
    assert (sizes["time"], sizes["info"]) == (30, 4)
    assert "frames" not in variables


FRAMES = """
import importlib.util, sys
import numpy, zarr
assert not any(importlib.util.find_spec(name) for name in ("waldo", "cv2"))
frames = zarr.open_group(sys.argv[1], mode="r")[sys.argv[2]]
for span in sys.argv[4:]:
    first, last = map(int, span.split(":"))
    numpy.save(f"{sys.argv[3]}/{first}.npy", frames[first:last])
"""


def test_waldo_zarr_reads_the_same_frames_without_waldo(episode: Episode, with_codec: Path, tmp_path: Path) -> None:
    python(with_codec, FRAMES, episode.path, "video/cameras/front", tmp_path, "0:30", "7:8", "28:30")
    for first, last in ((0, 30), (7, 8), (28, 30)):
        read = np.load(tmp_path / f"{first}.npy")
        assert np.array_equal(read, episode.frames("cameras/front", range(first, last)))


def test_waldo_zarr_reads_jpeg(with_codec: Path, tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :64]
    images = np.stack([np.stack([4 * x, 5 * y, 40 * k + x + y], axis=-1) for k in range(3)]).astype(np.uint8)
    array = zarr.create_array(
        tmp_path / "group" / "images", data=images, chunks=(1, 48, 64, 3), serializer=JpegCodec(), compressors=None
    )
    zarr.create_group(tmp_path / "group")
    python(with_codec, FRAMES, tmp_path / "group", "images", tmp_path, "0:3")
    difference = np.abs(np.load(tmp_path / "0.npy").astype(int) - np.asarray(array[...]).astype(int))
    assert difference.mean() < 2
    assert np.abs(np.asarray(array[...]).astype(int) - images).mean() < 2


WRITE = """
import sys
import numpy, zarr
from waldo_zarr.codec import JpegCodec, VideoCodec
for codec in (VideoCodec(), JpegCodec()):
    try:
        images = numpy.zeros((1, 16, 16, 3), "u1")
        options = {"serializer": codec, "compressors": None, "config": {"write_empty_chunks": True}}
        zarr.create_array(zarr.storage.MemoryStore(), data=images, chunks=images.shape, **options)
    except NotImplementedError as error:
        print(error)
"""


def test_waldo_zarr_states_that_it_only_reads(with_codec: Path) -> None:
    message = "this package only reads frames; install waldo to write them\n"
    assert python(with_codec, WRITE) == 2 * message


def test_colors_do_not_depend_on_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (96, 64), dtype=np.uint8)
    by_opencv = pixels.i420_to_rgb(planes)
    monkeypatch.setattr(pixels, "cv2", None)
    out = np.empty_like(by_opencv)
    assert pixels.i420_to_rgb(planes, out) is out
    assert np.array_equal(out, by_opencv)
    with pytest.raises(ValueError, match="a JPEG of 24 bytes cannot be decoded"):
        pixels.decode_jpeg(b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x10\x03" + bytes(12))


def test_waldo_and_waldo_zarr_can_both_be_installed(episode: Episode) -> None:
    code = (
        "import sys, zarr, waldo.datasets.video.codec, waldo_zarr.codec; "
        "print(zarr.open_group(sys.argv[1], mode='r')['video/cameras/front'][0].shape)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins" / "waldo_zarr")}
    command = [sys.executable, "-W", "error", "-c", code, str(episode.path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == "(48, 64, 3)\n", done.stderr


@needs_ffmpeg
def test_the_metadata_of_a_shard_names_the_mp4_file(episode: Episode) -> None:
    folder = Path(str(episode.path)) / "video" / "cameras" / "front"
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    assert attributes["media_type"] == "video/mp4"
    assert "ffplay c.0.0.0.0" in attributes["comment"]
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_frames",
        "-show_entries",
        "stream=codec_name,nb_read_frames",
        "-of",
        "csv=p=0",
    ]
    done = subprocess.run(
        [*command, str(folder / attributes["media_file"])], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "h264,30"
