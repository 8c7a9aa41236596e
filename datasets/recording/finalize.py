"""Journal -> zarr group, atomically. Saving an episode and recovering one after a crash are this same code.

The group is built beside its final place, forced onto the disk and renamed; only then is the journal removed. Whatever
instant the machine dies at, either the journal or the finished episode is there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from waldo.datasets.recording import loss
from waldo.datasets.recording.encoding import encoder_of, unspill
from waldo.datasets.recording.journal import Flag, JournalReader, Kind, Record, sync_folder
from waldo.datasets.store_path import Place
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream, VideoStream, stream_from_dict
from waldo.datasets.video import mp4shard
from waldo.datasets.video.codec import JpegCodec, VideoCodec
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.images import DEPTH_LEVEL, dtype_of
from waldo.datasets.video.shard import ShardReader, write_shard
from waldo.errors import FileError

FORMAT = "waldo-episode"
"""The mark of an episode's group."""

SCHEMA_VERSION = 1
"""Version of the layout; a reader refuses a newer one."""

TIME_ATTRIBUTES = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
"""How xarray knows an int64 for a time."""

INTERRUPTED = {"outcome": "unknown", "reason": "interrupted"}
"""How an episode ended whose journal does not say."""


def seal(journal: Path, destination: Path) -> Mapping[str, Any]:
    """Turn a journal into the episode `destination` and remove it; return the episode's attributes.

    A journal without a readable beginning holds no episode and is refused.
    """
    building = destination.with_name(destination.name + ".tmp")
    shutil.rmtree(building, ignore_errors=True)
    with JournalReader(journal) as reader:
        if reader.scan.opening is None:
            raise FileError(journal, "its beginning is not readable", "nothing can be recovered from it")
        attributes = _build(reader, building)
    seal_metadata(building)
    sync_tree(building)
    building.rename(destination)
    sync_folder(destination.parent)
    journal.unlink()
    sync_folder(destination.parent)
    return attributes


def _build(reader: JournalReader, folder: Path) -> Mapping[str, Any]:
    """Write all streams and the attributes into a new group."""
    scan = reader.scan
    opening = scan.opening or {}
    streams = [stream_from_dict(data) for data in opening["streams"]]
    root = zarr.create_group(folder, zarr_format=3)
    summaries: dict[str, Any] = {}
    for stream, records in zip(streams, scan.records, strict=True):
        group = root.create_group(stream.name)
        write = _write_scalars if isinstance(stream, ScalarStream) else _write_images
        count = write(reader, group, stream, records)  # type: ignore[arg-type]
        summaries[stream.name] = stream.to_dict() | {"count": count} | _losses(reader, records)
        group.attrs.update(summaries[stream.name])
    attributes = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        **opening["attributes"],
        **(scan.closing or INTERRUPTED),
        "streams": summaries,
        "events": list(scan.events),
        "span_ns": _span_ns(scan.records),
        "hottest_c": _hottest_c(root),
        "nbytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.parent != folder),
    }
    if scan.closing is None:
        attributes["journal_lost_bytes"] = scan.lost_bytes
    root.attrs.update(attributes)
    return attributes


def _span_ns(records: Sequence[Sequence[Record]]) -> tuple[int, int]:
    """Return the first and the last publisher's stamp of what is kept."""
    kept = (Kind.FRAME, Kind.SPILLED, Kind.ROW)
    stamps = [record.header_ns for stream in records for record in stream if record.kind in kept]
    return (min(stamps), max(stamps)) if stamps else (0, 0)


def _hottest_c(root: zarr.Group) -> float | None:
    """Return the hottest winding of an episode [°C]; None where there is none that is known."""
    if "motors/winding" not in root:
        return None
    windings = np.asarray(root["motors/winding"][...], np.float64)  # type: ignore[index]
    known = windings[np.isfinite(windings)]
    return float(known.max()) if known.size else None


