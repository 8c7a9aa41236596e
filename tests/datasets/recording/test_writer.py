import logging
import threading
import time

import numpy as np
import pytest

from waldo.datasets.episode import Episode
from waldo.datasets.quality.verify import verify
from waldo.datasets.recording.encoding import encoder_of
from waldo.datasets.recording.writer import EpisodeClosedError
from waldo.datasets.streams import DepthStream, VideoStream
from waldo.datasets.video.encoder import Encoder
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.images import decode_jpeg, encode_jpeg
from waldo.errors import ConfigError, UnknownNameError

STAMPS = {"header_ns": 10, "receipt_ns": 20}


@pytest.fixture
def writer(locked, streams):
    return locked.begin(streams, {"task": "t"}, back_pressure="wait")


def frame(writer, number, rgb=None, camera="cameras/front"):
    image = np.zeros((48, 64, 3), np.uint8) if rgb is None else rgb
    return writer.frame(camera, header_ns=number, receipt_ns=number + 1, sequence=number, image=image)


def test_unknown_stream_is_refused(writer):
    with pytest.raises(UnknownNameError) as error:
        writer.row("joints/stat", **STAMPS, sequence=1, values={})
    assert str(error.value) == (
        "unknown scalar stream 'joints/stat'; did you mean 'joints/state'? "
        "(known: environment, joints/command, joints/sent, joints/state, motors)"
    )
    with pytest.raises(UnknownNameError, match="unknown camera 'joints/state'"):
        frame(writer, 1, camera="joints/state")


def test_missing_and_unknown_fields_are_refused(writer):
    with pytest.raises(ConfigError, match=r"joints/command\.position is None, expected 3 values"):
        writer.row("joints/command", **STAMPS, sequence=1, values={})
    with pytest.raises(UnknownNameError, match="unknown field of joints/command 'positions'; did you mean 'position'"):
        writer.row("joints/command", **STAMPS, sequence=1, values={"positions": np.zeros(3)})
    with pytest.raises(ConfigError) as error:
        writer.row("joints/command", **STAMPS, sequence=1, values={"position": np.zeros(4)})
    assert str(error.value) == "the shape of joints/command.position is (4,), expected (3,)"


def test_frame_of_another_size_is_refused(writer):
    with pytest.raises(ConfigError) as error:
        frame(writer, 1, np.zeros((64, 48, 3), np.uint8))
    expected = "a frame of cameras/front is 'uint8 (64, 48, 3)', expected uint8 (48, 64, 3)"
    assert str(error.value) == expected


def test_finished_episode_cannot_be_written(writer):
    writer.discard()
    expected = f"{writer.destination.with_suffix('.journal')}: the episode is discarded and cannot be written; "
    for action in (
        lambda: writer.row("motors", **STAMPS, sequence=1, values={}),
        lambda: writer.save("success"),
        writer.discard,
        lambda: writer.report_lost("motors", 1),
    ):
        with pytest.raises(EpisodeClosedError) as error:
            action()
        assert str(error.value) == expected + "start another one with Dataset.begin"


def test_unknown_outcome_is_refused(writer):
    with pytest.raises(UnknownNameError, match="unknown outcome 'sucess'; did you mean 'success'"):
        writer.save("sucess")
    writer.discard()


def test_attributes_that_json_cannot_represent_are_refused(locked, streams):
    for value in (float("nan"), np.float32(1), object()):
        with pytest.raises(ConfigError, match="expected values that JSON can represent"):
            locked.begin(streams, {"seed": value})
    assert locked.unfinished == []


