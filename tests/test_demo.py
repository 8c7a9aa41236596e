"""The main job, as a new user runs it: one command, interrupted once, and what it leaves is open to others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from waldo.cli.main import main
from waldo.datasets.dataset import Dataset

pytestmark = pytest.mark.usefixtures("gl")  # without it the demo has neither images nor videos
WALDO = [sys.executable, "-m", "waldo"]


def interrupt_while_recording(folder: Path) -> None:
    """Start the demo and press Ctrl-C in its second episode."""
    process = subprocess.Popen(
        [*WALDO, "demo", "--quick", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 600
    while not list(folder.glob("dataset/episode_000000.zarr")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert output.rstrip().endswith("waldo: interrupted")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick demo that was interrupted while it recorded and then run to its end."""
    folder = tmp_path_factory.mktemp("demo") / "waldo-demo"
    interrupt_while_recording(folder)
    dataset = Dataset.open(folder / "dataset")
    assert dataset.unfinished == []
    assert dataset.episodes[0].reason == "operator"
    assert all(episode.count("joints/state") == len(episode.time_ns("joints/state")) for episode in dataset.episodes)
    done = subprocess.run([*WALDO, "demo", "--quick", str(folder)], capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stderr
    assert f"resuming {folder}" in done.stderr
    assert f"report: {folder / 'evaluation' / 'report.html'}" in done.stdout
    return folder


def test_it_ends_with_a_report_a_plan_and_a_figure(demo: Path) -> None:
    report = json.loads((demo / "evaluation" / "report.json").read_text())
    assert len(report["success"]) == len(report["control"]["success"]) == 3
    assert (report["policy"], report["config"]["task"]) == ("keypoint_vla", "pick")
    assert {motor["joint"] for motor in report["motors"]} >= {"shoulder_pan", "gripper"}
    assert all(24 <= motor["max_winding_c"] < 70 for motor in report["motors"])
    assert "<video" in (demo / "evaluation" / "report.html").read_text()
    assert (demo / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((demo / "plan.json").read_text())["plan"] == [
        "lift the red cube",
        "lift the blue cube",
    ]


def test_every_exported_episode_has_a_frame_a_row_and_frames_in_their_place(demo: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    exported = LeRobotDataset("local/demo", root=demo / "lerobot")
    finished = [e for e in Dataset.open(demo / "dataset").episodes if e.outcome == "success"]
    assert exported.num_episodes == len(finished) == 2
    # Two goals in the scene of one seed.
    assert [episode.attributes["seed"] for episode in finished] == [0, 0]
    assert len({episode.task for episode in finished}) == 2, "the interruption repeats no episode"
    error_ms = json.loads((demo / "export.json").read_text())["frame_error_ms"]
    assert set(error_ms) == {"front", "wrist"}
    assert max(error_ms.values()) <= 1000 / 30 / 2
    row = 0
    for episode in finished:
        frames = episode.count("cameras/front")
        shown = exported[row + frames - 1]["observation.images.front"].permute(1, 2, 0).numpy() * 255
        stored = episode.frames("cameras/front", [frames - 1])[0]
        assert np.abs(shown - stored).mean() < 1.5
        row += frames
    assert exported.num_frames == row


def test_the_policy_sees_images_and_reads_the_instruction(demo: Path) -> None:
    policy = json.loads((demo / "policy/checkpoints/last/pretrained_model/config.json").read_text())
    assert policy["input_features"] == {
        "observation.state": {"type": "STATE", "shape": [6]},
        "observation.images.front": {"type": "VISUAL", "shape": [3, 96, 128]},
        "observation.images.wrist": {"type": "VISUAL", "shape": [3, 96, 128]},
    }
    instructions = {episode.task for episode in Dataset.open(demo / "dataset").episodes}
    assert set(policy["vocabulary"]) == {word for text in instructions for word in text.split()}
    assert not (demo / "frames").exists()  # the decoded frames are not kept


def test_a_demo_of_another_policy_needs_another_folder(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick", "--policy", "act", "--inputs", "state", str(demo)]) == 2
    expected = "contains a demo of another kind (policy keypoint_vla -> act, inputs images -> state); choose another"
    assert expected in capsys.readouterr().err


def test_an_untouched_lerobot_train_trains_on_it(demo: Path, tmp_path: Path) -> None:
    program = shutil.which("lerobot-train", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None
    options = {
        "dataset.repo_id": "local/demo",
        "dataset.root": demo / "lerobot",
        "policy.type": "act",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null",
        "policy.dim_model": 32,
        "policy.n_heads": 2,
        "policy.dim_feedforward": 32,
        "policy.chunk_size": 4,
        "policy.n_action_steps": 4,
        "output_dir": tmp_path / "out",
        "batch_size": 2,
        "steps": 2,
        "num_workers": 0,
        "wandb.enable": "false",
    }
    words = [f"--{key}={value}" for key, value in options.items()]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([program, *words], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "checkpoints" / "000002" / "pretrained_model" / "model.safetensors").exists()


def test_a_finished_demo_is_not_done_again(demo: Path) -> None:
    before = (demo / "evaluation" / "report.json").stat().st_mtime_ns
    done = subprocess.run([*WALDO, "demo", "--quick", str(demo)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (demo / "evaluation" / "report.json").stat().st_mtime_ns == before


def test_a_demo_of_another_size_is_not_mixed_in(demo: Path) -> None:
    done = subprocess.run([*WALDO, "demo", "--quick", "--seed", "1", str(demo)], capture_output=True, text=True)
    assert done.returncode == 2
    expected = f"waldo: error: {demo}: contains a demo of another kind (seed 0 -> 1); choose another folder"
    assert done.stderr.strip() == expected


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = subprocess.run([*WALDO, "demo", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == f"waldo: error: {tmp_path}: already exists; choose another folder"