def _losses(reader: JournalReader, records: Sequence[Record]) -> dict[str, int]:
    """Count what a stream lost: gaps in its sequence, frames that could not be stored, and what was reported."""
    arrived = [r.sequence for r in records if r.kind in (Kind.FRAME, Kind.SPILLED, Kind.ROW, Kind.DROPPED)]
    missing = int(loss.gaps(np.array(sorted_by_arrival(arrived), np.int64)).sum())
    dropped = sum(r.kind == Kind.DROPPED for r in records)
    reported = sum(int.from_bytes(reader.payload(r), "little") for r in records if r.kind == Kind.LOST)
    total = missing + dropped + reported
    return {"lost": total, "lost_in_sequence": missing, "lost_dropped": dropped, "lost_reported": reported}


def sorted_by_arrival(sequence: list[int]) -> list[int]:
    """Return sequence numbers as they arrived: a dropped frame is noted before the queued frames ahead of it.

    Within one count the numbers rise, so each run between two restarts is put into order; a restart is a fall below
    everything that came before it.
    """
    runs: list[list[int]] = [[]]
    for number in sequence:
        if runs[-1] and number < runs[-1][0]:
            runs.append([])
        runs[-1].append(number)
    return [number for run in runs for number in sorted(run)]


def _write_scalars(reader: JournalReader, group: zarr.Group, stream: ScalarStream, records: Sequence[Record]) -> int:
    """Write a scalar stream's rows, a chunk an array."""
    rows = [record for record in records if record.kind == Kind.ROW]
    table = np.frombuffer(b"".join(map(reader.payload, rows)), stream.row_dtype)
    _write_stamps(group, rows)
    shared = len({field.labels for field in stream.fields}) == 1
    for field in stream.fields:
        dimension = "label" if shared else f"{field.name}_label"
        attributes = {"units": field.unit, "labels": list(field.labels)}
        write_array(group, field.name, np.ascontiguousarray(table[field.name]), ("time", dimension), attributes)
    return len(rows)


def _write_images(reader: JournalReader, group: zarr.Group, stream: ImageStream, records: Sequence[Record]) -> int:
    """Write a camera's frames as one shard, and what is known of each frame."""
    frames = _whole_groups([r for r in records if r.kind in (Kind.FRAME, Kind.SPILLED)], stream.gop)
    _write_stamps(group, frames)
    repeated = np.array([bool(r.flags & Flag.REPEATED) for r in frames], dtype=bool)
    write_array(group, "repeated", repeated, ("time",), {"comment": "every pixel equals the frame before"})
    if isinstance(stream, VideoStream):
        counts = np.zeros((3, 256), np.int64)
        for record in records:
            if record.kind == Kind.HISTOGRAM:
                counts += np.frombuffer(reader.payload(record), "<u2").reshape(3, 256)
        write_array(group, "histogram", counts, ("rgb", "value"), {"comment": "pixel values of sampled frames"})
    chunks = -(-len(frames) // stream.gop)
    array = _frames_array(group, stream, len(frames), chunks)
    sums = np.zeros(chunks, np.uint32)
    if frames:
        path = Path(str(group.store_path.store.root)) / group.path / "frames" / shard_of(stream)  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True)
        if isinstance(stream, VideoStream) and stream.codec != "jpeg":
            mp4shard.write_mp4(path, _packets(reader, stream, frames), mp4shard.rate_fraction(stream.rate_hz))
            mp4shard.append_index(path, stream.gop, chunks)
        else:
            write_shard(path, map(reader.payload, frames))
        shard = ShardReader(path, stream, len(frames))
        sums[:] = [google_crc32c.value(shard.chunk(group_index)) for group_index in range(chunks)]
        array.attrs["container_crc32c"] = shard.container_checksum()
    write_array(group, "chunk_crc32c", sums, ("chunk",), {"comment": "crc32c of each inner chunk of frames"})
    return len(frames)


