"""Decoded frames of a dataset at the size that training wants: built once, read with one system call a frame.

::

    cache.json                  {"format": "waldo-frame-cache", "schema_version": 1, "height": 224, ...}
    episode_000000/
      cameras/front.npy         uint8 (T, 3, H, W): every frame of the camera, a plain NumPy file
      cameras/front.crc32c.npy  u4 (T,): checksum of each frame
      episode.json              what it was made from; written last: an episode is there whole or not at all

The archive stays what counts: a cache can be thrown away, knows what it was made from, and is compared with it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.reading.frame_reader import Wanted, cores
from waldo.datasets.video import decoder, images
from waldo.errors import FileError, InvalidValueError
from waldo.files import sync_file

FORMAT = "waldo-frame-cache"
"""The mark in cache.json."""

SCHEMA_VERSION = 1
"""Version of the layout; a reader refuses a newer one."""

OPEN_FILES = 256
"""Files of frames that a process holds open."""

HEADER = 128
"""Bytes before the first frame of a NumPy file of this shape (NumPy's format 1.0 pads to 64 bytes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """What is in a cache."""

    height: int | None = None
    """Pixels down; None: as recorded, or what keeps the shape of the picture where only the width is given."""
    width: int | None = None
    """Pixels across; None likewise."""
    cameras: tuple[str, ...] = ()
    """Video streams; none: all of an episode."""

    def __post_init__(self) -> None:
        """Refuse impossible sizes."""
        for name, value in (("height", self.height), ("width", self.width)):
            if value is not None and not 1 <= value <= 8192:
                raise InvalidValueError(f"{name} of a cache", value, "1 to 8192 pixels")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a frame that was recorded with these [px]."""
        if self.height is None and self.width is None:
            return height, width
        return (
            self.height or max(1, round(height * (self.width or width) / width)),
            self.width or max(1, round(width * (self.height or height) / height)),
        )

    def chosen(self, episode: Episode) -> list[str]:
        """Return the cameras of an episode that are kept."""
        return [name for name in episode.cameras if not self.cameras or name in self.cameras]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheResult:
    """What a build did."""

    built: int
    """Episodes whose frames were decoded."""
    kept: int
    """Episodes that were there already."""
    removed: int
    """Episodes that are not in the dataset any more."""
    nbytes: int
    """Bytes of the frames of all episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFault:
    """Something in a cache that is not what the archive holds."""

    index: int
    """The episode's index."""
    camera: str
    """The camera; empty where it is the whole episode."""
    found: str
    """What is wrong."""


class FrameCache:
    """A folder of decoded frames."""

    def __init__(self, path: Path, config: CacheConfig) -> None:
        """Take the folder and what is in it; use `open` or `create`."""
        self.path, self.config = path, config

    @classmethod
    def open(cls, path: str | Path) -> FrameCache:
        """Open a cache that exists."""
        folder = Path(path)
        try:
            found = json.loads((folder / "cache.json").read_text())
            known = found["format"] == FORMAT and found["schema_version"] <= SCHEMA_VERSION
            config = CacheConfig(height=found["height"], width=found["width"], cameras=tuple(found["cameras"]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileError(folder, "is no cache (it has no cache.json)", "build it with waldo cache") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(folder / "cache.json", f"cannot be understood ({error!r})", "build it anew") from error
        if not known:
            raise FileError(
                folder, f"is of version {found['schema_version']}, expected {SCHEMA_VERSION}", "update waldo"
            )
        return cls(folder, config)

    @classmethod
    def create(cls, path: str | Path, config: CacheConfig) -> FrameCache:
        """Make a cache in an empty folder, or go on with one of the same contents."""
        folder = Path(path)
        if (folder / "cache.json").exists():
            cache = cls.open(folder)
            if cache.config != config:
                raise FileError(folder, f"holds {cache.config}, asked was {config}", "choose another folder")
            return cache
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileError(folder, "is not an empty folder", "choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        described = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "height": config.height}
        described |= {"width": config.width, "cameras": list(config.cameras)}
        _write_json(folder / "cache.json", described)
        return cls(folder, config)

    def folder(self, index: int) -> Path:
        """Return where the frames of the episode with this index are."""
        return self.path / f"episode_{index:06d}"

    def file(self, index: int, camera: str) -> Path:
        """Return the file of a camera's frames."""
        return self.folder(index) / f"{camera}.npy"

    @property
    def indices(self) -> list[int]:
        """The indices of the episodes that are in the cache whole."""
        found = (path.parent.name.removeprefix("episode_") for path in self.path.glob("episode_*/episode.json"))
        return sorted(int(number) for number in found if number.isdigit())

    def source(self, index: int) -> Mapping[str, Any] | None:
        """Return what an episode's frames were made from; None where they are not there."""
        with suppress(OSError, ValueError):
            return cast("dict[str, Any]", json.loads((self.folder(index) / "episode.json").read_text()))
        return None

    def shape(self, camera: str, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the kept frames of a camera that was recorded with these [px]."""
        if self.config.cameras and camera not in self.config.cameras:
            raise FileError(self.path, f"has no {camera}, only {', '.join(self.config.cameras)}", "build it with it")
        return self.config.size(height, width)

    def need(self, episodes: Iterable[Episode]) -> None:
        """Refuse a cache that lacks one of these episodes, or has it as it was before it changed."""
        missing, stale = [], []
        for episode in episodes:
            found = self.source(episode.index)
            if found is None:
                missing.append(episode.index)
            elif found != source_of(episode, self.config):
                stale.append(episode.index)
        for indices, what in ((missing, "lacks"), (stale, "was made from other contents of")):
            if indices:
                some = ", ".join(map(str, indices[:5])) + (" ..." if len(indices) > 5 else "")
                found = f"{what} {len(indices)} episodes of the dataset ({some})"
                raise FileError(self.path, found, "run waldo cache again: it builds what is missing")


def source_of(episode: Episode, config: CacheConfig) -> dict[str, Any]:
    """Return what identifies the frames that a cache of an episode holds: checksums, counts and sizes."""
    cameras: dict[str, Any] = {}
    for name in config.chosen(episode):
        stream = episode.camera(name)
        sums = np.asarray(episode.group[f"{name}/chunk_crc32c"][...]) if episode.count(name) else np.empty(0)  # type: ignore[index]
        cameras[name] = {
            "frames": episode.count(name),
            "size": list(config.size(stream.height, stream.width)),
            "chunks_crc32c": int(google_crc32c.value(np.ascontiguousarray(sums).tobytes())),
        }
    return {"metadata_crc32c": episode.attributes.get("metadata_crc32c"), "cameras": cameras}


def build(
    cache: FrameCache,
    episodes: Sequence[Callable[[], Episode]],
    *,
    threads: int | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CacheResult:
    """Bring the episodes that are missing or have changed into the cache, and take out what is no longer there.

    A build that was broken off goes on where it stopped. `advance` hears how many episodes are done.
    """
    opened = [opener() for opener in episodes]
    wanted = {episode.index: source_of(episode, cache.config) for episode in opened}
    todo = [episode for episode in opened if cache.source(episode.index) != wanted[episode.index]]
    stale = [index for index in cache.indices if index not in wanted]
    for index in stale:
        _forget(cache, index)
    _need_space(cache, sum(_nbytes(wanted[episode.index]) for episode in todo))
    done = len(opened) - len(todo)
    advance(done, len(opened))
    pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="waldo-cache")
    stop = threading.Event()
    try:
        running = [pool.submit(_build_episode, cache, episode, wanted[episode.index], stop) for episode in todo]
        for future in as_completed(running):
            future.result()
            done += 1
            advance(done, len(opened))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    nbytes = sum(map(_nbytes, wanted.values()))
    return CacheResult(built=len(todo), kept=len(opened) - len(todo), removed=len(stale), nbytes=nbytes)


def check(
    cache: FrameCache, episodes: Sequence[Callable[[], Episode]], advance: Callable[[int, int], None]
) -> Iterator[CacheFault]:
    """Compare the cache with the archive: what is there, every checksum, and every frame, decoded anew."""
    known: set[int] = set()
    for done, opener in enumerate(episodes):
        episode = opener()
        known.add(episode.index)
        found = cache.source(episode.index)
        if found is None:
            yield CacheFault(index=episode.index, camera="", found="is not in the cache")
        elif found != source_of(episode, cache.config):
            yield CacheFault(index=episode.index, camera="", found="was made from other contents of the episode")
        else:
            for camera in found["cameras"]:
                yield from _check_camera(cache, episode, camera)
        advance(done + 1, len(episodes))
    for index in cache.indices:
        if index not in known:
            yield CacheFault(index=index, camera="", found="is in the cache and not in the dataset")


def _check_camera(cache: FrameCache, episode: Episode, camera: str) -> Iterator[CacheFault]:
    """Compare a camera's frames with their checksums and with the archive's frames."""
    try:
        kept = np.load(cache.file(episode.index, camera), mmap_mode="r")
        sums = np.load(_sums_file(cache, episode.index, camera))
    except (OSError, ValueError) as error:
        yield CacheFault(index=episode.index, camera=camera, found=f"cannot be read ({error})")
        return
    shape = (episode.count(camera), 3, *cache.config.size(episode.camera(camera).height, episode.camera(camera).width))
    if kept.shape != shape or sums.shape != shape[:1]:
        yield CacheFault(index=episode.index, camera=camera, found=f"holds {kept.shape}, expected {shape}")
        return
    damaged = [n for n in range(len(kept)) if google_crc32c.value(kept[n].tobytes()) != sums[n]]
    other = [n for n, frame in enumerate(_frames(episode, camera, shape)) if not np.array_equal(frame, kept[n])]
    for numbers, what in (
        (damaged, "the checksum is wrong"),
        (sorted({*other} - {*damaged}), "differs from the archive"),
    ):
        if numbers:
            found = f"{what} in {len(numbers)} frames, the first is {numbers[0]}"
            yield CacheFault(index=episode.index, camera=camera, found=found)


def _build_episode(cache: FrameCache, episode: Episode, source: Mapping[str, Any], stop: threading.Event) -> None:
    """Write one episode's frames; its episode.json comes last."""
    _forget(cache, episode.index)
    folder = cache.folder(episode.index)
    for camera, found in source["cameras"].items():
        file = cache.file(episode.index, camera)
        file.parent.mkdir(parents=True, exist_ok=True)
        shape = (found["frames"], 3, *found["size"])
        sums = np.empty(shape[0], "<u4")
        with file.open("wb") as out:
            _write_header(out, shape)
            for number, frame in enumerate(_frames(episode, camera, shape)):
                if stop.is_set():
                    return
                sums[number] = google_crc32c.value(frame.tobytes())
                out.write(frame.data)
            _sync(out)
        with _sums_file(cache, episode.index, camera).open("wb") as out:
            np.save(out, sums)
            _sync(out)
    _write_json(folder / "episode.json", source)
    sync_file(cache.path)


def _frames(episode: Episode, camera: str, shape: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield a camera's frames as planes, uint8 (3, H, W), in one buffer that is used again and again."""
    if not shape[0]:
        return
    shard = episode.shard(camera)
    out = np.empty(tuple(shape[1:]), np.uint8)
    for group in range(-(-shape[0] // shard.gop)):
        try:
            found = decoder.decode_frames(shard.chunk(group), shard.gop)
        except ValueError as error:
            what = f"chunk {group} cannot be decoded ({error})"
            raise FileError(f"{episode.path}/{camera}", what, "run waldo check") from error
        for picture in found[: shape[0] - group * shard.gop]:
            images.write_planes(decoder.to_rgb(picture), out)
            yield out


class CacheReader:
    """Reads frames of a cache by an episode's place in a list; the counterpart of FrameReader."""

    def __init__(self, cache: FrameCache, indices: Sequence[int]) -> None:
        """Take the cache and the indices of the episodes."""
        self._cache, self._indices = cache, list(indices)
        self._local: _Files | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {**self.__dict__, "_local": None}

    def read(self, wanted: Iterable[Wanted]) -> None:
        """Fill every `out`, each as large as the cache's frames."""
        files = self._here()
        for frame in wanted:
            path = self._cache.file(self._indices[frame.episode], frame.camera)
            files.read(path, frame.frame, frame.out)

    def prefetch(self, frames: Iterable[tuple[int, str, int]]) -> None:
        """Do nothing: the kernel reads ahead."""

    def close(self) -> None:
        """Close the files of this process; the next read opens them anew."""
        local, self._local = self._local, None
        if local is not None:
            local.close()

    def _here(self) -> _Files:
        if self._local is None or self._local.process != os.getpid():
            self._local = _Files()
        return self._local


class _Files:
    """The files that a process has open, least recently used closed first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def read(self, path: Path, frame: int, out: NDArray[np.uint8]) -> None:
        """Read one frame straight to where it goes."""
        with self._lock:
            if path not in self._open:
                self._open[path] = path.open("rb", buffering=0)
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(path)
            got = os.preadv(self._open[path].fileno(), [out], HEADER + frame * out.nbytes)
        if got != out.nbytes:
            raise FileError(path, f"is cut at frame {frame}", "run waldo cache --check")

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __del__(self) -> None:
        self.close()


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write a NumPy file's header, padded to HEADER bytes."""
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    if out.tell() != HEADER:
        raise FileError(out.name, f"a header of {out.tell()} bytes", "a defect of waldo, please report it")


def _sums_file(cache: FrameCache, index: int, camera: str) -> Path:
    return cache.folder(index) / f"{camera}.crc32c.npy"


def _nbytes(source: Mapping[str, Any]) -> int:
    return sum(3 * int(np.prod(found["size"])) * found["frames"] for found in source["cameras"].values())


def _forget(cache: FrameCache, index: int) -> None:
    """Take an episode out; its episode.json goes first, so that nobody takes the rest for whole."""
    (cache.folder(index) / "episode.json").unlink(missing_ok=True)
    shutil.rmtree(cache.folder(index), ignore_errors=True)


def _need_space(cache: FrameCache, nbytes: int) -> None:
    free = shutil.disk_usage(cache.path).free
    if nbytes > free:
        found = f"has {free / 1e9:.1f} GB free, the frames take {nbytes / 1e9:.1f} GB"
        raise FileError(cache.path, found, "free some space, or choose a smaller --height and --width")


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")
        _sync(file)
    temporary.rename(path)
    sync_file(path.parent)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
