"""Data of other formats: commands on waldo datasets name the import, and damaged data is one line, not a traceback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from rosbags.rosbag2 import Writer

from waldo.cli import main
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.rosbag2 import messages as types

ROWS = 12


def lerobot(folder: Path) -> Path:
    (folder / "meta").mkdir(parents=True)
    own = {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")}
    features = {
        name: {"dtype": "float32", "shape": [2], "names": ["a", "b"]} for name in ("observation.state", "action")
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": features | {"timestamp": {"dtype": "float32", "shape": [1]}} | own,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    (folder / "meta" / "episodes.jsonl").write_text(json.dumps({"episode_index": 0, "tasks": ["t"], "length": ROWS}))
    (folder / "meta" / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "t"}))
    columns: dict[str, Any] = {name: [[float(n), 1.0] for n in range(ROWS)] for name in ("observation.state", "action")}
    columns["timestamp"] = pa.array([n / 10 for n in range(ROWS)], pa.float32())
    columns |= {"frame_index": list(range(ROWS)), "index": list(range(ROWS))}
    columns |= {"episode_index": [0] * ROWS, "task_index": [0] * ROWS}
    (folder / "data" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "data" / "chunk-000" / "episode_000000.parquet")
    return folder


def aloha(folder: Path) -> Path:
    folder.mkdir()
    with h5py.File(folder / "episode_0.hdf5", "w") as file:
        file["observations/qpos"] = file["action"] = np.arange(ROWS * 14.0).reshape(ROWS, 14)
        file["observations/images/top"] = np.zeros((ROWS, 24, 32, 3), np.uint8)
    return folder


def robomimic(folder: Path) -> Path:
    folder.mkdir()
    with h5py.File(folder / "demo.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.arange(ROWS * 7.0).reshape(ROWS, 7)
        file["data/demo_0/obs/robot0_joint_pos"] = np.arange(ROWS * 7.0).reshape(ROWS, 7)
    return folder / "demo.hdf5"


def buffer(folder: Path) -> Path:
    root = zarr.open_group(folder, mode="w", zarr_format=2)
    data = root.create_group("data")
    data.create_array("action", data=np.arange(2.0 * ROWS).reshape(ROWS, 2))
    data.create_array("state", data=np.arange(2.0 * ROWS).reshape(ROWS, 2))
    root.create_group("meta").create_array("episode_ends", data=np.array([ROWS]))
    return folder


def zipped(folder: Path) -> Path:
    buffer(folder)
    path = folder.with_suffix(".zarr.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                file.write(one, one.relative_to(folder).as_posix())
    return path


def bag(folder: Path) -> Path:
    store, kind = types.typestore(), "sensor_msgs/msg/JointState"
    with Writer(folder, version=9, storage_plugin=_mcap()) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store) for topic in ("/joint_states", "/joint_commands")
        }
        for tick in range(ROWS):
            at, none = 10**18 + tick * 50_000_000, np.zeros(0)
            for topic, connection in connections.items():
                state = types.new(
                    kind,
                    header=types.header(at),
                    name=["a"],
                    position=np.array([float(tick + len(topic))]),
                    velocity=none,
                    effort=none,
                )
                writer.write(connection, at, store.serialize_cdr(state, kind))
    return folder


def _mcap() -> Any:
    from rosbags.rosbag2 import StoragePlugin

    return StoragePlugin.MCAP


def mcap(folder: Path) -> Path:
    (file,) = bag(folder).glob("*.mcap")
    return file


SOURCES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "lerobot": (lerobot, "LeRobot v2.x and v3.0"),
    "aloha": (aloha, "ALOHA and RDT HDF5"),
    "robomimic": (robomimic, "robomimic HDF5"),
    "buffer": (buffer, "diffusion_policy replay buffer"),
    "zip": (zipped, "diffusion_policy replay buffer"),
    "bag": (bag, "ROS 2 bags"),
    "mcap": (mcap, "ROS 2 bags"),
}


def errors_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on standard error except progress bars."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if not line.startswith(("importing", "exporting"))]


@pytest.mark.parametrize("command", ["info", "list", "check", "view", "train", "export"])
@pytest.mark.parametrize("name", SOURCES)
def test_commands_on_other_formats_name_the_import(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, title = SOURCES[name]
    path = make(tmp_path / "my data")
    words = [command, str(path), *([str(tmp_path / "out")] if command == "export" else [])]
    assert main.main(words) == 2
    found = errors_of(capsys)
    target = f"{path.name.partition('.')[0]}-waldo"
    expected = f"is not a dataset of waldo but {title}; import it with: waldo import {shlex.quote(str(path))} "
    assert found == [f"waldo: error: {path}: {expected}{shlex.quote(target)}"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_named_command_works(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main.main(["info", str(SOURCES[name][0](tmp_path / "source"))])
    words = shlex.split(errors_of(capsys)[0].partition("import it with: waldo ")[2])
    assert main.main(words) == 0, capsys.readouterr().err
    assert len(Dataset.open(tmp_path / words[-1]).indices) == 1


def test_a_folder_of_no_known_format_is_not_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"waldo: error: {tmp_path}: is not a dataset (no dataset.json); check the path\n"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"robot": "a"}', '{"robot": "a", "schema_version": "x", "format": "y"}', "\0", "[" * 9999],
)
def test_a_broken_description_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dataset.json").write_text(text)
    for command in ("info", "list", "check", "view"):
        assert main.main([command, str(tmp_path)]) == 2
        (found,) = errors_of(capsys)
        assert found.startswith(f"waldo: error: {tmp_path / 'dataset.json'}: cannot be read (")


def damaged_files(path: Path) -> list[Path]:
    """Return the files of a source."""
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


def run_import(path: Path, target: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Import a damaged source: it fails or succeeds, but each message is one line that names no bug."""
    format = {"zip": "replay-buffer", "buffer": "replay-buffer", "bag": "rosbag2", "mcap": "rosbag2"}.get(name, name)
    for words in ([], ["--format", format]):
        shutil.rmtree(target, ignore_errors=True)
        code = main.main(["import", str(path), str(target), *words])
        captured = capsys.readouterr()
        assert "please report" not in captured.err + captured.out
        assert "Traceback" not in captured.err + captured.out
        lines = [line for line in captured.err.splitlines() if not line.startswith("importing")]
        assert code in (0, 1, 2), lines
        assert len(lines) == (code == 2), lines
    main.main(["info", str(path)])
    assert "please report" not in capsys.readouterr().err


