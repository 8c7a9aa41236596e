"""Names of the groups, arrays and files inside an episode.

Version 1 of the layout, that of waldo 0.1, has an array for each field and each stamp, and a folder for each dimension
of a chunk's index. Version 2 has one table per stream, half as many files and a quarter of the folders.
"""

from __future__ import annotations

from collections.abc import Mapping

from waldo.datasets.streams import ImageStream, ScalarStream, VideoStream

SCHEMA_VERSION = 2
"""Version of the layout; newer ones are refused."""

TIME = "time"
"""Array of the publisher's stamps, (time,) [ns since the epoch]."""
VALUES = "values"
"""Array of the rows of a scalar stream, (time, column)."""
MESSAGE_INFO = "message_info"
"""Array of what is known of each message, (time, info)."""
MESSAGE_COLUMNS = ("receipt_time", "publish_time", "sequence", "repeated")
"""Columns of that array, and arrays in version 1; only cameras have the last one."""
CHUNK_CHECKSUMS = "chunk_crc32c"
"""Array of the checksums of a camera's chunks, (chunk,)."""
HISTOGRAM = "histogram"
"""Attribute of a camera's group: counts of the pixel values in sampled frames, (3, 256); in version 1 an array."""
FRAMES = "frames"
"""Array of a depth camera's frames; in version 1 of any camera's."""
VIDEO_FOLDER = "video"
"""Folder of the arrays of encoded frames. It is not a zarr group, so that a walk through an episode without
waldo's codecs meets only arrays that zarr can read."""


def field_columns(stream: ScalarStream) -> Mapping[str, slice]:
    """Return field -> its columns in the array of a stream's rows."""
    columns: dict[str, slice] = {}
    start = 0
    for field in stream.fields:
        columns[field.name] = slice(start, start + len(field.labels))
        start += len(field.labels)
    return columns


def separator(schema_version: int = SCHEMA_VERSION) -> str:
    """Return what separates the numbers in the name of a chunk's file."""
    return "." if schema_version > 1 else "/"


def frames_path(stream: ImageStream, schema_version: int = SCHEMA_VERSION) -> str:
    """Return the path of the array of a stream's frames inside an episode."""
    encoded = isinstance(stream, VideoStream) and schema_version > 1
    return f"{VIDEO_FOLDER}/{stream.name}" if encoded else f"{stream.name}/{FRAMES}"


def shard_name(stream: ImageStream, schema_version: int = SCHEMA_VERSION) -> str:
    """Return the path of a camera's single shard inside the array of its frames."""
    return separator(schema_version).join(["c", *"0" * (1 + len(stream.frame_shape))])
