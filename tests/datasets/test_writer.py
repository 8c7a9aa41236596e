import logging
import threading

import numpy as np
import pytest

from waldo.datasets import writer as writer_module
from waldo.datasets.episode import Episode
from waldo.datasets.video import Encoder
from waldo.datasets.writer import EpisodeClosedError
from waldo.errors import ConfigError, UnknownNameError

STAMPS = {"header_ns": 10, "receipt_ns": 20}


@pytest.fixture
def begun(locked, streams):
    return locked.begin(streams, {"task": "t"})


def frame(writer, number, rgb=None, camera="cameras/front"):
    picture = np.zeros((48, 64, 3), np.uint8) if rgb is None else rgb
    return writer.frame(camera, header_ns=number, receipt_ns=number + 1, sequence=number, rgb=picture)


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


def test_a_full_queue_is_a_recorded_loss_and_an_error(locked, streams, monkeypatch, caplog):
    go = threading.Event()
    encode = Encoder.encode

    def slow(self, rgb):
        go.wait()
        return encode(self, rgb)

    monkeypatch.setattr(Encoder, "encode", slow)
    monkeypatch.setattr(writer_module, "QUEUE_FRAMES", 2)
    monkeypatch.setattr(writer_module, "PATIENCE_S", 0.01)
    writer = locked.begin(streams, {})
    taken = [frame(writer, number) for number in range(1, 7)]
    # One may be in the encoder's hands, two wait; the rest are lost, the last one too, which no gap shows.
    assert taken[:2] == [True, True]
    assert taken[3:] == [False, False, False]
    lost = taken.count(False)
    assert writer.lost("cameras/front") == lost
    go.set()
    episode = Episode(writer.save("success"))
    assert episode.count("cameras/front") == 6 - lost
    assert episode.lost("cameras/front") == lost
    assert episode.attributes["streams"]["cameras/front"]["lost_dropped"] == lost
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "cameras/front: frame 6 is lost: the encoder has fallen 2 frames behind" in messages
    assert f"episode_000000.zarr: cameras/front lost {lost} messages" in messages


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
