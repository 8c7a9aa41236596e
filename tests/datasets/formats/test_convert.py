import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from rich.console import Console

from waldo import console
from waldo.cli import main
from waldo.datasets.compatibility import IncompatibleError
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.jobs import Jobs
from waldo.datasets.storage.lock import DatasetLockedError
from waldo.errors import FileError, UnknownNameError, count

CONFIG = ImportConfig()


@pytest.fixture
def source(tmp_path):
    """Return a replay buffer of five episodes with distinct values and images."""
    return write_source(tmp_path / "buffer")


def write_source(path, episodes=5, rows=8, width=32):
    rng = np.random.default_rng(0)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    data = root.create_group("data")
    total = episodes * rows
    data.create_array("action", data=np.arange(2.0 * total).reshape(total, 2))
    data.create_array("img", data=rng.integers(0, 256, (total, 24, width, 3), np.uint8), chunks=(1, 24, width, 3))
    ends = np.arange(1, episodes + 1) * rows
    root.create_group("meta").create_array("episode_ends", data=ends)
    return path


def digest(dataset):
    """Return the contents of the episodes in the order of their source."""
    found = {}
    for episode in dataset.episodes:
        origin = episode.attributes["source"]
        found[origin["episode"]] = episode.values("joints/command", "position").tolist(), episode.frames("cameras/img")
    return {key: (values, frames.tobytes()) for key, (values, frames) in sorted(found.items())}


def files(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("lock", "catalog.jsonl")
    }


def test_an_imported_episode_names_its_origin(source, tmp_path):
    steps = []
    result = import_dataset(source, tmp_path / "d", CONFIG, progress=lambda done, total: steps.append((done, total)))
    assert (result.episodes, result.existing, result.skipped, steps[-1]) == (5, 0, {}, (5, 5))
    episode = Dataset.open(tmp_path / "d").episodes[2]
    origin = episode.attributes["source"]
    assert (origin["format"], origin["name"], origin["episode"]) == ("replay-buffer", "buffer", "2")
    assert len(origin["digest"]) == 64
    assert (episode.outcome, episode.reason, episode.robot) == ("unknown", "imported", "unknown")


def test_workers_write_the_same_bytes(source, tmp_path):
    import_dataset(source, tmp_path / "one", CONFIG)
    result = import_dataset(source, tmp_path / "two", CONFIG, jobs=Jobs(workers=2))
    assert (result.episodes, result.encoded) == (5, 40)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_some_episodes_and_then_the_others(source, tmp_path):
    assert import_dataset(source, tmp_path / "d", CONFIG, episodes=[1, 3, 99]).episodes == 2
    result = import_dataset(source, tmp_path / "d", CONFIG)
    assert (result.episodes, result.existing) == (3, 2)
    again = import_dataset(source, tmp_path / "d", CONFIG)
    assert (again.episodes, again.existing, again.rows) == (0, 5, 0)
    import_dataset(source, tmp_path / "whole", CONFIG)
    assert digest(Dataset.open(tmp_path / "d")) == digest(Dataset.open(tmp_path / "whole"))


def test_the_same_episodes_from_another_folder_are_known(source, tmp_path):
    import_dataset(source, tmp_path / "d", CONFIG)
    source.rename(tmp_path / "moved")
    assert import_dataset(tmp_path / "moved", tmp_path / "d", CONFIG).existing == 5


def test_what_was_deleted_stays_deleted(source, tmp_path):
    import_dataset(source, tmp_path / "d", CONFIG)
    Dataset.open(tmp_path / "d").delete([2])
    assert import_dataset(source, tmp_path / "d", CONFIG).episodes == 0
    assert len(Dataset.open(tmp_path / "d").episodes) == 4


def test_an_interrupted_import_resumes(source, tmp_path):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset(source, tmp_path / "d", CONFIG, progress=interrupt)
    assert len(Dataset.open(tmp_path / "d").episodes) == 2
    result = import_dataset(source, tmp_path / "d", CONFIG)
    assert (result.episodes, result.existing) == (3, 2)
    import_dataset(source, tmp_path / "whole", CONFIG)
    assert digest(Dataset.open(tmp_path / "d")) == digest(Dataset.open(tmp_path / "whole"))


