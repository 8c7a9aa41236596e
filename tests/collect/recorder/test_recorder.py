"""The recorder: the requests of the operator, and the resulting episodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from waldo.collect.recorder.recorder import Recorder, RecorderConfig, RecorderError, State
from waldo.datasets.dataset import Dataset
from waldo.errors import WaldoError
from waldo.robots.description import Robot


@pytest.fixture
def recorder(tmp_path: Path, toy_robot: Robot) -> Iterator[Recorder]:
    """A recorder on a new dataset."""
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        config = RecorderConfig(lockstep=True)
        yield Recorder(dataset, toy_robot, {"robot": "toy", "operator": "ada"}, config)


def feed(recorder: Recorder, ticks: range, skip: int = -1) -> None:
    """Add the state and a camera frame of some ticks; the state of tick `skip` is lost in transit."""
    for k in ticks:
        stamps = {"header_ns": k * 1000, "receipt_ns": k * 1000 + 5, "sequence": k + 1}
        both = np.array([k, -k], dtype=float)
        if k != skip:
            recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
        recorder.frame("cameras/front", np.full((48, 64, 3), k, np.uint8), **stamps)


def test_an_episode_contains_the_messages_between_start_and_save(recorder: Recorder) -> None:
    recorder.task = {"task": "lift the cube", "seed": 7}
    feed(recorder, range(3))
    assert recorder.start(["cameras/front"]) == "recording lift the cube"
    feed(recorder, range(3, 13))
    assert recorder.save("success") == "episode_000000.zarr saved as success"
    episode = recorder.dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("success", "operator")
    assert {k: episode.attributes[k] for k in ("task", "seed", "operator")} == {
        "task": "lift the cube",
        "seed": 7,
        "operator": "ada",
    }
    np.testing.assert_array_equal(episode.time_ns("joints/state", "header"), np.arange(3, 13) * 1000)
    np.testing.assert_array_equal(episode.time_ns("joints/state", "receipt"), np.arange(3, 13) * 1000 + 5)
    np.testing.assert_array_equal(episode.values("joints/state", "position")[:, 0], np.arange(3, 13))
    assert episode.frames("cameras/front", np.arange(10)).shape == (10, 48, 64, 3)
    assert episode.lost("joints/state") == 0


def test_a_gap_in_the_sequence_is_a_loss(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 9), skip=4)
    recorder.save("success")
    assert recorder.dataset.episodes[0].lost("joints/state") == 1
    assert recorder.dataset.episodes[0].lost("cameras/front") == 0


def test_start_is_refused_while_nothing_was_received_on_an_expected_stream(recorder: Recorder) -> None:
    expected = (
        "cannot start: no message received yet on joints/state, motors; "
        "check that the robot and its cameras are publishing"
    )
    with pytest.raises(RecorderError, match=f"^{expected}$"):
        recorder.start(["motors", "joints/sent"])


def test_a_request_that_is_not_possible_is_refused_with_the_reason(recorder: Recorder) -> None:
    feed(recorder, range(1))
    with pytest.raises(RecorderError, match=r"^cannot save: no episode is being recorded; start one first$"):
        recorder.save("success")
    with pytest.raises(RecorderError, match=r"^cannot discard: no episode is being recorded; start one first$"):
        recorder.discard()
    with pytest.raises(RecorderError, match=r"^cannot stop: the recorder is idle$"):
        recorder.stop()
    recorder.start()
    with pytest.raises(RecorderError, match=r"^cannot start: an episode is recording; save, fail or discard it first$"):
        recorder.start()
    with pytest.raises(RecorderError, match=r"^cannot undo: an episode is recording; save, fail or discard it first$"):
        recorder.undo()


def test_after_stop_nothing_more_is_recorded_and_the_outcome_comes_later(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 6))
    recorder.stop()
    feed(recorder, range(6, 20))
    recorder.save("failure")
    episode = recorder.dataset.episodes[0]
    assert episode.outcome == "failure"
    assert len(episode.time_ns("joints/state", "header")) == 5


def test_discard_deletes_the_open_episode_and_undo_the_last_one(recorder: Recorder) -> None:
    feed(recorder, range(1))
    for _ in range(2):
        recorder.start()
        feed(recorder, range(1, 6))
        recorder.save("success")
    recorder.start()
    feed(recorder, range(1, 6))
    recorder.discard()
    assert len(recorder.dataset.episodes) == 2
    assert recorder.undo() == "deleted the last episode (index 1)"
    assert len(recorder.dataset.episodes) == 1


def test_closing_saves_an_open_episode_as_interrupted(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 6))
    recorder.close()
    assert recorder.state is State.IDLE
    episode = recorder.dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("unknown", "interrupted")


def test_a_stream_that_starts_during_an_episode_is_named(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 6))
    recorder.environment(["cube.x"], np.zeros(1), header_ns=1, receipt_ns=1, sequence=1)
    text = recorder.save("success")
    assert (
        text == "episode_000000.zarr saved as success; not recorded because they started after the episode: environment"
    )


def test_a_simulation_without_objects_has_no_environment(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.environment([], np.zeros(0), header_ns=0, receipt_ns=0, sequence=1)
    recorder.start(["environment"])
    feed(recorder, range(1, 6))
    recorder.environment([], np.zeros(0), header_ns=1, receipt_ns=1, sequence=2)
    assert recorder.save("success") == "episode_000000.zarr saved as success"
    assert "environment" not in recorder.dataset.episodes[0].streams


def add_states(recorder: Recorder, hz: float, rows: int = 60, late: float = 0.0, start_ns: int = 1) -> None:
    """Add states at a rate; the fraction `late` of them is delayed by 0.9 periods."""
    rng = np.random.default_rng(0)
    for k in range(rows):
        at = round(1e9 * (k + (0.9 if rng.random() < late else 0.0)) / hz) + start_ns
        values = dict.fromkeys(("position", "velocity", "effort"), np.zeros(2))
        recorder.row("joints/state", values=values, header_ns=at, receipt_ns=at, sequence=k)


@pytest.mark.parametrize(("hz", "kept"), [(60.0, 60.0), (98.0, 100.0), (201.0, 200.0), (67.0, 67.0)])
def test_the_rate_is_measured_and_rounded_to_a_common_one(recorder: Recorder, hz: float, kept: float) -> None:
    add_states(recorder, hz, rows=300, late=0.3)
    recorder.start()
    assert recorder.rate_hz("joints/state") == recorder.rate_hz("joints/command") == kept


def test_a_measured_rate_near_the_datasets_counts_as_that(recorder: Recorder) -> None:
    add_states(recorder, 100.0)
    recorder.start()
    add_states(recorder, 100.0)
    recorder.save("success")
    add_states(recorder, 75.0, rows=400, late=0.5)
    recorder.start()
    assert recorder.rate_hz("joints/state") == 100.0
    add_states(recorder, 75.0)
    recorder.save("success")
    # A very different rate is that of another robot.
    add_states(recorder, 50.0, rows=400)
    with pytest.raises(WaldoError, match="joints/state rate: 100 Hz in the dataset, 50 Hz here"):
        recorder.start()


def test_short_pauses_between_episodes_do_not_change_the_rate(recorder: Recorder) -> None:
    add_states(recorder, 100.0, rows=300)
    for episode in range(3):
        recorder.start()
        assert recorder.rate_hz("joints/state") == 100.0
        began_s = 3 + 11 * episode
        add_states(recorder, 100.0, rows=1000, start_ns=began_s * 10**9)
        recorder.save("success")
        # One second until the next episode.
        add_states(recorder, 100.0, rows=100, start_ns=(began_s + 10) * 10**9)
