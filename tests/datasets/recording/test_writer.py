import logging
import threading
import time

import numpy as np
import pytest

from waldo.datasets.episode import Episode
from waldo.datasets.quality.verify import verify
from waldo.datasets.recording.writer import EpisodeClosedError
from waldo.datasets.video.h264 import Encoder
from waldo.errors import ConfigError, UnknownNameError

STAMPS = {"header_ns": 10, "receipt_ns": 20}


@pytest.fixture
def begun(locked, streams):
    return locked.begin(streams, {"task": "t"}, back_pressure="wait")


def frame(writer, number, rgb=None, camera="cameras/front"):
    picture = np.zeros((48, 64, 3), np.uint8) if rgb is None else rgb
    return writer.frame(camera, header_ns=number, receipt_ns=number + 1, sequence=number, image=picture)


def test_a_stream_that_was_not_announced_is_refused(begun):
    with pytest.raises(UnknownNameError) as error:
        begun.row("joints/stat", **STAMPS, sequence=1, values={})
    assert str(error.value) == (
        "unknown scalar stream 'joints/stat'; did you mean 'joints/state'? "
        "(known: environment, joints/command, joints/sent, joints/state, motors)"
    )
    with pytest.raises(UnknownNameError, match="unknown camera 'joints/state'"):
        frame(begun, 1, camera="joints/state")


def test_a_field_too_few_or_too_many_is_refused(begun):
    with pytest.raises(ConfigError, match=r"joints/command\.position is None, expected 3 values"):
        begun.row("joints/command", **STAMPS, sequence=1, values={})
    with pytest.raises(UnknownNameError, match="unknown field of joints/command 'positions'; did you mean 'position'"):
        begun.row("joints/command", **STAMPS, sequence=1, values={"positions": np.zeros(3)})
    with pytest.raises(ConfigError) as error:
        begun.row("joints/command", **STAMPS, sequence=1, values={"position": np.zeros(4)})
    assert str(error.value) == "the shape of joints/command.position is (4,), expected (3,)"


def test_a_frame_of_another_size_is_refused(begun):
    with pytest.raises(ConfigError) as error:
        frame(begun, 1, np.zeros((64, 48, 3), np.uint8))
    expected = "a frame of cameras/front is 'uint8 (64, 48, 3)', expected uint8 (48, 64, 3)"
    assert str(error.value) == expected


def test_nothing_is_written_after_the_end(begun):
    begun.discard()
    expected = f"{begun.destination.with_suffix('.journal')}: the episode is discarded, nothing can be written; "
    for action in (
        lambda: begun.row("motors", **STAMPS, sequence=1, values={}),
        lambda: begun.save("success"),
        begun.discard,
        lambda: begun.report_lost("motors", 1),
    ):
        with pytest.raises(EpisodeClosedError) as error:
            action()
        assert str(error.value) == expected + "begin another with Dataset.begin"


def test_an_outcome_that_does_not_exist_is_refused(begun):
    with pytest.raises(UnknownNameError, match="unknown outcome 'sucess'; did you mean 'success'"):
        begun.save("sucess")
    begun.discard()


def test_attributes_that_json_cannot_hold_are_refused(locked, streams):
    for value in (float("nan"), np.float32(1), object()):
        with pytest.raises(ConfigError, match="expected values that JSON can hold"):
            locked.begin(streams, {"seed": value})
    assert locked.cut == []


