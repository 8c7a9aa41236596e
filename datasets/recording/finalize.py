"""Conversion of a journal into an episode's zarr group; used both for saving and for recovering after a crash.

The group is built under a temporary name, flushed to disk and renamed, and its parent is flushed; only then is the
journal removed. At any instant, either the complete journal or the finished episode is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import google_crc32c
import numpy as np

from waldo.datasets import schema
from waldo.datasets.recording import loss
from waldo.datasets.recording.encoding import encoder_of, unspill
from waldo.datasets.recording.journal import Flag, JournalReader, Kind, Record
from waldo.datasets.storage.array_file import (
    CHECKSUM,
    LITTLE_ENDIAN,
    array_metadata,
    metadata_files,
    read_array,
    write_array,
    write_array_metadata,
    write_group,
)
from waldo.datasets.storage.episode_attributes import FORMAT, MAX_WINDING
from waldo.datasets.storage.episode_layout import (
    CHUNK_CHECKSUMS,
    HISTOGRAM,
    MESSAGE_COLUMNS,
    MESSAGE_INFO,
    SCHEMA_VERSION,
    TIME,
    VALUES,
    field_columns,
    frames_path,
    shard_name,
)
from waldo.datasets.storage.store_path import StorePath
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream, Stream, VideoStream, stream_from_dict
from waldo.datasets.video import mp4shard
from waldo.datasets.video.chunks import codec_metadata, pixel_dtype
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.shard import ShardReader, write_shard
from waldo.errors import FileError
from waldo.files import atomic_folder, sync_file

TIME_ATTRIBUTES = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
"""Attributes by which xarray recognizes an int64 array of times."""

MESSAGE_COMMENTS = {
    "receipt_time": "recorder's timestamp, nanoseconds since 1970-01-01",
    "publish_time": "middleware's timestamp when it was sent, nanoseconds since 1970-01-01; -1: unknown",
    "sequence": "publisher's sequence number; -1: unknown",
    "repeated": "1: every pixel equals the frame before",
}
"""Attribute that describes the columns of a stream's message info."""

INTERRUPTED = {"outcome": "unknown", "reason": "interrupted"}
"""Outcome and reason of an episode with a journal that was cut off."""


def finalize(journal: Path, destination: Path) -> Mapping[str, Any]:
    """Convert a journal into the episode `destination`, remove the journal and return the episode's attributes.

    Raises:
        FileError: If the journal's first record is unreadable.
    """
    with JournalReader(journal) as reader, atomic_folder(destination) as folder:
        if reader.scan.opening is None:
            raise FileError(journal, "its first record is unreadable", "it cannot be recovered")
        attributes = _build(reader, folder)
    # The episode is on disk: atomic_folder has flushed its files, renamed it and flushed the parent folder.
    journal.unlink()
    sync_file(destination.parent)
    return attributes


def _build(reader: JournalReader, folder: Path) -> Mapping[str, Any]:
    """Write all streams and the attributes into an empty folder."""
    scan = reader.scan
    opening = scan.opening or {}
    streams = [stream_from_dict(data) for data in opening["streams"]]
    summaries: dict[str, Any] = {}
    for parent in {parent for stream in streams for parent in PurePosixPath(stream.name).parents}:
        write_group(folder / parent, {})
    for stream, records in zip(streams, scan.records, strict=True):
        if isinstance(stream, ScalarStream):
            count = _write_scalars(reader, folder / stream.name, stream, records)
        else:
            count = _write_images(reader, folder, stream, records)
        summaries[stream.name] = stream.to_dict() | {"count": count} | _losses(reader, records)
        write_group(folder / stream.name, _image_statistics(reader, stream, records) | summaries[stream.name])
    attributes = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        **opening["attributes"],
        **(scan.closing or INTERRUPTED),
        "streams": summaries,
        "events": list(scan.events),
        "span_ns": _span_ns(scan.records),
        MAX_WINDING: _max_winding_c(folder, streams),
        "nbytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.parent != folder),
    }
    if scan.closing is None:
        attributes["journal_lost_bytes"] = scan.lost_bytes
    write_group(folder, attributes)
    write_group(folder, attributes | {"metadata_crc32c": metadata_checksum(folder)})
    return attributes