def _frames_array(group: zarr.Group, stream: ImageStream, frames: int, chunks: int) -> zarr.Array[Any]:
    """Create the array of a stream's frames, whose one shard is written apart from zarr."""
    codecs: dict[str, Any]
    if isinstance(stream, DepthStream):
        blosc = BloscCodec(typesize=2, cname="zstd", clevel=DEPTH_LEVEL, shuffle="bitshuffle")
        codecs = {"compressors": (blosc,), "attributes": {"unit_m": stream.unit_m}}
    else:
        codec = JpegCodec() if stream.codec == "jpeg" else VideoCodec(codec=stream.codec, crf=stream.crf)
        codecs = {"filters": None, "compressors": None, "serializer": codec}
    return group.create_array(
        "frames",
        shape=(frames, *stream.frame_shape),
        chunks=(stream.gop, *stream.frame_shape),
        shards=(max(1, chunks) * stream.gop, *stream.frame_shape),
        dtype=dtype_of(stream),
        dimension_names=("time", "y", "x", "rgb")[: 1 + len(stream.frame_shape)],
        **codecs,
    )


def shard_of(stream: ImageStream) -> str:
    """Return where the one shard of a camera's frames lies in their array."""
    return "/".join(["c", *"0" * (1 + len(stream.frame_shape))])


def _packets(reader: JournalReader, stream: VideoStream, frames: Sequence[Record]) -> Iterator[Packet]:
    """Yield a camera's packets, copied, but for the groups that the encoder had no time for: those are encoded here."""
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
    """Return the frames up to the first that does not stand where its group of pictures needs it."""
    for index, record in enumerate(frames):
        begins = index % gop == 0
        if bool(record.flags & Flag.KEY) != begins or (not begins and record.kind != frames[index - 1].kind):
            return frames[:index]
    return frames


def _write_stamps(group: zarr.Group, records: Sequence[Record]) -> None:
    """Write the clocks' stamps and the sequence numbers."""
    fields = [(r.header_ns, r.receipt_ns, r.publish_ns, r.sequence) for r in records]
    stamps = np.array(fields, np.int64).reshape(-1, 4)
    write_array(group, "time", stamps[:, 0], ("time",), TIME_ATTRIBUTES)
    write_array(group, "receipt_time", stamps[:, 1], ("time",), TIME_ATTRIBUTES)
    published = TIME_ATTRIBUTES | {"comment": "when the middleware sent it; -1: unknown"}
    write_array(group, "publish_time", stamps[:, 2], ("time",), published)
    write_array(group, "sequence", stamps[:, 3], ("time",), {"comment": "publisher's count; -1: it has none"})


def write_array(
    group: zarr.Group, name: str, data: NDArray[Any], dimensions: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write an array as one chunk: zstd, then a checksum that plain zarr verifies on every read."""
    group.create_array(
        name,
        data=np.ascontiguousarray(data),
        chunks=tuple(max(1, n) for n in data.shape),
        compressors=(ZstdCodec(level=3), Crc32cCodec()),
        dimension_names=tuple(dimensions),
        attributes=dict(attributes),
        # A chunk of zeros is written too, so that a missing file is known for damage.
        config={"write_empty_chunks": True},
    )


def seal_metadata(folder: Path) -> None:
    """Put the checksum of all metadata below the root into the root's attributes."""
    root = zarr.open_group(folder, mode="r+", use_consolidated=False)
    root.attrs["metadata_crc32c"] = metadata_checksum(folder)


def metadata_checksum(folder: Place) -> int:
    """Return the crc32c over the root's attributes and every `zarr.json` below it."""
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    attributes.pop("metadata_crc32c", None)
    crc = google_crc32c.value(json.dumps(attributes, sort_keys=True).encode())
    names = (str(path).removeprefix(f"{folder}/") for path in folder.rglob("zarr.json"))
    for name in sorted(names, key=lambda name: name.split("/")):
        if name != "zarr.json":
            crc = google_crc32c.extend(crc, name.encode() + (folder / name).read_bytes())
    return int(crc)


def sync_tree(folder: Path) -> None:
    """Force a folder and everything in it onto the disk."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            fd = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_folder(Path(parent))
