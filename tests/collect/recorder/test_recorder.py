"""The recorder: the requests of the operator, and the resulting episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.collect.recorder.recorder import Recorder, RecorderConfig, RecorderError, State
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.journal import JournalError
from waldo.datasets.streams import Field
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


def test_a_position_that_is_not_a_number_is_an_error_of_the_episode_once(recorder: Recorder) -> None:
    feed(recorder, range(2))
    recorder.start()
    for k in (2, 3):
        both = np.array([k, np.nan])
        stamps = {"header_ns": k * 1000, "receipt_ns": k * 1000 + 5, "sequence": k + 1}
        recorder.row("joints/state", values={"position": both, "velocity": both, "effort": both}, **stamps)
    recorder.save("success")
    joint = recorder.robot.joint_names[1]
    (event,) = recorder.dataset.episodes[0].events
    assert event == {
        "at_ns": 2000,
        "kind": "not_finite",
        "text": f"the position of {joint} is nan",
        "level": "error",
        "joint": joint,
    }


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


@pytest.mark.parametrize(
    ("silent", "without"),
    [
        (["cameras/front"], "; to record without: --without front"),
        (["motors", "depth/front", "cameras/side"], "; to record without: --without depth/front side"),
        (["motors"], ""),
    ],
)
def test_a_silent_camera_can_be_left_out(recorder: Recorder, silent: list[str], without: str) -> None:
    add_states(recorder, 60.0)
    with pytest.raises(RecorderError) as error:
        recorder.start(silent)
    assert str(error.value) == (
        f"cannot start: no message received yet on {', '.join(silent)}; "
        f"check that the robot and its cameras are publishing{without}"
    )


def test_a_refused_camera_can_be_left_out(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.refuse("cameras/front", "/toy/front: an image of 1x1")
    with pytest.raises(RecorderError) as error:
        recorder.start(["cameras/front"])
    assert str(error.value) == "cannot start: /toy/front: an image of 1x1; to record without: --without front"
    feed(recorder, range(1, 2))
    recorder.start(["cameras/front"])
    recorder.discard()


def test_ground_truth_keeps_its_names_during_an_episode(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.named_values(schema.ENVIRONMENT, ["cube.x", "cube.y"], np.zeros(2), header_ns=0, receipt_ns=0, sequence=1)
    recorder.start()
    with pytest.raises(RecorderError) as error:
        recorder.named_values(
            schema.ENVIRONMENT, ["ball.x", "ball.y"], np.zeros(2), header_ns=1, receipt_ns=1, sequence=2
        )
    assert str(error.value) == ("the names are ball.x, ball.y, expected cube.x, cube.y as at the start of the episode")
    recorder.discard()
    recorder.named_values(schema.ENVIRONMENT, ["ball.x"], np.zeros(1), header_ns=2, receipt_ns=2, sequence=3)
    recorder.start()
    recorder.named_values(schema.ENVIRONMENT, ["ball.x"], np.zeros(1), header_ns=3, receipt_ns=3, sequence=4)
    recorder.save("success")
    stream: Any = recorder.dataset.episodes[0].streams["environment"]
    assert stream.fields[0].labels == ("ball.x",)


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
    recorder.named_values(schema.ENVIRONMENT, ["cube.x"], np.zeros(1), header_ns=1, receipt_ns=1, sequence=1)
    text = recorder.save("success")
    assert (
        text == "episode_000000.zarr saved as success; not recorded because they started after the episode: environment"
    )


def test_a_simulation_without_objects_has_no_environment(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.named_values(schema.ENVIRONMENT, [], np.zeros(0), header_ns=0, receipt_ns=0, sequence=1)
    recorder.start(["environment"])
    feed(recorder, range(1, 6))
    recorder.named_values(schema.ENVIRONMENT, [], np.zeros(0), header_ns=1, receipt_ns=1, sequence=2)
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


def add_frame(recorder: Recorder, stream: str, image: Any, at_ns: int, sequence: int = -1) -> None:
    recorder.frame(stream, image, header_ns=at_ns, receipt_ns=at_ns, sequence=sequence)


def test_the_streams_of_an_episode_have_their_fields_units_and_rates(recorder: Recorder) -> None:
    feed(recorder, range(1))
    add_frame(recorder, "depth/front", np.ones((24, 32), np.uint16), 0)
    add_frame(recorder, "cameras/other", np.zeros((24, 32, 3), np.uint8), 0)
    recorder.named_values(schema.ENVIRONMENT, ["cube.x"], np.zeros(1), header_ns=0, receipt_ns=0, sequence=1)
    recorder.start()
    feed(recorder, range(1, 4))
    recorder.named_values(schema.ENVIRONMENT, ["cube.x"], np.ones(1), header_ns=1, receipt_ns=1, sequence=2)
    add_frame(recorder, "depth/front", np.ones((24, 32), np.uint16), 1)
    add_frame(recorder, "cameras/other", np.zeros((24, 32, 3), np.uint8), 1)
    recorder.save("success")
    streams: dict[str, Any] = dict(recorder.dataset.episodes[0].streams)
    assert set(streams) == {
        "joints/state",
        "joints/command",
        "joints/sent",
        "control",
        "cameras/front",
        "cameras/other",
        "depth/front",
        "environment",
    }
    assert [(field.name, field.unit) for field in streams["joints/state"].fields] == [
        ("position", "rad"),
        ("velocity", "rad/s"),
        ("effort", "N·m"),
    ]
    assert (streams["cameras/front"].width, streams["cameras/front"].height) == (64, 48)
    assert (streams["cameras/other"].rate_hz, streams["depth/front"].rate_hz) == (30.0, 30.0)
    assert (streams["depth/front"].width, streams["depth/front"].height) == (32, 24)
    assert streams["environment"].fields == (Field("value", "", ("cube.x",)),)
    assert recorder.dataset.episodes[0].values("environment", "value").tolist() == [[1.0]]


def test_a_cameras_rate_is_that_of_the_description(tmp_path: Path, toy_robot: Robot) -> None:
    robot = replace(toy_robot, cameras=(replace(toy_robot.cameras[0], fps=15),))
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        recorder = Recorder(dataset, robot, {})
        feed(recorder, range(1))
        assert recorder.rate_hz("cameras/front") == 15.0
        assert recorder.rate_hz("motors") == 10.0
        assert recorder.rate_hz("cameras/unknown") == recorder.config.rate_hz == 60.0


def test_a_changed_image_size_is_found_between_episodes(recorder: Recorder) -> None:
    feed(recorder, range(1))
    add_frame(recorder, "cameras/front", np.zeros((48, 64, 3), np.uint8), 7_000_000_000)
    add_frame(recorder, "cameras/front", np.zeros((24, 32, 3), np.uint8), 7_999_999_999)
    assert recorder._streams["cameras/front"].width == 64  # type: ignore[union-attr]
    add_frame(recorder, "cameras/front", np.zeros((24, 32, 3), np.uint8), 8_000_000_000)
    assert recorder._streams["cameras/front"].width == 32  # type: ignore[union-attr]
    recorder.start()
    add_frame(recorder, "cameras/front", np.zeros((24, 32, 3), np.uint8), 10_000_000_000)
    assert recorder._streams["cameras/front"].width == 32  # type: ignore[union-attr]
    recorder.discard()


def test_a_jpeg_gives_the_size_of_its_stream(recorder: Recorder) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    add_frame(recorder, "cameras/front", jpeg, 0)
    assert (recorder._streams["cameras/front"].width, recorder._streams["cameras/front"].height) == (32, 24)  # type: ignore[union-attr]


def test_the_status_is_that_of_the_live_episode(recorder: Recorder) -> None:
    feed(recorder, range(1))
    assert (recorder.seconds, recorder.nbytes, recorder.lost("joints/state"), recorder.waiting) == (0.0, 0, 0, 0)
    assert (recorder.index, recorder.saved) == (0, 0)
    recorder.start()
    assert recorder.index == 0
    assert recorder.seconds == 0.0
    feed(recorder, range(1, 11), skip=5)
    assert recorder.seconds == pytest.approx(9e-6)
    assert recorder.nbytes > 1000
    assert (recorder.lost("joints/state"), recorder.lost("cameras/front")) == (1, 0)
    recorder.report_lost("cameras/front")
    recorder.report_lost("cameras/unknown")
    assert (recorder.lost("joints/state"), recorder.lost("cameras/front")) == (1, 1)
    assert recorder.lost("cameras/unknown") == 0
    recorder.save("success")
    assert (recorder.seconds, recorder.nbytes, recorder.lost("joints/state"), recorder.waiting) == (0.0, 0, 0, 0)
    assert (recorder.index, recorder.saved) == (1, 1)


def test_events_and_losses_outside_a_recording_are_dropped(recorder: Recorder) -> None:
    recorder.event("note", "before", at_ns=0)
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 3))
    recorder.event("note", "during", at_ns=1, detail=2)
    recorder.stop()
    recorder.event("note", "after", at_ns=2)
    recorder.report_lost("joints/state")
    recorder.save("success")
    (episode,) = recorder.dataset.episodes
    assert episode.events == [{"at_ns": 1, "kind": "note", "text": "during", "detail": 2}]
    assert episode.lost("joints/state") == 0


def test_stop_and_discard_confirm_and_a_second_stop_is_refused(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    assert recorder.stop() == "stopped; save, fail or discard the episode"
    with pytest.raises(RecorderError, match=r"^cannot stop: the recorder is stopped$"):
        recorder.stop()
    with pytest.raises(RecorderError, match=r"^cannot start: an episode is stopped; save, fail or discard it first$"):
        recorder.start()
    assert recorder.discard() == "discarded"
    assert recorder.state is State.IDLE
    recorder.close()
    assert len(recorder.dataset.episodes) == 0


def test_an_abandoned_episode_is_recovered(recorder: Recorder) -> None:
    feed(recorder, range(1))
    recorder.start()
    feed(recorder, range(1, 6))
    recorder.abandon()
    assert (recorder.state, recorder.nbytes) == (State.IDLE, 0)
    assert len(recorder.dataset.recover()) == 1
    assert len(recorder.dataset.episodes[0].time_ns("joints/state")) == 5


def test_an_episode_without_a_task_starts_without_a_text(recorder: Recorder) -> None:
    feed(recorder, range(1))
    assert recorder.start() == "recording"


def test_codec_quality_and_encoder_are_those_of_the_configuration(tmp_path: Path, toy_robot: Robot) -> None:
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        recorder = Recorder(dataset, toy_robot, {}, RecorderConfig(codec="jpeg", crf=30, encoder="h264_nvenc"))
        feed(recorder, range(1))
        stream: Any = recorder._streams["cameras/front"]
    assert (stream.codec, stream.crf, stream.encoder) == ("jpeg", 30, "h264_nvenc")


def test_an_episode_does_not_start_before_the_rate_is_known(tmp_path: Path, toy_robot: Robot) -> None:
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        recorder = Recorder(dataset, toy_robot, {})
        add_states(recorder, 100.0, rows=4)
        with pytest.raises(RecorderError, match="only 4 states received, and 5 are needed to measure the robot's rate"):
            recorder.start()
        add_states(recorder, 100.0, rows=2)
        recorder.start()
        assert recorder.rate_hz("joints/state") == 100.0
        recorder.discard()


def test_the_announced_rate_counts_and_not_the_one_at_which_a_busy_machine_publishes(recorder: Recorder) -> None:
    recorder.announced_hz = 60.0
    add_states(recorder, 50.0, rows=60)
    recorder.start()
    assert recorder.rate_hz("joints/state") == recorder.rate_hz("joints/command") == 60.0


def test_a_joint_is_apart_from_its_command_only_between_episodes(recorder: Recorder) -> None:
    rest = recorder.robot.home

    def step(tick: int, apart: float) -> None:
        kw = {"header_ns": tick * 10**8, "receipt_ns": tick * 10**8, "sequence": -1}
        recorder.row("joints/sent", values={"position": rest + apart}, **kw)
        recorder.row("joints/state", values={"position": rest, "velocity": rest, "effort": rest}, **kw)

    for tick in range(1, 70):
        step(tick, 0.0)
    step(70, 0.5)
    recorder.start()
    for tick in range(71, 100):
        step(tick, 0.5)
    recorder.discard()
    step(100, 0.5)
    assert recorder.joints.gates() == []
    for tick in range(101, 113):
        step(tick, 0.5)
    assert [gate.name for gate in recorder.joints.gates()] == [f"joint {name}" for name in recorder.robot.joint_names]


def checked(recorder: Recorder, ticks: range, image: Any) -> None:
    """Add moving states, and a camera with one image, at 10 Hz."""
    for tick in ticks:
        kw = {"header_ns": tick * 10**8, "receipt_ns": tick * 10**8, "sequence": -1}
        position = recorder.robot.home + 0.05 * (tick % 20)
        recorder.row("joints/state", values={"position": position, "velocity": position, "effort": position}, **kw)
        recorder.frame("cameras/front", image, **kw)


def test_cameras_are_watched_between_episodes(recorder: Recorder) -> None:
    checked(recorder, range(1, 20), np.full((48, 64, 3), np.arange(64)[:, None] * 3, np.uint8))
    assert [stream for stream, _ in recorder.cameras.present()] == ["cameras/front"]
    checked(recorder, range(20, 22), np.zeros((48, 64, 3), np.uint8))
    assert [text.partition(";")[0] for _, text in recorder.cameras.present()] == ["its image is black"]


def test_the_live_episode_is_checked_by_the_rules_and_so_is_the_next_one(recorder: Recorder) -> None:
    image = np.full((48, 64, 3), np.arange(64)[:, None] * 3, np.uint8)
    checked(recorder, range(1, 80), image)
    recorder.start()
    checked(recorder, range(80, 120), image)
    assert {(one.kind, one.stream) for one in recorder.quality.look()} >= {("frozen", "cameras/front")}
    recorder.discard()
    recorder.start()
    assert recorder.quality.look() == []


def test_an_episode_that_cannot_be_closed_is_recovered_and_the_next_one_can_start(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(recorder, range(1, 4))
    recorder.start()
    feed(recorder, range(4, 8))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwritev", full)
        with pytest.raises(JournalError, match="No space left on device"):
            recorder.save("success")
    feed(recorder, range(8, 10))
    recorder.start()
    feed(recorder, range(10, 12))
    recorder.save("failure")
    (recovered,) = recorder.dataset.recover()
    assert recovered.counts["joints/state"] == 4