def test_caller_may_overwrite_its_buffer(writer, make_image):
    buffer = np.empty((48, 64, 3), np.uint8)
    for number in range(10):
        buffer[:] = make_image(number)
        frame(writer, number + 1, buffer)
    found = Episode(writer.save("success")).frames("cameras/front")
    expected = np.stack([make_image(number) for number in range(10)])
    error = np.abs(found[:, None].astype(int) - expected[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(10)).all()


class Slow:
    """An encoder that blocks until `go` is set."""

    def __init__(self, monkeypatch):
        self.go, self.entered = threading.Event(), threading.Event()
        encode = Encoder.encode

        def slow(encoder, rgb):
            self.entered.set()
            self.go.wait()
            return encode(encoder, rgb)

        monkeypatch.setattr(Encoder, "encode", slow)


def test_spilled_frames_are_encoded_when_the_episode_is_finalized(locked, streams, monkeypatch, make_image):
    slow = Slow(monkeypatch)
    writer = locked.begin(streams, {})
    frame(writer, 1, make_image(0))
    assert slow.entered.wait(10)
    for number in range(1, 10):
        assert frame(writer, number + 1, make_image(number))
    slow.go.set()
    # The second group started while four frames were queued. Once the queue is empty, frames are encoded again.
    for number in range(10, 13):
        while writer.waiting:
            time.sleep(0.001)
        assert frame(writer, number + 1, make_image(number))
    episode = Episode(writer.save("success"))
    assert episode.count("cameras/front") == 13
    assert episode.lost("cameras/front") == 0
    assert [(e["kind"], e["stream"]) for e in episode.events] == [("quality_lowered", "cameras/front")]
    found = episode.frames("cameras/front")
    expected = np.stack([make_image(number) for number in range(13)])
    error = np.abs(found[:, None].astype(int) - expected[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(13)).all()
    assert verify(episode) == []


def test_full_queue_is_recorded_as_a_loss_and_logged_as_an_error(locked, streams, monkeypatch, caplog):
    slow = Slow(monkeypatch)
    writer = locked.begin(streams, {})
    frame(writer, 1)
    assert slow.entered.wait(10)
    accepted = [frame(writer, number) for number in range(2, 16)]
    # The queue has a capacity of 0.35 s: ten frames. The others are lost, including the last one, which leaves no gap.
    assert accepted == [True] * 10 + [False] * 4
    assert writer.lost("cameras/front") == 4
    slow.go.set()
    episode = Episode(writer.save("success"))
    assert episode.count("cameras/front") == 11
    assert episode.lost("cameras/front") == 4
    assert episode.attributes["streams"]["cameras/front"]["lost_dropped"] == 4
    assert [event["kind"] for event in episode.events if event["kind"] == "dropped"] == ["dropped"]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "cameras/front: dropping frames from sequence 12: the encoder cannot keep up" in messages
    assert "episode_000000.zarr: cameras/front lost 4 messages" in messages


def test_in_simulated_time_the_caller_waits_for_the_encoder(locked, streams, make_image):
    writer = locked.begin(streams, {}, back_pressure="wait")
    for number in range(60):
        assert frame(writer, number + 1, make_image(number))
    episode = Episode(writer.save("success"))
    assert (episode.count("cameras/front"), episode.events) == (60, [])


def test_failure_of_the_encoder_is_logged_and_raised(writer, monkeypatch, caplog):
    failed = threading.Event()

    def broken(self, rgb):
        failed.set()
        raise RuntimeError("no encoder")

    monkeypatch.setattr(Encoder, "encode", broken)
    frame(writer, 1)
    assert failed.wait(10)
    with pytest.raises(RuntimeError, match="no encoder"):
        writer.save("success")
    assert "cameras/front: the encoder failed: no encoder" in [r.getMessage() for r in caplog.records]


def test_losses_add_up(writer, caplog):
    for sequence in (3, 4, 7):
        writer.row("joints/command", **STAMPS, sequence=sequence, values={"position": np.zeros(3)})
    writer.report_lost("joints/command", 5)
    writer.report_lost("joints/command", 0)
    assert writer.lost("joints/command") == 7
    assert writer.counts["joints/command"] == 3
    episode = Episode(writer.save("failure", "operator"))
    assert episode.lost("joints/command") == 7
    assert episode.gaps("joints/command").tolist() == [0, 0, 2]
    assert "joints/command: lost 5 messages" in [r.getMessage() for r in caplog.records]


def test_episode_that_is_neither_saved_nor_discarded_is_saved_as_interrupted(locked, streams):
    def interrupted():
        with locked.begin(streams, {}) as writer:
            frame(writer, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    episode = locked.episodes[0]
    assert (episode.outcome, episode.reason, episode.count("cameras/front")) == ("unknown", "interrupted", 1)


def test_writer_has_the_index_of_its_episode(writer):
    assert writer.index == 0
    assert writer.destination.name == "episode_000000.zarr"
    writer.discard()


def test_accepted_rows_and_frames_are_counted(writer):
    for number in range(3):
        frame(writer, number + 1)
    writer.row("joints/command", **STAMPS, sequence=1, values={"position": np.zeros(3)})
    assert {name: count for name, count in writer.counts.items() if count} == {"cameras/front": 3, "joints/command": 1}
    writer.discard()


def add_packet(writer, number, packet, camera="cameras/front"):
    stamps = {"header_ns": 10 * number, "receipt_ns": 10 * number + 2, "publish_ns": 10 * number + 1}
    writer.packet(camera, **stamps, sequence=number, packet=packet)


def test_frames_that_are_already_encoded_are_stored_unchanged(writer, make_image):
    encoder = encoder_of(writer.streams["cameras/front"])
    packets = [packet for number in range(7) for packet in encoder.encode(make_image(number))] + encoder.flush()
    for number, packet in enumerate(packets):
        assert writer.counts["cameras/front"] == number
        add_packet(writer, number + 1, packet)
    assert writer.counts["cameras/front"] == 7
    episode = Episode(writer.save("success"))
    assert (episode.count("cameras/front"), episode.lost("cameras/front")) == (7, 0)
    numbers = 10 * np.arange(1, 8)
    for clock, offset in (("header", 0), ("publish", 1), ("receipt", 2)):
        assert episode.time_ns("cameras/front", clock).tolist() == (numbers + offset).tolist()
    found = episode.frames("cameras/front")
    expected = np.stack([make_image(number) for number in range(7)])
    error = np.abs(found[:, None].astype(int) - expected[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(7)).all()
    assert verify(episode) == []


def test_gaps_between_encoded_frames_are_losses(writer, make_image):
    encoder = encoder_of(writer.streams["cameras/front"])
    packets = [packet for number in range(3) for packet in encoder.encode(make_image(number))] + encoder.flush()
    for number, packet in zip((1, 2, 6), packets, strict=True):
        add_packet(writer, number, packet)
    assert writer.lost("cameras/front") == 3
    assert Episode(writer.save("success")).lost("cameras/front") == 3


def test_encoded_frames_whose_key_frames_do_not_fit_the_groups_are_refused(writer):
    with pytest.raises(ConfigError) as error:
        add_packet(writer, 1, Packet(b"", key=False))
    assert str(error.value) == "packet 0 of cameras/front is 'no key frame', expected one every 5"
    add_packet(writer, 1, Packet(b"", key=True))
    with pytest.raises(ConfigError) as error:
        add_packet(writer, 2, Packet(b"", key=True))
    assert str(error.value) == "packet 1 of cameras/front is 'a key frame', expected one every 5"
    for number in range(2, 6):
        add_packet(writer, number, Packet(b"", key=False))
    with pytest.raises(ConfigError, match=r"^packet 5 of cameras/front is 'no key frame', expected one every 5$"):
        add_packet(writer, 6, Packet(b"", key=False))
    assert writer.counts["cameras/front"] == 5
    writer.discard()


def test_every_jpeg_is_a_key_frame(locked, make_image):
    stream = VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0, codec="jpeg")
    writer = locked.begin([stream], {})
    jpegs = [encode_jpeg(make_image(number)) for number in range(3)]
    for number, (jpeg, key) in enumerate(zip(jpegs, (True, False, False), strict=True)):
        add_packet(writer, number + 1, Packet(jpeg, key))
    episode = Episode(writer.save("success"))
    np.testing.assert_array_equal(episode.frames("cameras/front"), np.stack([decode_jpeg(jpeg) for jpeg in jpegs]))


def test_depth_streams_accept_no_encoded_frames(locked):
    writer = locked.begin([DepthStream(name="depth/front", width=64, height=48, rate_hz=30.0)], {})
    with pytest.raises(ConfigError) as error:
        add_packet(writer, 1, Packet(b"", key=True), "depth/front")
    expected = "a packet of depth/front is 'encoded', expected a frame: depth streams accept no packets"
    assert str(error.value) == expected
    writer.discard()


def test_repeated_frames_are_marked(writer, make_image):
    for number, shown in enumerate((0, 1, 1, 1, 2)):
        frame(writer, number + 1, make_image(shown))
    episode = Episode(writer.save("success"))
    assert episode.repeated("cameras/front").tolist() == [False, False, True, True, False]
