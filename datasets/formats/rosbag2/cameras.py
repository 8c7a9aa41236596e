"""The pictures of one topic of a bag: raw, JPEG, PNG, depth, or video a picture a message."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from waldo.datasets.formats import video_in
from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.images_in import ImageInfo
from waldo.datasets.formats.rosbag2 import images
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.scan import TopicData, messages
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image
from waldo.datasets.streams import DepthStream, Stream, VideoStream
from waldo.datasets.video.h264 import Packet


def camera_of(
    bag: Path, topic: TopicData, name: str, described: Stream | None, rate_hz: float
) -> tuple[SourceCamera | None, str]:
    """Return the camera of a topic, and what is to be said of it; None where its pictures cannot be kept.

    `described` is its stream as waldo's export told of it: that one's rate and units are believed.
    """
    if topic.first is None:
        return None, f"{name}: no picture on {topic.name}."
    if isinstance(described, VideoStream | DepthStream):
        rate_hz = described.rate_hz
    try:
        if topic.kind == types.VIDEO:
            camera = _video(bag, topic, name, described, rate_hz)
        else:
            unit_m = described.unit_m if isinstance(described, DepthStream) else 0.001
            camera = _pictures(bag, topic, name, images.inspect_image(topic.first), rate_hz, unit_m)
    except SourceError as error:
        return None, f"{topic.name}: {error.why}; its pictures are not kept."
    small = size_note(name, camera.height, camera.width)
    return (None, small) if small else (camera, _note(topic, name))


def _note(topic: TopicData, name: str) -> str:
    encoding = getattr(topic.first, "encoding", "")
    if encoding == "32FC1":
        return f"{name}: depth in metres is rounded to millimetres, and 0 where it is not known."
    if encoding in ("rgba8", "bgra8"):
        return f"{name}: the transparency of its pictures is not kept."
    return ""


def _pictures(bag: Path, topic: TopicData, name: str, look: ImageInfo, rate_hz: float, unit_m: float) -> SourceCamera:
    def frames() -> Iterator[Image]:
        for message in messages(bag, topic):
            yield images.image(message, look.kind)

    return SourceCamera(
        name=name,
        height=look.height,
        width=look.width,
        rate_hz=rate_hz,
        header_ns=np.array(topic.header_ns, np.int64),
        receipt_ns=np.array(topic.receipt_ns, np.int64),
        encoding=look.encoding,
        kind=look.kind,
        images=frames,
        unit_m=unit_m,
    )


def _video(bag: Path, topic: TopicData, name: str, described: Stream | None, rate_hz: float) -> SourceCamera:
    packets = partial(_packets, bag, topic)
    codec = str(topic.first.format)
    kind, height, width = video_in.probe_packets(codec, next(packets()))
    keys = [packet.key for packet in packets()] if kind else []
    gop = described.gop if isinstance(described, VideoStream) else 0
    return SourceCamera(
        name=name,
        height=height,
        width=width,
        rate_hz=rate_hz,
        header_ns=np.array(topic.header_ns, np.int64),
        receipt_ns=np.array(topic.receipt_ns, np.int64),
        encoding=codec,
        kind="video",
        images=lambda: video_in.decode_all(codec, packets()),
        run=video_in.packet_run(kind, keys, packets, gop) if kind else None,
    )


def _packets(bag: Path, topic: TopicData) -> Iterator[Packet]:
    for message in messages(bag, topic):
        data = bytes(message.data)
        yield video_in.to_annex_b(data, 0, b"") if message.format == "h264" else Packet(data, False)
