import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from waldo import console
from waldo.cli import main


@pytest.fixture
def run(monkeypatch):
    """Return what runs a command line and gives its exit code and what it printed."""

    def call(*args):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(console, "out", lambda: Console(file=out, highlight=False, soft_wrap=True))
        monkeypatch.setattr(console, "err", lambda: Console(file=err, highlight=False, soft_wrap=True))
        monkeypatch.setattr("waldo.cli.support.tables.out", console.out)
        return main.main([str(arg) for arg in args]), out.getvalue()

    return call


def test_info_prints_a_summary(run, record, script):
    dataset = record(script(), script(outcome="failure", task="put [x] down", without_rows=[7]))
    code, text = run("info", dataset.path)
    assert code == 0
    assert "robot tiny, 2 episodes (1 failure, 1 success)" in text
    assert "put [x] down" in text
    assert [line.split() for line in text.splitlines() if line.startswith("joints/state")] == [
        ["joints/state", "60", "2", "position[3],", "velocity[3],", "effort[3]"]
    ]


def test_info_as_json(run, record, script):
    dataset = record(script())
    code, text = run("info", dataset.path, "--json")
    info = json.loads(text)
    assert code == 0
    assert info["episodes"] == 1
    assert info["streams"]["cameras/front"] == {"rates_hz": [30.0], "holds": ["64x48 h264"], "episodes": 1}
    assert info["max_winding_c"] == 40.0
    assert info["tasks"] == {"lift the red cube": 1}


def test_check_passes_a_sound_dataset(run, record, script):
    code, text = run("check", record(script()).path)
    assert code == 0
    assert "0 problems in 1 episode, max. winding temperature 40.0 °C" in text
    assert "robot 'tiny' is not registered: limits and heat are not checked" in text


def test_check_fails_with_what_was_found(run, record, script):
    dataset = record(script(seconds=2.0, without_frames={"cameras/front": [30]}))
    code, text = run("check", dataset.path)
    assert code == 1
    line = "problem  episode 0, cameras/front: lost 1 of 60 messages (1 missing in the sequence)"
    assert line in text.splitlines()
    code, text = run("check", dataset.path, "--json")
    assert code == 1
    report = json.loads(text)
    assert report["problems"] == 1
    assert [finding["kind"] for finding in report["episodes"][0]["findings"]] == ["robot", "loss"]


def test_recover_prints_its_results(run, locked, streams, play, script, record):
    dataset = record(script(seconds=0.2))
    assert run("recover", dataset.path) == (0, "no interrupted recording found\n")
    writer = locked.begin(streams, {})
    play(writer, script(seconds=0.2))
    writer._finish_cameras()
    writer._journal.close()
    (locked.path / "episode_000000.journal").rename(dataset.path / "episode_000001.journal")
    code, text = run("recover", dataset.path)
    assert code == 0
    assert text.startswith(
        "episode 1: saved as unknown (interrupted); recovered 0.18 s until 2023-11-14 22:13:20.183333 UTC: "
        "12 joints/state, "
    )
    assert text.endswith("; lost at most 0.5 s after that\n")


def test_export_prints_its_result(run, record, script, tmp_path):
    dataset = record(script(), script(seconds=2.0, without_rows=range(60, 90)))
    code, text = run("export", dataset.path, tmp_path / "out", "--cameras", "front", "--no-environment")
    assert code == 1
    assert text.splitlines() == [
        f"{tmp_path / 'out'}: exported 1 episode, 30 rows, 30 frames copied, 0 encoded",
        "front: frames are at most 0.0 ms from their rows",
        "note  Streams are resampled to one rate; native rates, receipt and publication times stay in the recording.",
        "episode 1 skipped: joints/state has 1 gap, the longest 517 ms at 0.98 s (the limit is 0.25 s)",
    ]
    code, text = run(
        "export", dataset.path, tmp_path / "states", "--cameras", "none", "--outcome", "failure", "success"
    )
    assert code == 1
    assert "30 rows, 0 frames copied" in text


def test_export_passes_its_options_on(run, record, script, tmp_path, capsys):
    dataset = record(script(seconds=0.3), script(seconds=0.3, seed=1))
    code, _ = run("export", dataset.path, tmp_path / "out", "--one-file-per-episode", "--stamps", "motors=receipt")
    assert code == 0
    assert len(list((tmp_path / "out").glob("videos/*front/*/*.mp4"))) == 2
    code, _ = run("export", dataset.path, tmp_path / "other", "--stamps", "motor=receipt")
    assert code == 2
    assert "unknown stream 'motor'; did you mean 'motors'" in capsys.readouterr().err


def test_the_commands_load_nothing_heavy():
    # `waldo info --help` on a robot must neither wait for torch nor need it.
    code = "import sys, waldo.cli.dataset; print({'zarr', 'av', 'torch', 'lerobot', 'cv2'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_recording_and_checking_need_no_lerobot():
    code = "import sys, waldo.datasets.dataset, waldo.datasets.quality.check, waldo.datasets.lerobot.export; "
    code += "print({'torch', 'lerobot', 'datasets', 'pandas'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_user_errors_are_one_line(run, tmp_path, capsys):
    assert run("info", Path("/nowhere"))[0] == 2
    assert capsys.readouterr().err == ("waldo: error: /nowhere: is not a dataset (no dataset.json); check the path\n")
