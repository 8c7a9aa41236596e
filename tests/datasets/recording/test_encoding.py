"""The queue of one camera and its encoder thread, with a journal but without a dataset."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.h264_camera import encode, gray
from waldo.datasets.recording.access_units import AccessUnits
from waldo.datasets.recording.encoding import CameraEncoder, QueuedFrame, encoder_of, unspill
from waldo.datasets.recording.journal import Flag, Journal, JournalReader, Kind
from waldo.datasets.streams import DepthStream, ImageStream, VideoStream
from waldo.datasets.video import images
from waldo.datasets.video.encoder import LOSSLESS, Encoder

H264 = VideoStream(name="cameras/front", width=64, height=48, rate_hz=20.0)
SIZE = (48, 64, 3)


def rgb(value: int) -> np.ndarray:
    return np.full(SIZE, value, np.uint8)


class Camera:
    """An encoder with its journal and the events that it records."""

    def __init__(self, path: Path, stream: ImageStream, back_pressure: Any = "wait") -> None:
        self.path, self.notes = path, []
        self.journal = Journal(path, {"streams": [stream.to_dict()], "attributes": {}})
        self.encoder = CameraEncoder(stream, self.journal, 0, self._note, back_pressure)
        self.sequence = 0

    def _note(self, kind: str, text: str, **detail: Any) -> None:
        self.notes.append((kind, text, detail))

    def put(self, image: Any) -> bool:
        self.sequence += 1
        stamps = {"header_ns": self.sequence, "receipt_ns": 10 + self.sequence, "sequence": self.sequence}
        return self.encoder.put(QueuedFrame(image, stamps))  # type: ignore[arg-type]

    def records(self) -> list[tuple[Kind, int, int]]:
        """Finish and return kind, flags and sequence number of the journal's records."""
        while self.encoder.waiting:  # the end mark of `finish` would count as a waiting frame
            time.sleep(0.001)
        self.encoder.finish()
        self.journal.close()
        with JournalReader(self.path) as reader:
            self.payloads = [reader.payload(record) for record in reader.scan.records[0]]
            return [(Kind(r.kind), r.flags, r.sequence) for r in reader.scan.records[0]]


