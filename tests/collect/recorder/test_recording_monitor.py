"""Trouble around a recording is told once, and stands in the episode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from waldo.collect.recorder.recorder import Recorder, RecorderConfig, State
from waldo.collect.recorder.recording_monitor import ERROR, OK, WARN, Health
from waldo.datasets.dataset import Dataset
from waldo.robots.description import Robot

S = 1_000_000_000
WALL = 1_700_000_000 * S
PLENTY = 10**15


@pytest.fixture
def recorder(tmp_path: Path, toy_robot: Robot) -> Iterator[Recorder]:
    """A recorder on a new dataset; saves wait for their seal."""
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        yield Recorder(dataset, toy_robot, {}, RecorderConfig(lockstep=True))


def hear(recorder: Recorder, health: Health, at_s: float, *, camera: bool = True) -> list[str]:
    """Give the recorder a state, and a picture, at an instant; return what the operator hears."""
    wall, now = WALL + round(at_s * S), round(at_s * S)
    both = np.array([1.0, 2.0])
    stamps = {"header_ns": wall, "receipt_ns": wall, "sequence": -1}
    recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
    heard = health.heard("joints/state", now, wall)
    if camera:
        recorder.frame("cameras/front", np.zeros((48, 64, 3), np.uint8), **stamps)
        heard += health.heard("cameras/front", now, wall)
    return [notice.text for notice in heard]


def test_a_vanished_camera_is_told_while_it_can_be_mended(recorder: Recorder) -> None:
    health = Health(recorder, wall_ns=WALL, monotonic_ns=0)
    hear(recorder, health, 0.0)
    recorder.start()
    for k in range(1, 9):
        hear(recorder, health, k / 10, camera=k < 3)
    (lost,) = health.check(WALL + 9 * S // 10, 9 * S // 10, PLENTY)
    assert (lost.level, lost.text[:49]) == (ERROR, "cameras/front has been silent for 0.7 s: is its c")
    assert health.check(WALL + S, S, PLENTY) == []
    status = health.status(S)
    assert status.silent == {"cameras/front"}
    assert status.level == ERROR
    assert "SILENT: cameras/front" in str(status)
    assert hear(recorder, health, 1.2) == ["cameras/front is back after 1.0 s"]
    assert health.status(2 * S).level == OK
    recorder.save("success")
    episode = recorder.dataset.episodes[0]
    assert [(event["kind"], event["stream"]) for event in episode.events] == [
        ("stream_lost", "cameras/front"),
        ("stream_back", "cameras/front"),
    ]
    assert episode.events[0]["at_ns"] == WALL + 9 * S // 10


def test_a_jump_of_the_clock_stands_in_the_record(recorder: Recorder) -> None:
    health = Health(recorder, wall_ns=WALL, monotonic_ns=0)
    hear(recorder, health, 0.0)
    recorder.start()
    hear(recorder, health, 0.1)
    assert health.check(WALL + S // 10 + 4_000_000, S // 10, PLENTY) == []
    (jump,) = health.check(WALL + S // 5 - 2 * S, S // 5, PLENTY)
    assert jump.level == ERROR
    assert jump.text.startswith("the clock jumped by -2.004 s: ")
    recorder.save("success")
    (event,) = recorder.dataset.episodes[0].events
    assert (event["kind"], event["jump_ns"]) == ("clock_jump", -2_004_000_000)


def test_a_full_disk_ends_the_episode_with_what_was_captured(recorder: Recorder) -> None:
    health = Health(recorder, wall_ns=WALL, monotonic_ns=0)
    hear(recorder, health, 0.0)
    recorder.start()
    for k in range(1, 21):
        hear(recorder, health, k / 10)
        health.check(WALL + k * S // 10, k * S // 10, PLENTY)
    assert health.status(2 * S).level == OK
    (low,) = health.check(WALL + 2 * S, 2 * S, 65_000_000)
    assert low.level == WARN
    assert "min left" in low.text
    (full,) = health.check(WALL + 2 * S, 2 * S, 1_000_000)
    assert full.level == ERROR
    assert "episode_000000.zarr saved as unknown" in full.text
    assert recorder.state is State.IDLE
    episode = recorder.dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("unknown", "disk_full")
    assert [event["kind"] for event in episode.events] == ["disk_full"]
    assert len(episode.time_ns("joints/state")) == 20


def test_in_simulated_time_nothing_depends_on_the_machine(recorder: Recorder) -> None:
    health = Health(recorder, wall_ns=WALL, monotonic_ns=0, lockstep=True)
    hear(recorder, health, 0.0)
    assert health.check(WALL + 60 * S, 90 * S, PLENTY) == []
    assert hear(recorder, health, 90.0) == []


def test_the_status_line_says_what_matters(recorder: Recorder) -> None:
    health = Health(recorder, wall_ns=WALL, monotonic_ns=0)
    recorder.task = {"task": "lift the cube"}
    hear(recorder, health, 0.0)
    recorder.start()
    for k in range(1, 31):
        hear(recorder, health, k / 30)
    health.check(WALL + S, S, PLENTY)
    line = str(health.status(S))
    assert line.startswith("recording lift the cube  0:00  1 cameras 31 Hz  joints 31 Hz  lost 0  disk")