@pytest.mark.parametrize("recover", [False, True], ids=["", "recovered in between"])
def test_a_killed_import_leaves_no_interrupted_episode(tmp_path, recover):
    """SIGKILL in the middle of an episode: its half is not kept, even if it was recovered in between."""
    source = write_source(tmp_path / "buffer", rows=20, width=64)
    code = (
        "import os, signal, sys; from pathlib import Path; from waldo.datasets.formats import cameras_in\n"
        "from waldo.datasets.formats.convert import import_dataset\n"
        "from waldo.datasets.formats.source import ImportConfig\n"
        "write, seen = cameras_in.EpisodeWriter.frame, []\n"
        "def frame(self, *args, **kwargs):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 32: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return write(self, *args, **kwargs)\n"
        "cameras_in.EpisodeWriter.frame = frame\n"
        "import_dataset(Path(sys.argv[1]), Path(sys.argv[2]), ImportConfig())"
    )
    killed = subprocess.run([sys.executable, "-c", code, source, tmp_path / "d"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    dataset = Dataset.open(tmp_path / "d")
    assert [path.name for path in dataset.unfinished] == ["episode_000001.journal"]
    if recover:
        with dataset.lock():
            assert len(dataset.recover()) == 1
        assert dataset.episodes[1].reason == "interrupted"
    result = import_dataset(source, tmp_path / "d", CONFIG)
    assert (result.episodes, result.existing) == (4, 1)
    dataset = Dataset.open(tmp_path / "d")
    assert [episode.reason for episode in dataset.episodes] == ["imported"] * 5
    import_dataset(source, tmp_path / "whole", CONFIG)
    assert digest(dataset) == digest(Dataset.open(tmp_path / "whole"))


def test_ctrl_c_on_the_command_line_can_be_repeated(tmp_path):
    source = write_source(tmp_path / "buffer", episodes=6, rows=60, width=64)
    command = [sys.executable, "-m", "waldo", "import", str(source), str(tmp_path / "d"), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not (tmp_path / "d" / "episode_000001.zarr").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, (out, err)
    done = subprocess.run(command[:-2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    dataset = Dataset.open(tmp_path / "d")
    assert sorted(int(e.attributes["source"]["episode"]) for e in dataset.episodes) == list(range(6))
    assert {episode.reason for episode in dataset.episodes} == {"imported"}
    imported = re.search(r"imported (\d+) episode", done.stdout)
    assert imported is not None
    assert f"{count(6 - int(imported[1]), 'episode')} already imported" in done.stdout


def test_recordings_are_added_to_only_if_they_fit(source, record, script, tmp_path):
    dataset = record(script())
    with pytest.raises(IncompatibleError) as error:
        import_dataset(source, dataset.path, CONFIG, robot="tiny")
    assert str(error.value).startswith(
        f"{dataset.path} cannot be continued:\n  cameras/front: in the dataset, not here"
    )
    with pytest.raises(IncompatibleError) as error:
        import_dataset(source, dataset.path, CONFIG)
    assert "robot: tiny in the dataset, unknown here" in str(error.value)
    assert len(dataset.episodes) == 1


def test_a_locked_dataset_and_a_folder_that_is_none_are_refused(source, tmp_path):
    dataset = Dataset.create(tmp_path / "d", robot="unknown")
    with dataset.lock("waldo record"), pytest.raises(DatasetLockedError):
        import_dataset(source, tmp_path / "d", CONFIG)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "file").touch()
    with pytest.raises(FileError) as error:
        import_dataset(source, tmp_path / "e", CONFIG)
    assert str(error.value) == f"{tmp_path / 'e'}: already exists; choose a new folder for the dataset"


def test_an_interrupted_recording_is_recovered_before_an_import(source, tmp_path, streams, play, script):
    import_dataset(source, tmp_path / "d", CONFIG, episodes=[0])
    dataset = Dataset.open(tmp_path / "d")
    with dataset.lock():
        writer = dataset.begin(streams, {"source": {"camera": "D435"}})  # of a recording, not of an import
        play(writer, script(seconds=0.2))
        writer._finish_cameras()
        writer._journal.close()
    with pytest.raises(IncompatibleError):
        import_dataset(source, tmp_path / "d", CONFIG)
    assert [episode.reason for episode in Dataset.open(tmp_path / "d").episodes] == ["imported", "interrupted"]


def test_a_full_disk_ends_the_import(source, tmp_path, monkeypatch):
    from waldo.datasets.recording.journal import Journal

    def full(self, *args, **kwargs):
        raise FileError(self.path, "cannot be written (No space left on device)")

    import_dataset(source, tmp_path / "d", CONFIG, episodes=[0])
    append = Journal.append
    monkeypatch.setattr(
        Journal, "append", lambda self, kind, **kw: full(self) if kind == 2 else append(self, kind, **kw)
    )
    with pytest.raises(FileError, match="No space left on device"):
        import_dataset(source, tmp_path / "d", CONFIG)
    assert not Dataset.open(tmp_path / "d").unfinished


# the command


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a command line and returns its exit code and output."""

    def call(*args):
        out = io.StringIO()
        monkeypatch.setattr(console, "out", lambda: Console(file=out, highlight=False, soft_wrap=True))
        monkeypatch.setattr(console, "err", lambda: Console(file=io.StringIO()))
        monkeypatch.setattr("waldo.cli.support.tables.out", console.out)
        return main.main([str(arg) for arg in args]), out.getvalue()

    return call


def test_the_command_prints_its_result(run, source, tmp_path):
    code, text = run("import", source, tmp_path / "d", "--episodes", "0-2", "--codec", "h264", "--crf", "0")
    assert code == 0
    table, lines = text.splitlines()[:5], text.splitlines()[5:]
    assert table == [
        "mapping",
        "key     contents          stream",
        "action  numbers[2]        joints/command/position",
        "img     raw pixels 32x24  cameras/img",
        "",
    ]
    assert lines[0] == (
        f"{tmp_path / 'd'}: imported 3 episodes of buffer (replay-buffer), 24 rows, 0 frames copied, 24 encoded"
    )
    assert lines[-1].startswith("note  Without joints/state the episodes cannot be exported")
    assert lines[1] == "note  The source does not name a robot; pass --robot."
    assert lines[3].startswith("note  cameras/img: converted from raw pixels; PSNR over a few frames per episode: ")
    (tmp_path / "buffer" / "data" / "img" / "30.0.0.0").write_bytes(b"short")
    code, text = run("import", source, tmp_path / "d", "--codec", "h264", "--crf", "0")
    assert code == 1
    assert "3 episodes already imported" in text
    assert "\n3 skipped: " in text


@pytest.mark.parametrize(
    "text",
    [
        "map: [img=cameras/top, 'action=joint_states:x,y']",
        """map:
  img: cameras/top
  action: "joint_states:x,y"
""",
    ],
)
def test_a_dry_run_prints_the_mapping_of_a_file_and_writes_nothing(run, source, tmp_path, text):
    (tmp_path / "options.yaml").write_text(text)
    code, text = run("import", source, tmp_path / "d", "--config", tmp_path / "options.yaml", "--dry-run")
    assert code == 0
    assert not (tmp_path / "d").exists()
    lines = text.splitlines()
    assert lines[:5] == [
        "mapping",
        "key     contents          stream",
        "action  numbers[2]        joints/state/position",
        "img     raw pixels 32x24  cameras/top",
        "",
    ]
    assert lines[5] == (f"{tmp_path / 'd'}: would import 5 episodes of buffer (replay-buffer); nothing was written")
    assert lines[-1] == (
        "note  Without joints/command the episodes cannot be exported to rows or used for training; pass --map "
        "KEY=joint_commands."
    )
    run("import", source, tmp_path / "d", "--episodes", "0-1")
    _, text = run("import", source, tmp_path / "d", "--dry-run")
    assert "would import 3 episodes" in text
    assert "2 episodes already imported" in text
    assert len(Dataset.open(tmp_path / "d").indices) == 2


def test_a_key_can_be_left_out(source, tmp_path):
    result = import_dataset(source, tmp_path / "d", ImportConfig(map=("img=none",)))
    assert set(Dataset.open(tmp_path / "d").episodes[0].streams) == {"joints/command"}
    assert [(row.key, row.stream, row.why) for row in result.mapped] == [
        ("action", "joints/command/position", ""),
        ("img", "", "left out by --map"),
    ]


def test_colors_in_bgr_are_swapped(source, tmp_path):
    import_dataset(source, tmp_path / "rgb", CONFIG)
    result = import_dataset(source, tmp_path / "bgr", ImportConfig(color_order="bgr"))
    rgb, bgr = (Dataset.open(tmp_path / name).episodes[0].frames("cameras/img") for name in ("rgb", "bgr"))
    assert np.array_equal(bgr, rgb[..., ::-1])
    assert "cameras/img: red and blue are swapped in the source and are swapped back." in result.notes


def test_an_unknown_format_is_explained(run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    assert run("import", tmp_path / "photos", tmp_path / "d")[0] == 2
    assert capsys.readouterr().err == (
        f"waldo: error: {tmp_path / 'photos'}: no importable dataset found (looked for "
        "aloha: an .hdf5 file, or a folder of them, with observations/qpos (ALOHA, RDT); "
        "lerobot: meta/info.json (LeRobot v2 or v3); "
        "replay-buffer: a zarr folder or .zarr.zip with meta/episode_ends (diffusion_policy, UMI); "
        "robomimic: an .hdf5 file, or a folder of them, with data/demo_0 (robomimic, LIBERO); "
        "robotwin: an .hdf5 file, or a folder of them, with joint_action/vector (RoboTwin); "
        "rosbag2: metadata.yaml, .mcap or .db3 (rosbag2), in the folder or in folders inside it); "
        "pass --format to choose a format\n"
    )
    assert run("import", tmp_path / "none", tmp_path / "d")[0] == 2
    assert (
        capsys.readouterr().err == f"waldo: error: {tmp_path / 'none'}: the path does not exist; check its spelling\n"
    )
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--robot", "x", "--color-order", "bgr", "--format", "rosbag2"],
            "--color-order is not supported with --format rosbag2 "
            "(supported: aloha, replay-buffer, robomimic, robotwin)",
        ),
        (
            ["--map", "a"],
            "--map: 'a' is not of the form KEY=STREAM or KEY=STREAM:NAMES (keys of the source: action, img)",
        ),
        (
            ["--map", "acton=joint_commands"],
            "--map: unknown key 'acton', did you mean 'action'? (keys of the source: action, img)",
        ),
        (
            ["--map", "action=joint_comands"],
            "--map: unknown stream 'joint_comands', did you mean 'joint_commands'?; expected joint_states, "
            "joint_commands, joint_commands_sent, motors, environment_state, cameras/NAME, depth/NAME, robot0_eef_pos, "
            "none (keys of the source: action, img)",
        ),
        (
            ["--map", "action=cameras/a", "--map", "img=cameras/a"],
            "--map: action and img are both mapped to cameras/a; a camera has one source "
            "(keys of the source: action, img)",
        ),
        (["--crf", "60"], "crf is 60, expected 0 to 51"),
        (
            ["--format", "lerobot", "--fps", "9"],
            "--fps is not supported with --format lerobot (supported: aloha, replay-buffer, robomimic, robotwin)",
        ),
        (["--fps", "-1"], "fps is -1.0, expected a rate above 0 Hz"),
        (["--episodes", "x"], "episodes is 'x', expected numbers and ranges, such as 0-9,12"),
        (["--episodes", "7"], "no episode matches the filters (5 episodes in total); choose --episodes from 0 to 4"),
        (["--format", "lerobot"], "meta/info.json: the file does not exist; fetch the whole dataset"),
        (["--format", "rosbag2"], "buffer: no bag found; choose a folder with metadata.yaml, .mcap or .db3 files"),
        (
            ["--format", "aloha"],
            "buffer: no .hdf5 file found; choose a folder of ALOHA episodes, or one file",
        ),
    ],
)
def test_bad_options_are_one_clear_line(run, source, tmp_path, capsys, words, message):
    assert run("import", source, tmp_path / "d", *words)[0] == 2
    err = capsys.readouterr().err
    assert err.startswith("waldo: error: ")
    assert err.endswith(message + "\n")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["rosbag2", "--fps", "10"],
            "--fps is not supported with --format rosbag2 (supported: lerobot, replay-buffer, umi)",
        ),
        (
            ["umi", "--action", "sent"],
            "--action is not supported with --format umi (supported: lerobot, replay-buffer)",
        ),
        (
            ["replay-buffer", "--images", "h264"],
            "--images is not supported with --format replay-buffer (supported: rosbag2)",
        ),
        (["lerobot", "--storage", "sqlite3"], "--storage is not supported with --format lerobot (supported: rosbag2)"),
        (
            ["rosbag2", "--one-file-per-episode"],
            "--one-file-per-episode is not supported with --format rosbag2 (supported: lerobot)",
        ),
        (["rosbag2", "--license", "mit"], "--license is not supported with --format rosbag2 (supported: lerobot)"),
    ],
)
def test_options_that_a_format_does_not_have_are_refused(run, record, script, tmp_path, capsys, words, message):
    dataset = record(script(seconds=0.2))
    assert run("export", dataset.path, tmp_path / "out", "--format", *words)[0] == 2
    assert capsys.readouterr().err == f"waldo: error: {message}\n"


def test_the_export_command_writes_every_format(run, record, script, tmp_path):
    dataset = record(script(seconds=0.5))
    code, text = run("export", dataset.path, tmp_path / "rb", "--format", "replay-buffer", "--cameras", "front")
    assert (code, text.splitlines()[0]) == (
        0,
        f"{tmp_path / 'rb'}: exported 1 episode, 15 rows, 0 frames copied, 15 encoded",
    )
    code, text = run("export", dataset.path, tmp_path / "bags", "--format", "rosbag2", "--images", "h264")
    assert (code, text.splitlines()[0]) == (
        0,
        f"{tmp_path / 'bags'}: exported 1 episode, 125 rows, 30 frames copied, 0 encoded",
    )
    code, text = run("export", dataset.path, tmp_path / "lr")
    assert (code, text.splitlines()[0]) == (
        0,
        f"{tmp_path / 'lr'}: exported 1 episode, 15 rows, 30 frames copied, 0 encoded",
    )


def test_an_unknown_format_name_is_refused(source, tmp_path):
    with pytest.raises(UnknownNameError) as error:
        import_dataset(source, tmp_path / "d", CONFIG, format="lerbot")
    assert str(error.value).startswith("unknown import format 'lerbot'; did you mean 'lerobot'?")