@pytest.fixture
def camera(tmp_path: Path) -> Callable[..., Camera]:
    return lambda stream=H264, back_pressure="wait": Camera(tmp_path / "journal", stream, back_pressure)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let the encoder block until the first event is set; the second one is set when it has started."""
    go, started = threading.Event(), threading.Event()
    encode = Encoder.encode

    def wait(encoder: Encoder, image: np.ndarray) -> Any:
        started.set()
        go.wait()
        return encode(encoder, image)

    monkeypatch.setattr(Encoder, "encode", wait)
    return go, started


def test_groups_start_with_a_key_frame_and_its_histogram(camera: Callable[..., Camera]) -> None:
    one = camera()
    for number in range(7):
        assert one.put(rgb(number))
    records = one.records()
    assert [sequence for kind, _, sequence in records if kind == Kind.FRAME] == list(range(1, 8))
    assert [sequence for kind, flags, sequence in records if kind == Kind.FRAME and flags & Flag.KEY] == [1, 6]
    assert [sequence for kind, _, sequence in records if kind == Kind.HISTOGRAM] == [1, 6]
    assert one.notes == []


def test_jpeg_is_stored_unchanged_and_raw_images_are_encoded(camera: Callable[..., Camera]) -> None:
    one = camera(VideoStream(name="cameras/front", width=64, height=48, rate_hz=4.0, codec="jpeg"))
    jpeg = images.encode_jpeg(rgb(3), 50)
    for image in (jpeg, jpeg, rgb(3), rgb(3), rgb(9)):
        one.put(image)
    records = one.records()
    frames = [(flags, sequence) for kind, flags, sequence in records if kind == Kind.FRAME]
    key, repeated = Flag.KEY, Flag.KEY | Flag.REPEATED
    assert frames == [(key, 1), (repeated, 2), (key, 3), (repeated, 4), (key, 5)]
    payloads = [p for p, (kind, _, _) in zip(one.payloads, records, strict=True) if kind == Kind.FRAME]
    assert payloads[:2] == [jpeg, jpeg]
    assert np.abs(images.decode_jpeg(payloads[4], SIZE).astype(int) - 9).max() <= 2
    # Every half second: at 4 Hz every second frame.
    assert [sequence for kind, _, sequence in records if kind == Kind.HISTOGRAM] == [1, 3, 5]


def test_every_frame_of_a_slow_camera_is_sampled(camera: Callable[..., Camera]) -> None:
    one = camera(VideoStream(name="cameras/front", width=64, height=48, rate_hz=1.0, codec="jpeg"))
    for number in range(3):
        one.put(images.encode_jpeg(rgb(number)))
    assert [sequence for kind, _, sequence in one.records() if kind == Kind.HISTOGRAM] == [1, 2, 3]


def test_depth_is_lossless_and_not_sampled(camera: Callable[..., Camera]) -> None:
    one = camera(DepthStream(name="depth/front", width=64, height=48, rate_hz=30.0))
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    one.put(depth)
    assert one.records() == [(Kind.FRAME, Flag.KEY, 1)]
    assert np.array_equal(images.decode_depth(one.payloads[0], (48, 64)), depth)


def test_images_that_differ_in_one_pixel_are_not_repeated(camera: Callable[..., Camera]) -> None:
    one = camera()
    changed = rgb(5)
    changed[47, 63, 2] = 6
    for image in (rgb(5), rgb(5), changed, changed, images.encode_jpeg(changed), changed):
        one.put(image)
    frames = [bool(flags & Flag.REPEATED) for kind, flags, _ in one.records() if kind == Kind.FRAME]
    assert frames == [False, True, False, True, False, False]


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_damaged_jpeg_is_recorded_as_dropped(camera: Callable[..., Camera], codec: Any, caplog: Any) -> None:
    one = camera(VideoStream(name="cameras/front", width=64, height=48, rate_hz=20.0, codec=codec))
    for image in (rgb(1), b"\xff\xd8\xff broken", images.encode_jpeg(np.zeros((32, 32, 3), np.uint8)), rgb(2)):
        one.put(image)
    records = [(kind, sequence) for kind, _, sequence in one.records() if kind != Kind.HISTOGRAM]
    assert sorted(records, key=lambda record: record[1]) == [
        (Kind.FRAME, 1),
        (Kind.DROPPED, 2),
        (Kind.DROPPED, 3),
        (Kind.FRAME, 4),
    ]
    assert [(kind, detail) for kind, _, detail in one.notes] == [
        ("dropped", {"at_ns": 12, "stream": "cameras/front"}),
        ("dropped", {"at_ns": 13, "stream": "cameras/front"}),
    ]
    assert one.notes[1][1] == "cameras/front: an image of 32x32, expected 64x48"
    assert "cameras/front: dropped frame 3: an image of 32x32, expected 64x48" in caplog.messages


def test_group_is_encoded_if_the_queue_is_short_when_it_starts(
    camera: Callable[..., Camera], blocked: tuple[threading.Event, threading.Event], caplog: Any
) -> None:
    go, started = blocked
    one = camera(back_pressure="spill")
    one.put(rgb(0))
    assert started.wait(10)
    # At 20 Hz the queue has room for 7 frames, and a group is spilled from 3 waiting frames on.
    jpeg = images.encode_jpeg(rgb(5), 40)
    assert [one.put(image) for image in (*map(rgb, range(1, 5)), jpeg, rgb(6), rgb(6), rgb(8))] == [True] * 7 + [False]
    assert one.encoder.waiting == 7
    go.set()
    records = one.records()
    kinds = {sequence: kind for kind, _, sequence in records if kind != Kind.HISTOGRAM}
    # The first group is encoded; two frames are left when the second one starts, so it is encoded as well.
    assert kinds == dict.fromkeys(range(1, 9), Kind.FRAME)
    assert one.notes == []


def test_spilled_group_contains_jpegs_and_is_noted_once(
    camera: Callable[..., Camera], blocked: tuple[threading.Event, threading.Event], caplog: Any
) -> None:
    go, started = blocked
    one = camera(VideoStream(name="cameras/front", width=64, height=48, rate_hz=40.0, gop=2), back_pressure="spill")
    one.put(rgb(0))
    assert started.wait(10)
    jpeg = images.encode_jpeg(rgb(2), 40)
    for image in (rgb(1), jpeg, rgb(3), rgb(3), rgb(5), rgb(6), rgb(7), rgb(8), rgb(9), rgb(10), rgb(11)):
        assert one.put(image)
    go.set()
    records = one.records()
    frames = [(kind, flags, sequence) for kind, flags, sequence in records if kind != Kind.HISTOGRAM]
    spilled = [(flags, sequence) for kind, flags, sequence in frames if kind == Kind.SPILLED]
    # The second and third group start while 6 or more frames are in the queue (9 and 7); later ones are encoded.
    assert [sequence for _, sequence in spilled] == [3, 4, 5, 6]
    assert [bool(flags & Flag.KEY) for flags, _ in spilled] == [True, False] * 2
    assert [bool(flags & Flag.REPEATED) for flags, _ in spilled] == [False, False, True, False]
    payloads = {
        sequence: p for p, (kind, _, sequence) in zip(one.payloads, records, strict=True) if kind == Kind.SPILLED
    }
    assert payloads[3] == jpeg
    assert np.abs(unspill(H264, payloads[4]).astype(int) - 3).max() <= 2
    histograms = [sequence for kind, _, sequence in records if kind == Kind.HISTOGRAM]
    assert histograms == [1, 3, 5, 7, 9, 11]
    text = "cameras/front: encoder falling behind: buffering frames, they will be encoded on save"
    assert one.notes == [("quality_lowered", text, {"at_ns": 13, "stream": "cameras/front"})]
    assert text in caplog.messages


def test_lossless_stream_spills_without_loss(
    camera: Callable[..., Camera], blocked: tuple[threading.Event, threading.Event]
) -> None:
    go, started = blocked
    stream = VideoStream(name="cameras/front", width=64, height=48, rate_hz=40.0, gop=1, codec="lossless")
    one = camera(stream, back_pressure="spill")
    noise = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    one.put(rgb(0))
    assert started.wait(10)
    for image in (noise, *map(rgb, range(2, 9))):
        one.put(image)
    go.set()
    records = one.records()
    spilled = [p for p, (kind, _, _) in zip(one.payloads, records, strict=True) if kind == Kind.SPILLED]
    assert np.array_equal(unspill(stream, spilled[0]), noise)


def test_abandoned_frames_are_not_encoded(
    camera: Callable[..., Camera], blocked: tuple[threading.Event, threading.Event]
) -> None:
    go, started = blocked
    one = camera(back_pressure="spill")
    one.put(rgb(0))
    assert started.wait(10)
    for number in range(1, 4):
        one.put(rgb(number))
    thread = threading.Thread(target=one.encoder.abandon)
    thread.start()
    assert one.encoder._abandoned.wait(10)
    go.set()
    thread.join()
    assert len([kind for kind, _, _ in one.records() if kind == Kind.FRAME]) <= 1


def test_failed_encoder_does_not_block_and_raises_at_the_next_frame(
    camera: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(encoder: Encoder, image: np.ndarray) -> Any:
        raise RuntimeError("no encoder")

    monkeypatch.setattr(Encoder, "encode", fail)
    one = camera()
    one.put(rgb(0))
    assert isinstance(one.encoder.finish(), RuntimeError)
    with pytest.raises(RuntimeError, match="no encoder"):
        one.put(rgb(1))
    one.journal.close()


def test_encoder_has_the_settings_of_its_stream() -> None:
    settings = VideoStream(name="a", width=64, height=48, rate_hz=15.0, gop=3, crf=30, codec="lossless")
    encoder = encoder_of(settings)
    context = encoder._context
    assert (context.name, context.width, context.height, context.gop_size) == (LOSSLESS, 64, 48, 3)
    assert context.framerate == 15
    assert encoder_of(H264)._context.name == "libx264"
    assert encoder_of(H264)._context.options["crf"] == "21"


def test_h264_is_decoded_for_any_codec_and_another_size_is_dropped(camera: Callable[..., Camera]) -> None:
    found = camera(VideoStream(name="cameras/front", width=64, height=48, rate_hz=20.0, codec="lossless"))
    units = AccessUnits()
    for data in (*encode([gray(50), gray(90)], gop=2), *encode([gray(50, 32, 32)]), *encode([gray(200)])):
        assert found.put(units.add(data))
    kinds = [kind for kind, _, _ in found.records()]
    assert (kinds.count(Kind.FRAME), kinds.count(Kind.DROPPED)) == (3, 1)
    assert [text for _, text, _ in found.notes] == ["cameras/front: an image of 32x32, expected 64x48"]
