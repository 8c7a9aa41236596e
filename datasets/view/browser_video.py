"""A camera's pictures as an MP4 that browsers play: the store's own bytes where they do, else encoded anew."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.streams import DepthStream, ImageStream
from waldo.datasets.video.encoder import Encoder
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.mp4shard import rate_fraction, write_mp4

CRF = 23
"""Quality of what is encoded only to be looked at."""

GOP = 10
"""Frames a group of what is encoded only to be looked at: short, since a page seeks."""

AT_ONCE = 30
"""Frames that are decoded at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserVideo:
    """An MP4 of constant rate; picture k of the stream is shown from k/fps on."""

    data: bytes
    """The file."""
    fps: float
    """Pictures a second that the file claims [Hz]."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    note: str
    """What was done to the pictures; empty where these are the store's bytes."""


def browser_video(episode: Episode, camera: str, max_height: int = 0) -> BrowserVideo:
    """Return a camera's pictures for a browser, at most `max_height` pixels high (0: as they are).

    Raises FileError for a shard that cannot be read.
    """
    stream = episode.image_stream(camera)
    rate = rate_fraction(stream.rate_hz)
    scale = min(1.0, max_height / stream.height) if max_height else 1.0
    if scale == 1.0 and not isinstance(stream, DepthStream) and stream.codec == "h264":
        data = episode.video_path(camera).read_bytes()
        return BrowserVideo(data=data, fps=float(rate), width=stream.width, height=stream.height, note="")
    # 4:2:0 needs even sides.
    width, height = (max(2, round(side * scale / 2) * 2) for side in (stream.width, stream.height))
    coder = Encoder(width=width, height=height, gop=GOP, crf=CRF, rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write_mp4(path, _packets(coder, _pictures(episode, stream, width, height)), rate)
        data = path.read_bytes()
    return BrowserVideo(data=data, fps=float(rate), width=width, height=height, note=_note(stream, scale, height))


def colour_depth(depth: NDArray[np.uint16], nearest: float, farthest: float) -> NDArray[np.uint8]:
    """Return a depth image, uint16 (H, W), in colours, uint8 (H, W, 3): near is warm, unmeasured is black."""
    span = max(farthest - nearest, 1.0)
    grey = np.clip(255 - (depth - nearest) * 255 / span, 0, 255).astype(np.uint8)
    bgr = cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)
    bgr[depth == 0] = 0
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def depth_range(episode: Episode, camera: str) -> tuple[float, float]:
    """Return between which values the colours of a depth stream are spread: 1 % and 99 % of a few images."""
    count = episode.count(camera)
    some = episode.frames(camera, np.unique(np.linspace(0, count - 1, min(count, 8)).astype(int)))
    known = some[some > 0]
    return (float(np.quantile(known, 0.01)), float(np.quantile(known, 0.99))) if known.size else (0.0, 1.0)


def _pictures(episode: Episode, stream: ImageStream, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield a stream's pictures in colours and in this size."""
    shard, count = episode.shard(stream.name), episode.count(stream.name)
    span = depth_range(episode, stream.name) if isinstance(stream, DepthStream) else (0.0, 0.0)
    for first in range(0, count, AT_ONCE):
        for image in shard.read(range(first, min(first + AT_ONCE, count))):
            rgb = colour_depth(image, *span) if isinstance(stream, DepthStream) else image
            if rgb.shape[:2] != (height, width):
                rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            yield np.ascontiguousarray(rgb)


def _packets(coder: Encoder, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Packet]:
    for frame in frames:
        yield from coder.encode(frame)
    yield from coder.flush()


def _note(stream: ImageStream, scale: float, height: int) -> str:
    """Say what was done to the pictures."""
    kept = "depth in colours, near is warm" if isinstance(stream, DepthStream) else f"kept as {stream.codec}"
    smaller = f", scaled to {height} pixels of {stream.height}" if scale < 1.0 else ""
    return f"{kept}, shown as H.264{smaller}"