def _span_ns(records: Sequence[Sequence[Record]]) -> tuple[int, int]:
    """Return the first and the last publisher's stamp of the stored rows and frames [ns]."""
    stored = (Kind.FRAME, Kind.SPILLED, Kind.ROW)
    stamps = [record.header_ns for stream in records for record in stream if record.kind in stored]
    return (min(stamps), max(stamps)) if stamps else (0, 0)


def _max_winding_c(folder: Path, streams: Sequence[Stream]) -> float | None:
    """Return the maximum winding temperature of an episode [°C]; None if none is known."""
    motors = next((stream for stream in streams if stream.name == schema.MOTORS), None)
    columns = field_columns(motors) if isinstance(motors, ScalarStream) else {}
    if "winding" not in columns:
        return None
    windings = np.asarray(read_array(folder / schema.MOTORS / VALUES)[:, columns["winding"]], np.float64)
    known = windings[np.isfinite(windings)]
    return float(known.max()) if known.size else None


def _losses(reader: JournalReader, records: Sequence[Record]) -> dict[str, int]:
    """Count the losses of a stream: gaps in its sequence, frames that could not be stored, and reported losses."""
    arrived = [r.sequence for r in records if r.kind in (Kind.FRAME, Kind.SPILLED, Kind.ROW, Kind.DROPPED)]
    missing = int(loss.gaps(np.array(sorted_by_arrival(arrived), np.int64)).sum())
    dropped = sum(r.kind == Kind.DROPPED for r in records)
    reported = sum(int.from_bytes(reader.payload(r), "little") for r in records if r.kind == Kind.LOST)
    total = missing + dropped + reported
    return {"lost": total, "lost_in_sequence": missing, "lost_dropped": dropped, "lost_reported": reported}


def sorted_by_arrival(sequence: list[int]) -> list[int]:
    """Return sequence numbers in order of arrival: a dropped frame is recorded before queued frames that precede it.

    The numbers of one count increase, so each count is sorted. A new count starts with a number below all numbers of
    the count before, as after a restart of the publisher.
    """
    counts: list[list[int]] = [[]]
    for number in sequence:
        if counts[-1] and number < counts[-1][0]:
            counts.append([])
        counts[-1].append(number)
    return [number for numbers in counts for number in sorted(numbers)]


def _write_scalars(reader: JournalReader, group: Path, stream: ScalarStream, records: Sequence[Record]) -> int:
    """Write the rows of a scalar stream as one table; return their number."""
    rows = [record for record in records if record.kind == Kind.ROW]
    table = np.frombuffer(b"".join(map(reader.payload, rows)), stream.row_dtype)
    _write_stamps(group, rows)
    values = np.concatenate([table[field.name] for field in stream.fields], axis=1)
    columns = [(f"{field.name}.{label}", field.unit) for field in stream.fields for label in field.labels]
    attributes = {"columns": [name for name, _ in columns], "units": [unit for _, unit in columns]}
    write_array(group / VALUES, values, ("time", "column"), attributes)
    return len(rows)


def _image_statistics(reader: JournalReader, stream: Stream, records: Sequence[Record]) -> dict[str, Any]:
    """Return the counts of a color camera's pixel values as an attribute; nothing for other streams."""
    if not isinstance(stream, VideoStream):
        return {}
    counts = np.zeros((3, 256), np.int64)
    for record in records:
        if record.kind == Kind.HISTOGRAM:
            counts += np.frombuffer(reader.payload(record), "<u2").reshape(3, 256)
    return {HISTOGRAM: counts.tolist()}


