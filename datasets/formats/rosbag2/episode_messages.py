"""Generate the messages of an episode, stream by stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.formats.cameras_in import MEASURED, psnr_db
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.metadata import TopicField
from waldo.datasets.formats.rosbag2.topics import ImageFormat, is_motors, message_type
from waldo.datasets.streams import DepthStream, ScalarStream, VideoStream
from waldo.datasets.video import h264, images
from waldo.robots.diagnostics import level_of

BATCH = 20
"""Number of frames that are decoded at once."""


class BagMessage(NamedTuple):
    """One message of a bag; the first two fields define the order."""

    log_ns: int
    """Time of the message in the bag [ns since the epoch]."""
    order: int
    """Number of the generator, which orders messages with equal times."""
    topic: str
    """Full name of the topic."""
    kind: str
    """Message type."""
    message: Any
    """The message."""


def message_streams(
    episode: Episode,
    places: Mapping[str, Mapping[str, TopicField]],
    image_format: ImageFormat,
    losses: dict[str, list[float]],
) -> list[Iterator[BagMessage]]:
    """Return the generators of all messages, each in the order of its stream.

    Args:
        episode: The episode.
        places: Stream -> field -> topic and message field.
        image_format: How H.264 streams are exported.
        losses: Receives the peak signal-to-noise ratios of frames encoded as JPEG, by stream [dB].
    """
    found = [_task(episode)]
    for order, (name, fields) in enumerate(places.items(), 1):
        stream = episode.streams[name]
        if isinstance(stream, ScalarStream):
            found.append(_rows(episode, stream, fields, order))
        elif isinstance(stream, DepthStream):
            found.append(_depth(episode, stream, fields[""][0], order))
        else:
            found.append(_frames(episode, stream, fields[""][0], order, image_format, losses))
    return found


def _task(episode: Episode) -> Iterator[BagMessage]:
    stamps = [int(episode.time_ns(name, "receipt")[0]) for name in episode.streams if episode.count(name)]
    message = types.new(types.STRING_TYPE, data=episode.task)
    yield BagMessage(min(stamps, default=0), 0, "/" + types.TASK_TOPIC, types.STRING_TYPE, message)


def _stamps(episode: Episode, stream: str) -> Iterator[tuple[int, int]]:
    """Yield the publisher and receipt times of a stream's samples [ns]."""
    header, receipt = (episode.time_ns(stream, clock).tolist() for clock in ("header", "receipt"))
    return zip(header, receipt, strict=True)


def _rows(episode: Episode, stream: ScalarStream, places: Mapping[str, TopicField], order: int) -> Iterator[BagMessage]:
    """Yield the messages of a numeric stream: one per row, or one per row and field."""
    values = {field.name: episode.values(stream.name, field.name) for field in stream.fields}
    topics = {topic: None for topic, _ in places.values()}
    for row, (header_ns, receipt_ns) in enumerate(_stamps(episode, stream.name)):
        for topic in topics:
            found = {at: values[key][row] for key, (where, at) in places.items() if where == topic}
            labels = next(f.labels for f in stream.fields if places[f.name][0] == topic)
            if is_motors(stream):
                kind, message = schema.DIAGNOSTIC_TYPE, motors_message(episode.robot, labels, found, header_ns)
            else:
                kind, message = schema.JOINT_STATE_TYPE, joints_message(labels, found, header_ns)
            yield BagMessage(receipt_ns, order, topic, kind, message)


def joints_message(labels: Sequence[str], values: Mapping[str, NDArray[Any]], stamp_ns: int) -> Any:
    """Return a JointState."""
    empty = np.zeros(0)
    arrays = {name: values.get(name, empty).astype(np.float64) for name in ("position", "velocity", "effort")}
    return types.new(schema.JOINT_STATE_TYPE, header=types.header(stamp_ns), name=list(labels), **arrays)


def motors_message(robot: str, labels: Sequence[str], values: Mapping[str, NDArray[Any]], stamp_ns: int) -> Any:
    """Return a DiagnosticArray with one status per motor and the keys of the robot node; numbers are exact."""
    keys = schema.motor_keys()
    statuses: list[Any] = []
    for column, joint in enumerate(labels):
        winding_c = float(values["winding"][column]) if "winding" in values else float("nan")
        level, text = level_of(winding_c, float("nan"))
        pairs = [
            types.new("diagnostic_msgs/msg/KeyValue", key=keys[name], value=types.text_of(row[column]))
            for name, row in values.items()
        ]
        statuses.append(
            types.new(
                "diagnostic_msgs/msg/DiagnosticStatus",
                level=level,
                name=f"{robot}: {joint}",
                message=text,
                hardware_id="",
                values=pairs,
            )
        )
    return types.new(schema.DIAGNOSTIC_TYPE, header=types.header(stamp_ns), status=statuses)


def _depth(episode: Episode, stream: DepthStream, topic: str, order: int) -> Iterator[BagMessage]:
    """Yield the messages of a depth stream."""
    for number, (header_ns, receipt_ns) in enumerate(_stamps(episode, stream.name)):
        pixels = np.ascontiguousarray(episode.frames(stream.name, [number])[0], "<u2")
        message = types.new(
            schema.IMAGE_TYPE,
            header=types.header(header_ns),
            height=stream.height,
            width=stream.width,
            encoding="16UC1",
            is_bigendian=0,
            step=2 * stream.width,
            data=pixels.view(np.uint8).reshape(-1),
        )
        yield BagMessage(receipt_ns, order, topic, schema.IMAGE_TYPE, message)


def _frames(
    episode: Episode,
    stream: VideoStream,
    topic: str,
    order: int,
    image_format: ImageFormat,
    losses: dict[str, list[float]],
) -> Iterator[BagMessage]:
    """Yield the messages of a camera."""
    if not episode.count(stream.name):
        return
    kind = message_type(stream, image_format)
    encoded = _encoded_frames(episode, stream, kind, losses)
    for (header_ns, receipt_ns), data in zip(_stamps(episode, stream.name), encoded, strict=True):
        array = np.frombuffer(data, np.uint8)
        if kind == types.VIDEO_TYPE:
            stamp = types.stamp(header_ns)
            message = types.new(kind, timestamp=stamp, frame_id="", data=array, format="h264")
        else:
            message = types.new(kind, header=types.header(header_ns), format="jpeg", data=array)
        yield BagMessage(receipt_ns, order, topic, kind, message)


def _encoded_frames(
    episode: Episode, stream: VideoStream, kind: str, losses: dict[str, list[float]]
) -> Iterator[bytes]:
    """Yield a camera's frames as JPEG or H.264; the loss of a JPEG encoding is measured on a few frames."""
    shard, count = episode.shard(stream.name), episode.count(stream.name)
    if stream.codec == "jpeg" or kind == types.VIDEO_TYPE:
        for group in range(len(shard.index)):
            chunk = shard.chunk(group)
            yield from [chunk] if stream.codec == "jpeg" else (packet.data for packet in h264.split_samples(chunk))
        return
    measured = {round(at) for at in np.linspace(0, count - 1, MEASURED)}
    step = max(1, BATCH // stream.gop) * stream.gop
    for start in range(0, count, step):
        for number, rgb in enumerate(shard.read(range(start, min(start + step, count))), start):
            data = images.encode_jpeg(rgb)
            if number in measured:
                losses.setdefault(stream.name, []).append(psnr_db(rgb, images.decode_jpeg(data)))
            yield data
