"""Teleoperate and record for real: robot, operator and recorder as processes over DDS, killed and repeated."""

from __future__ import annotations

import filecmp
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import check_dataset
from waldo.demo.recording import ProcessError, Recording

pytestmark = pytest.mark.usefixtures("gl")  # the twin's cameras are recorded too


def recording(folder: Path, episodes: int = 1, seed: int = 5) -> Recording:
    """A recording of the lift task."""
    return Recording(
        dataset=folder / "dataset",
        robot="so101",
        task="lift",
        camera_size=(320, 240),
        episodes=episodes,
        seed=seed,
        logs=folder / "logs",
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recorded episodes."""
    folder = tmp_path_factory.mktemp("recorded")
    recording(folder, episodes=2).run(lambda done: None)
    return folder


def differing(left: Path, right: Path) -> Iterator[str]:
    """Name every file that differs or stands on one side only."""
    compared = filecmp.dircmp(left, right)
    yield from compared.left_only + compared.right_only
    _, mismatch, errors = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    yield from mismatch + errors
    for name in compared.common_dirs:
        yield from differing(left / name, right / name)


def test_nothing_is_lost_and_every_stream_keeps_its_rate(recorded: Path) -> None:
    dataset = Dataset.open(recorded / "dataset")
    assert [episode.outcome for episode in dataset.episodes] == ["success", "success"]
    for report in check_dataset(dataset):
        assert report.problems == 0, report
    for episode in dataset.episodes:
        assert set(episode.streams) == {
            "joints/state",
            "joints/command",
            "joints/sent",
            "control",
            "motors",
            "environment",
            "cameras/front",
            "cameras/wrist",
        }
        for name, stream in episode.streams.items():
            assert episode.lost(name) == 0
            assert np.all(np.diff(episode.sequence(name)) == 1)
            period = np.diff(episode.time_ns(name, "header")) / 1e9
            np.testing.assert_allclose(period, 1 / stream.rate_hz, atol=2e-9)
            assert np.all(episode.time_ns(name, "receipt") >= episode.time_ns(name, "header"))


def test_heat_is_recorded_beside_the_motion(recorded: Path) -> None:
    first, second = Dataset.open(recorded / "dataset").episodes
    winding = first.values("motors", "winding")
    assert winding.shape[1] == 6
    assert winding[-1].max() > winding[0].max() >= 24.0
    # The motors stay as warm as they are while the next scene is laid out.
    np.testing.assert_allclose(second.values("motors", "winding")[0], winding[-1], atol=1.0)


def test_what_was_asked_and_what_was_sent_are_both_there(recorded: Path) -> None:
    episode = Dataset.open(recorded / "dataset").episodes[0]
    asked, sent = episode.values("joints/command", "position"), episode.values("joints/sent", "position")
    assert np.all(np.isfinite(asked))
    assert 0 < np.abs(asked[: len(sent)] - sent[: len(asked)]).max() < 0.5


def test_the_same_seed_records_the_same_bits(recorded: Path, tmp_path: Path) -> None:
    recording(tmp_path, episodes=2).run(lambda done: None)
    for index in range(2):
        name = f"episode_{index:06d}.zarr"
        assert list(differing(recorded / "dataset" / name, tmp_path / "dataset" / name)) == []


def process_of(words: str, environment: str) -> int | None:
    """Return the process whose command line holds `words` and whose environment holds `environment`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if words in command and environment in (path / "environ").read_text(errors="replace"):
                return int(path.name)
        except OSError:
            continue
    return None


def test_a_killed_recorder_is_noticed_and_its_episode_recovered(tmp_path: Path) -> None:
    domain = f"ROS_DOMAIN_ID={1 + os.getpid() % 100}"
    work = recording(tmp_path, episodes=50)

    def kill_in_the_second_episode(done: int) -> None:
        if done < 1:
            return
        wait_for(lambda: any(path.stat().st_size > 100_000 for path in work.dataset.glob("*.journal")))
        pid = process_of(f"record {work.dataset}", domain)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(ProcessError, match=r"^the recorder exited with code -9; its last output is "):
        work.run(kill_in_the_second_episode)
    dataset = Dataset.open(work.dataset)
    assert len(dataset.unfinished) == 1
    assert dataset.episodes[0].outcome == "success"
    with dataset.lock():
        (recovered,) = dataset.recover()
    assert recovered.counts["joints/state"] > 10
    cut = dataset.episodes[1]
    assert (cut.outcome, cut.reason) == ("unknown", "interrupted")
    assert len(cut.frames("cameras/front")) == cut.count("cameras/front") > 5
    # The store loses nothing that it was given: states and frames end within half a second of each other.
    ends = [cut.time_ns(name, "header")[-1] for name in ("joints/state", "cameras/front", "environment")]
    assert max(ends) - min(ends) <= 5e8


def wait_for(condition: Callable[[], bool], timeout_s: float = 300.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
