"""A folder of decoded frames at the size that training needs: built once, read with one system call per frame.

::

    cache.json                  {"format": "waldo-frame-cache", "schema_version": 1, "height": 224, ...}
    episode_000000/
      cameras/front.npy         uint8 (T, 3, H, W): every frame of the camera, a plain NumPy file
      cameras/front.crc32c.npy  u4 (T,): checksum of each frame
      episode.json              what the frames were decoded from; written last: an episode is complete or absent

A cache can be deleted at any time. It identifies the recording that it was built from and can be compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numpy as np

from waldo.datasets.episode import Episode
from waldo.errors import FileError, InvalidValueError, count
from waldo.files import read_regular, require_empty, write_atomic
from waldo.json_file import parse_json

FORMAT = "waldo-frame-cache"
"""The format in cache.json."""

SCHEMA_VERSION = 1
"""Version of the layout; newer versions are rejected."""

HEADER = 128
"""Bytes before the first frame of a NumPy file of this shape (NumPy's format 1.0 pads the header to 64 bytes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Size and cameras of the frames in a cache."""

    height: int | None = None
    """Height [px]; None: as recorded, or the one that keeps the aspect ratio for a given width."""
    width: int | None = None
    """Width [px]; None: as recorded, or the one that keeps the aspect ratio for a given height."""
    cameras: tuple[str, ...] = ()
    """Camera streams; empty for all."""

    def __post_init__(self) -> None:
        """Validate the sizes."""
        for name, value in (("height", self.height), ("width", self.width)):
            if value is not None and not 1 <= value <= 8192:
                raise InvalidValueError(f"{name} of a cache", value, "1 to 8192 pixels")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in the cache of a frame with the recorded height and width [px]."""
        if self.height is None and self.width is None:
            return height, width
        return (
            self.height or max(1, round(height * (self.width or width) / width)),
            self.width or max(1, round(width * (self.height or height) / height)),
        )

    def chosen(self, episode: Episode) -> list[str]:
        """Return the cameras of an episode that are in the cache."""
        return [name for name in episode.cameras if not self.cameras or name in self.cameras]


class FrameCache:
    """A frame cache: its config, and where the frames of each episode are."""

    def __init__(self, path: Path, config: CacheConfig) -> None:
        """Use `open` or `create` instead."""
        self.path, self.config = path, config

    @classmethod
    def open(cls, path: str | Path) -> FrameCache:
        """Open an existing cache.

        Raises:
            FileError: If the folder is not a frame cache, or one of a newer version.
        """
        folder = Path(path)
        try:
            found = parse_json(read_regular(folder / "cache.json"))
            known = found["format"] == FORMAT and found["schema_version"] <= SCHEMA_VERSION
            config = CacheConfig(height=found["height"], width=found["width"], cameras=tuple(found["cameras"]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileError(folder, "is not a frame cache (no cache.json)", "build it with waldo cache") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(folder / "cache.json", f"is invalid ({error!r})", "build the cache again") from error
        if not known:
            found = f"is {found['format']!r} version {found['schema_version']}, expected {SCHEMA_VERSION} or older"
            raise FileError(folder, found, "update waldo")
        return cls(folder, config)

    @classmethod
    def create(cls, path: str | Path, config: CacheConfig) -> FrameCache:
        """Create a cache in an empty folder, or open an existing one with the same config.

        Raises:
            FileError: If the folder is not empty, or contains a cache with another config.
        """
        folder = Path(path)
        if (folder / "cache.json").exists():
            cache = cls.open(folder)
            if cache.config != config:
                found = f"was built with {cache.config}, but {config} was requested"
                raise FileError(folder, found, "choose another folder")
            return cache
        require_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "height": config.height}
        write_json(folder / "cache.json", described | {"width": config.width, "cameras": list(config.cameras)})
        return cls(folder, config)

    def folder(self, index: int) -> Path:
        """Return the folder of an episode's frames."""
        return self.path / f"episode_{index:06d}"

    def file(self, index: int, camera: str) -> Path:
        """Return the file of a camera's frames."""
        return self.folder(index) / f"{camera}.npy"

    def checksums(self, index: int, camera: str) -> Path:
        """Return the file of the checksums of a camera's frames."""
        return self.folder(index) / f"{camera}.crc32c.npy"

    @property
    def indices(self) -> list[int]:
        """The indices of the complete episodes in the cache."""
        found = (path.parent.name.removeprefix("episode_") for path in self.path.glob("episode_*/episode.json"))
        return sorted(int(number) for number in found if number.isdigit())

    def source(self, index: int) -> Mapping[str, Any] | None:
        """Return what an episode's frames were decoded from; None if the episode is not in the cache."""
        with suppress(OSError, ValueError):
            return cast("dict[str, Any]", parse_json(read_regular(self.folder(index) / "episode.json")))
        return None

    def shape(self, camera: str, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a camera's frames in the cache.

        Args:
            camera: Camera stream.
            height: Recorded height [px].
            width: Recorded width [px].

        Raises:
            FileError: If the cache does not contain the camera.
        """
        if self.config.cameras and camera not in self.config.cameras:
            found = f"does not contain {camera} (cameras: {', '.join(self.config.cameras)})"
            raise FileError(self.path, found, "build a cache with this camera")
        return self.config.size(height, width)

    def require(self, episodes: Iterable[Episode]) -> None:
        """Raise unless the cache contains all episodes in their current version.

        Raises:
            FileError: If an episode is missing or was built from another version of it.
        """
        missing: list[int] = []
        stale: list[int] = []
        for episode in episodes:
            found = self.source(episode.index)
            if found is None:
                missing.append(episode.index)
            elif found != source_of(episode, self.config):
                stale.append(episode.index)
        for indices, verb in ((missing, "lacks"), (stale, "is out of date for")):
            if indices:
                some = ", ".join(map(str, indices[:5])) + (" ..." if len(indices) > 5 else "")
                found = f"{verb} {count(len(indices), 'episode')} of the dataset ({some})"
                raise FileError(self.path, found, "run waldo cache again to update it")


def source_of(episode: Episode, config: CacheConfig) -> dict[str, Any]:
    """Return what identifies the frames of an episode in a cache: checksums, numbers of frames and sizes."""
    cameras: dict[str, Any] = {}
    for name in config.chosen(episode):
        stream = episode.camera(name)
        sums = episode.chunk_checksums(name) if episode.count(name) else np.empty(0)
        cameras[name] = {
            "frames": episode.count(name),
            "size": list(config.size(stream.height, stream.width)),
            "chunks_crc32c": int(google_crc32c.value(np.ascontiguousarray(sums).tobytes())),
        }
    return {"metadata_crc32c": episode.attributes.get("metadata_crc32c"), "cameras": cameras}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomic(path, json.dumps(values, indent=1) + "\n")