@pytest.mark.parametrize("name", SOURCES)
def test_truncated_files_are_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = SOURCES[name][0](tmp_path / "sound")
    files = damaged_files(sound)
    for number, file in enumerate(files):
        data = file.read_bytes()
        for keep in sorted({0, len(data) // 2, len(data) - 1}):
            file.write_bytes(data[:keep])
            run_import(sound, tmp_path / f"d{number}", name, capsys)
        file.write_bytes(data)


@pytest.mark.parametrize("name", SOURCES)
def test_flipped_bytes_are_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = SOURCES[name][0](tmp_path / "sound")
    rng = np.random.default_rng(0)
    for number, file in enumerate(damaged_files(sound)):
        data = file.read_bytes()
        for _ in range(2):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), 1 + len(data) // 100):
                changed[at] ^= int(rng.integers(1, 256))
            file.write_bytes(changed)
            run_import(sound, tmp_path / f"d{number}", name, capsys)
        file.write_bytes(data)


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a dangling link", "a link to itself"])
@pytest.mark.parametrize("name", SOURCES)
def test_pipes_and_folders_in_place_of_files_are_one_line(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = SOURCES[name][0](tmp_path / "sound")
    for number, file in enumerate(damaged_files(sound)):
        data = file.read_bytes()
        file.unlink()
        if kind == "a pipe":
            os.mkfifo(file)
        elif kind == "a folder":
            file.mkdir()
        else:
            file.symlink_to("missing" if kind == "a dangling link" else file.name)
        run_import(sound, tmp_path / f"d{number}", name, capsys)
        file.rmdir() if kind == "a folder" else file.unlink()
        file.write_bytes(data)


def test_a_pipe_in_place_of_a_dataset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    os.mkfifo(tmp_path / "pipe")
    assert main.main(["info", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(
        f"waldo: error: {tmp_path / 'dataset.json'}: cannot be read (not a regular file); "
    )
    assert main.main(["import", str(tmp_path / "pipe"), str(tmp_path / "d")]) == 2
    expected = "is neither a regular file nor a folder; choose the dataset itself"
    assert errors_of(capsys) == [f"waldo: error: {tmp_path / 'pipe'}: {expected}"]
    for command in ("info", "train"):
        assert main.main([command, str(tmp_path / "pipe")]) == 2
        assert len(errors_of(capsys)) == 1