def _write_images(reader: JournalReader, episode: Path, stream: ImageStream, records: Sequence[Record]) -> int:
    """Write the frames of a camera as one shard, and the arrays with one value per frame; return their number."""
    frames = _whole_groups([r for r in records if r.kind in (Kind.FRAME, Kind.SPILLED)], stream.gop)
    _write_stamps(episode / stream.name, frames, [bool(record.flags & Flag.REPEATED) for record in frames])
    chunks = -(-len(frames) // stream.gop)
    folder = episode / frames_path(stream)
    folder.mkdir(parents=True)
    attributes = _media(stream)
    sums = np.zeros(chunks, np.uint32)
    if frames:
        path = folder / shard_name(stream)
        if isinstance(stream, VideoStream) and stream.codec != "jpeg":
            mp4shard.write_mp4(path, _packets(reader, stream, frames), mp4shard.rate_fraction(stream.rate_hz))
            mp4shard.append_index(path, stream.gop, chunks)
        else:
            write_shard(path, map(reader.payload, frames))
        shard = ShardReader(path, stream, len(frames))
        sums[:] = [google_crc32c.value(shard.chunk(group_index)) for group_index in range(chunks)]
        attributes["container_crc32c"] = shard.container_checksum()
    _write_shard_metadata(folder, stream, len(frames), chunks, attributes)
    comment = {"comment": "crc32c of each inner chunk of frames"}
    write_array(episode / stream.name / CHUNK_CHECKSUMS, sums, ("chunk",), comment)
    return len(frames)


def _write_shard_metadata(
    folder: Path, stream: ImageStream, frames: int, chunks: int, attributes: Mapping[str, Any]
) -> None:
    """Write the metadata of a stream's frames, which are one shard of chunks."""
    sharding = {
        "chunk_shape": (stream.gop, *stream.frame_shape),
        "codecs": codec_metadata(stream),
        "index_codecs": (LITTLE_ENDIAN, CHECKSUM),
        "index_location": "end",
    }
    write_array_metadata(
        folder,
        shape=(frames, *stream.frame_shape),
        dtype=pixel_dtype(stream),
        chunk=(max(1, chunks) * stream.gop, *stream.frame_shape),
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dimensions=("time", "y", "x", "rgb")[: 1 + len(stream.frame_shape)],
        attributes=attributes,
    )


def _media(stream: ImageStream) -> dict[str, Any]:
    """Return attributes that describe a shard to readers without the codec, or a depth image's unit."""
    if isinstance(stream, DepthStream):
        return {"unit_m": stream.unit_m}
    install = "to read single frames with zarr: pip install waldo-zarr"
    if stream.codec == "jpeg":
        return {"media_type": "image/jpeg", "comment": f"every chunk of the shard is a JPEG file; {install}"}
    file = shard_name(stream)
    comment = f"the shard is an MP4 file: ffplay {file}; {install}"
    return {"media_type": "video/mp4", "media_file": file, "comment": comment}


def _packets(reader: JournalReader, stream: VideoStream, frames: Sequence[Record]) -> Iterator[Packet]:
    """Yield a camera's packets; spilled groups of pictures are encoded here."""
    for start in range(0, len(frames), stream.gop):
        group = frames[start : start + stream.gop]
        if group[0].kind == Kind.FRAME:
            yield from (Packet(reader.payload(r), bool(r.flags & Flag.KEY)) for r in group)
            continue
        encoder = encoder_of(stream)
        for record in group:
            yield from encoder.encode(unspill(stream, reader.payload(record)))
        yield from encoder.flush()


def _whole_groups(frames: list[Record], gop: int) -> list[Record]:
    """Return the frames up to the first one that does not fit into the groups of pictures."""
    for index, record in enumerate(frames):
        is_first = index % gop == 0
        if bool(record.flags & Flag.KEY) != is_first or (not is_first and record.kind != frames[index - 1].kind):
            return frames[:index]
    return frames


def _write_stamps(group: Path, records: Sequence[Record], repeated: Sequence[bool] | None = None) -> None:
    """Write the publisher's stamps, and what else is known of each message; for cameras, whether it is a repetition."""
    stamps = np.array([record.header_ns for record in records], np.int64)
    write_array(group / TIME, stamps, ("time",), TIME_ATTRIBUTES)
    fields = [(record.receipt_ns, record.publish_ns, record.sequence) for record in records]
    table = np.array(fields, np.int64).reshape(-1, 3)
    if repeated is not None:
        table = np.column_stack([table, np.array(repeated, np.int64)])
    columns = MESSAGE_COLUMNS[: table.shape[1]]
    attributes = {"columns": columns, "comment": [MESSAGE_COMMENTS[name] for name in columns]}
    write_array(group / MESSAGE_INFO, table, ("time", "info"), attributes)


def metadata_checksum(folder: StorePath, files: Mapping[str, bytes] | None = None) -> int:
    """Return the crc32c of an episode's attributes and of every `zarr.json` below its root.

    Args:
        folder: The episode.
        files: Result of `metadata_files(folder)`, if it is known.
    """
    attributes = {k: v for k, v in array_metadata(folder)["attributes"].items() if k != "metadata_crc32c"}
    crc = google_crc32c.value(json.dumps(attributes, sort_keys=True).encode())
    for name, content in (metadata_files(folder) if files is None else files).items():
        crc = google_crc32c.extend(crc, name.encode() + content)
    return int(crc)