def test_the_callers_buffer_may_be_used_again(begun, make_picture):
    buffer = np.empty((48, 64, 3), np.uint8)
    for number in range(10):
        buffer[:] = make_picture(number)
        frame(begun, number + 1, buffer)
    found = Episode(begun.save("success")).frames("cameras/front")
    wanted = np.stack([make_picture(number) for number in range(10)])
    error = np.abs(found[:, None].astype(int) - wanted[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(10)).all()


class Slow:
    """An encoder that stands still until it is told to go on."""

    def __init__(self, monkeypatch):
        self.go, self.entered = threading.Event(), threading.Event()
        encode = Encoder.encode

        def slow(encoder, rgb):
            self.entered.set()
            self.go.wait()
            return encode(encoder, rgb)

        monkeypatch.setattr(Encoder, "encode", slow)


def test_what_the_encoder_has_no_time_for_is_kept_and_encoded_by_sealing(locked, streams, monkeypatch, make_picture):
    slow = Slow(monkeypatch)
    writer = locked.begin(streams, {})
    frame(writer, 1, make_picture(0))
    assert slow.entered.wait(10)
    for number in range(1, 10):
        assert frame(writer, number + 1, make_picture(number))
    slow.go.set()
    # With the caller idle the rest is encoded as ever: the second group began while four frames waited.
    for number in range(10, 13):
        while writer.waiting:
            time.sleep(0.001)
        assert frame(writer, number + 1, make_picture(number))
    episode = Episode(writer.save("success"))
    assert episode.count("cameras/front") == 13
    assert episode.lost("cameras/front") == 0
    assert [(e["kind"], e["stream"]) for e in episode.events] == [("quality_lowered", "cameras/front")]
    found = episode.frames("cameras/front")
    wanted = np.stack([make_picture(number) for number in range(13)])
    error = np.abs(found[:, None].astype(int) - wanted[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(13)).all()
    assert verify(episode) == []


def test_a_full_queue_is_a_recorded_loss_and_an_error(locked, streams, monkeypatch, caplog):
    slow = Slow(monkeypatch)
    writer = locked.begin(streams, {})
    frame(writer, 1)
    assert slow.entered.wait(10)
    taken = [frame(writer, number) for number in range(2, 16)]
    # At most 0.35 s wait: ten frames. The rest are lost, the last one too, which no gap shows.
    assert taken == [True] * 10 + [False] * 4
    assert writer.lost("cameras/front") == 4
    slow.go.set()
    episode = Episode(writer.save("success"))
    assert episode.count("cameras/front") == 11
    assert episode.lost("cameras/front") == 4
    assert episode.attributes["streams"]["cameras/front"]["lost_dropped"] == 4
    assert [event["kind"] for event in episode.events if event["kind"] == "dropped"] == ["dropped"]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "cameras/front: frames are lost from 12 on: this machine cannot keep up" in messages
    assert "episode_000000.zarr: cameras/front lost 4 messages" in messages


def test_in_simulated_time_the_caller_waits_for_the_encoder(locked, streams, make_picture):
    writer = locked.begin(streams, {}, back_pressure="wait")
    for number in range(60):
        assert frame(writer, number + 1, make_picture(number))
    episode = Episode(writer.save("success"))
    assert (episode.count("cameras/front"), episode.events) == (60, [])


def test_an_encoder_that_fails_is_not_silent(begun, monkeypatch, caplog):
    failed = threading.Event()

    def broken(self, rgb):
        failed.set()
        raise RuntimeError("no encoder")

    monkeypatch.setattr(Encoder, "encode", broken)
    frame(begun, 1)
    assert failed.wait(10)
    with pytest.raises(RuntimeError, match="no encoder"):
        begun.save("success")
    assert "cameras/front: the encoder has stopped: no encoder" in [r.getMessage() for r in caplog.records]


def test_losses_add_up(begun, caplog):
    for sequence in (3, 4, 7):
        begun.row("joints/command", **STAMPS, sequence=sequence, values={"position": np.zeros(3)})
    begun.report_lost("joints/command", 5)
    begun.report_lost("joints/command", 0)
    assert begun.lost("joints/command") == 7
    assert begun.counts["joints/command"] == 3
    episode = Episode(begun.save("failure", "operator"))
    assert episode.lost("joints/command") == 7
    assert episode.gaps("joints/command").tolist() == [0, 0, 2]
    assert "joints/command: 5 messages are lost" in [r.getMessage() for r in caplog.records]


def test_a_block_left_without_decision_is_saved_as_interrupted(locked, streams):
    def interrupted():
        with locked.begin(streams, {}) as writer:
            frame(writer, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    episode = locked.episodes[0]
    assert (episode.outcome, episode.reason, episode.count("cameras/front")) == ("unknown", "interrupted", 1)


def test_a_writer_knows_its_index(begun):
    assert begun.index == 0
    assert begun.destination.name == "episode_000000.zarr"
    begun.discard()


def test_repeated_frames_are_marked(begun, make_picture):
    for number, shown in enumerate((0, 1, 1, 1, 2)):
        frame(begun, number + 1, make_picture(shown))
    episode = Episode(begun.save("success"))
    assert episode.repeated("cameras/front").tolist() == [False, False, True, True, False]
