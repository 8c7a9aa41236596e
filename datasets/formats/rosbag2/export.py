"""Export to ROS 2 bags without ROS: one bag per episode with standard messages on waldo's topics.

The log time of a message is its receipt time, the stamp in its header the publisher's. Metadata that has no place in a
bag is stored as JSON in its custom data, which other readers ignore.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2 import metadata
from waldo.datasets.formats.rosbag2.episode_messages import message_streams
from waldo.datasets.formats.rosbag2.metadata import TopicField
from waldo.datasets.formats.rosbag2.topics import ImageFormat, assign_topics, is_video, message_type
from waldo.datasets.formats.target import ExportStats, Progress
from waldo.datasets.reading import following
from waldo.datasets.reading.row_config import UnfitEpisodeError, camera_streams
from waldo.datasets.streams import DepthStream, ScalarStream, VideoStream
from waldo.datasets.video import images
from waldo.errors import FileError, WaldoError

type Storage = Literal["mcap", "sqlite3"]
"""Storage format of a bag."""

VERSION = 8
"""Version of the bag metadata: the newest one that stores the quality of service as text, as ROS 2 has since Foxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBag:
    """A bag in the scratch folder."""

    path: Path
    """Folder of the bag."""
    rows: int
    """Number of messages of numeric streams."""
    copied: int
    """Number of frames whose encoded bytes were copied."""
    encoded: int
    """Number of frames that were encoded as JPEG."""
    psnr_db: Mapping[str, float]
    """Camera stream encoded as JPEG -> peak signal-to-noise ratio over a few frames [dB]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTarget:
    """Write each episode as a bag."""

    cameras: tuple[str, ...] | None
    """Cameras by name; empty exports all cameras of each episode, None exports none."""
    images: ImageFormat
    """How H.264 streams are exported."""
    storage: Storage
    """Storage format."""
    notes: Sequence[str]
    """Information that bags cannot store, one sentence each."""
    keep_not_following: bool = False
    """Whether to export episodes in which the robot did not follow its commands for a time."""

    @classmethod
    def open(
        cls,
        first: Episode,
        cameras: Sequence[str] | None,
        image_format: ImageFormat,
        storage: Storage,
        *,
        keep_not_following: bool = False,
    ) -> BagTarget:
        """Return the target; the named cameras must exist in `first`."""
        camera_streams(first, cameras)  # Raises for an unknown name before anything is written.
        names = None if cameras is None else tuple(cameras)
        return cls(
            cameras=names,
            images=image_format,
            storage=storage,
            notes=_notes(first, image_format),
            keep_not_following=keep_not_following,
        )

    @property
    def resumable(self) -> bool:
        """False: an interrupted export starts again."""
        return False

    def prepare(self, episode: Episode, scratch: Path) -> PreparedBag:
        """Write the bag of an episode to the scratch folder."""
        path = scratch / f"episode_{episode.index:06d}"
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.keep_not_following and (why := following.describe(following.lapses(episode))):
            raise UnfitEpisodeError(episode.index, f"{why}; pass --keep-not-following to export it")
        try:
            return self._write(episode, path)
        except FileError:
            raise
        except WaldoError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise UnfitEpisodeError(episode.index, str(error)) from error

    def writer(self, dataset: Dataset, path: Path) -> BagWriter:
        """Return the writer of a new folder of bags."""
        path.mkdir()
        return BagWriter(path, self.notes)

    def _write(self, episode: Episode, path: Path) -> PreparedBag:
        from rosbags.rosbag2 import StoragePlugin, Writer

        places = assign_topics(episode, camera_streams(episode, self.cameras), self.images)
        losses: dict[str, list[float]] = {}
        streams = message_streams(episode, places, self.images, losses)
        plugin = StoragePlugin.MCAP if self.storage == "mcap" else StoragePlugin.SQLITE3
        with Writer(path, version=VERSION, storage_plugin=plugin) as bag:
            bag.set_custom_data(metadata.KEY, metadata.to_text(episode, places))
            connections = self._connections(bag, episode, places)
            for one in heapq.merge(*streams):
                bag.write(connections[one.topic], one.log_ns, types.typestore().serialize_cdr(one.message, one.kind))
        counts = {name: episode.count(name) for name in places}
        numeric = [name for name in places if isinstance(episode.streams[name], ScalarStream)]
        encoded = sum(counts[name] for name in places if self._is_encoded(episode, name))
        rows = sum(counts[name] for name in numeric)
        return PreparedBag(
            path=path,
            rows=rows,
            copied=sum(counts.values()) - rows - encoded,
            encoded=encoded,
            psnr_db={name: float(np.mean(values)) for name, values in losses.items() if values},
        )

    def _is_encoded(self, episode: Episode, name: str) -> bool:
        """Return whether the frames of a stream are encoded as JPEG."""
        stream = episode.streams[name]
        return isinstance(stream, VideoStream) and stream.codec != "jpeg" and not is_video(stream, self.images)

    def _connections(
        self, bag: Any, episode: Episode, places: Mapping[str, Mapping[str, TopicField]]
    ) -> dict[str, Any]:
        """Declare the topics of a bag; return topic -> connection."""
        store = types.typestore()
        task = "/" + types.TASK_TOPIC
        qos = [types.latched()]
        found = {task: bag.add_connection(task, types.STRING_TYPE, typestore=store, offered_qos_profiles=qos)}
        for name, fields in places.items():
            kind = message_type(episode.streams[name], self.images)
            for topic, _ in fields.values():
                if topic not in found:
                    found[topic] = bag.add_connection(topic, kind, typestore=store)
        return found


@dataclass(slots=True)
class BagWriter:
    """Move the bags into the target folder."""

    path: Path
    """The target folder."""
    notes: Sequence[str]
    """Notes of the target."""
    bags: list[PreparedBag] = field(default_factory=list)
    """The bags so far."""

    def add(self, index: int, prepared: PreparedBag) -> None:
        """Add the bag of an episode."""
        prepared.path.rename(self.path / prepared.path.name)
        self.bags.append(prepared)

    def finish(self, progress: Progress) -> ExportStats:
        """Return the contents."""
        return ExportStats(
            rows=sum(bag.rows for bag in self.bags),
            frames_copied=sum(bag.copied for bag in self.bags),
            frames_encoded=sum(bag.encoded for bag in self.bags),
            notes=[self.notes[0], *self._losses(), *self.notes[1:]],
        )

    def close(self) -> None:
        """Nothing is open between calls."""

    def _losses(self) -> list[str]:
        """Return a note for each camera that was encoded as JPEG."""
        notes: list[str] = []
        for name in dict.fromkeys(name for bag in self.bags for name in bag.psnr_db):
            values = [bag.psnr_db[name] for bag in self.bags if name in bag.psnr_db]
            notes.append(
                f"{name} is encoded as JPEG of quality {images.JPEG_QUALITY}: {np.mean(values):.1f} dB PSNR on average "
                "over a few frames; --images h264 copies the packets."
            )
        return notes


def _notes(episode: Episode, image_format: ImageFormat) -> list[str]:
    """Return what bags cannot store."""
    notes = ["Bags do not store sequence numbers and publication times; losses and repeated frames are not exported."]
    lossless = [name for name, camera in episode.cameras.items() if camera.codec == "lossless"]
    if lossless and image_format == "h264":
        notes.append(f"{', '.join(lossless)}: exported as lossless RGB H.264, which few players support.")
    other = [name for name, s in episode.streams.items() if isinstance(s, DepthStream) and s.unit_m != 0.001]
    if other:
        notes.append(f"{', '.join(other)}: ROS assumes millimeters for 16UC1; only waldo imports the actual unit.")
    return notes
