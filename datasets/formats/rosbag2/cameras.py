"""The images of one topic of a bag: raw, JPEG, PNG, depth, or video with one frame per message."""

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
from waldo.datasets.formats.rosbag2.contents import TopicData, read_messages
from waldo.datasets.formats.source import SourceError
from waldo.datasets.recording.encoding import Image
from waldo.datasets.streams import DepthStream, Stream, VideoStream
from waldo.datasets.video.h264 import Packet
from waldo.robots.cameras.ros_images import CONVERSIONS


def open_camera(
    bag: Path, topic: TopicData, name: str, described: Stream | None, rate_hz: float
) -> tuple[SourceCamera | None, str]:
    """Return the camera of a topic and a note; None if its images cannot be imported.

    Args:
        bag: Path of the bag.
        topic: The image topic.
        name: Stream name.
        described: Stream in the metadata of waldo's export; its rate and unit take precedence.
        rate_hz: Rate estimated from timestamps [Hz].
    """
    if topic.first is None:
        return None, f"{name}: {topic.name} has no images."
    if isinstance(described, VideoStream | DepthStream):
        rate_hz = described.rate_hz
    try:
        if topic.kind == types.VIDEO_TYPE:
            camera = _video_camera(bag, topic, name, described, rate_hz)
        else:
            unit_m = described.unit_m if isinstance(described, DepthStream) else 0.001
            camera = _image_camera(bag, topic, name, images.inspect_image(topic.first), rate_hz, unit_m)
    except SourceError as error:
        return None, f"{topic.name} is not imported: {error.why}."
    small = size_note(name, camera.height, camera.width)
    return (None, small) if small else (camera, _loss_note(topic, name))


def _loss_note(topic: TopicData, name: str) -> str:
    """Return a note if the store cannot keep the pixels of a raw encoding exactly."""
    encoding = getattr(topic.first, "encoding", "")
    if encoding == "32FC1" or str(getattr(topic.first, "format", "")).startswith("32FC1"):
        return f"{name}: depth is rounded from meters to millimeters; unknown depth becomes 0."
    if encoding in ("rgba8", "bgra8"):
        return f"{name}: the alpha channel is not imported."
    if encoding in CONVERSIONS:
        return f"{name}: {encoding} is converted to RGB."
    return ""


def _image_camera(
    bag: Path, topic: TopicData, name: str, info: ImageInfo, rate_hz: float, unit_m: float
) -> SourceCamera:
    def frames() -> Iterator[Image]:
        for message in read_messages(bag, topic):
            yield images.image(message, info.kind)

    return SourceCamera(
        name=name,
        height=info.height,
        width=info.width,
        rate_hz=rate_hz,
        header_ns=np.array(topic.header_ns, np.int64),
        receipt_ns=np.array(topic.receipt_ns, np.int64),
        encoding=info.encoding,
        kind=info.kind,
        images=frames,
        unit_m=unit_m,
    )


def _video_camera(bag: Path, topic: TopicData, name: str, described: Stream | None, rate_hz: float) -> SourceCamera:
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
    for message in read_messages(bag, topic):
        data = bytes(message.data)
        yield video_in.to_annex_b(data, 0, b"") if message.format == "h264" else Packet(data, False)
